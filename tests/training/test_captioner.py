"""Training a captioner: it learns, its folder is one of transformers', what is trained is what is used; resuming."""

import json
import os
import re
import signal
import sys

import commands
import numpy as np
import pytest
import torch
from PIL import Image
from test_autoencoder import same_everywhere

import generate
from lite_sora.captioning import small
from lite_sora.captioning.answers import Answer
from lite_sora.captioning.models import load_captioner
from lite_sora.data.clip import ManifestError, read_manifest, write_manifest
from lite_sora.data.windows import VideoDataset
from lite_sora.evaluation.adherence import __main__ as adherence
from lite_sora.load import load_model
from lite_sora.pipeline import TextToVideo
from lite_sora.storage.checkpoint import load_state
from lite_sora.storage.runs import CheckpointError
from lite_sora.toy.world import SHAPES
from lite_sora.training import captioner
from lite_sora.training.captioner import CaptionerSettings, split_clips, train
from lite_sora.training.flags import TrainingError, parse
from lite_sora.training.metrics import read_lines

USE = "python -m lite_sora.captioning MANIFEST --out CAPTIONED"


def tiny_flags(manifest) -> list[str]:
    flags = "--channels 16 --heads 2 --layers 1 --batch-size 4 --warmup 2 --sample-every 0 --device cpu"
    return ["--data", str(manifest), *flags.split(), "--judged-clips", "2"]


def run(*flags: str):
    return train(parse(CaptionerSettings, list(flags), "test"))


def test_resuming_gives_bit_identical_weights_and_metrics(toy, tmp_path):
    flags = [*tiny_flags(toy), "--steps", "4"]
    run(*flags, "--out", str(tmp_path / "whole"))
    run(*flags, "--stop-after", "2", "--out", str(tmp_path / "parts"))
    assert load_state(tmp_path / "parts")["step"] == 2
    run("--resume", str(tmp_path / "parts"))
    assert same_everywhere(load_state(tmp_path / "whole"), load_state(tmp_path / "parts"))
    lines = [read_lines(tmp_path / name / "metrics.jsonl") for name in ("whole", "parts")]
    for line in (*lines[0], *lines[1]):
        line.pop("clips_per_second")
    assert len(lines[0]) == 4 and lines[0] == lines[1]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]


def test_a_run_folder_is_a_transformers_folder_and_a_run(toy, tmp_path, capsys, monkeypatch):
    folder = run(*tiny_flags(toy), "--steps", "2", "--sample-every", "1", "--out", str(tmp_path / "run"))
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    model = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    model |= {"processor_config.json", "chat_template.jinja"}
    assert names == model | {"training.json", "state.pt", "metrics.jsonl", "curves.png", "accuracy.json"} | {
        "samples/000001.png",
        "samples/000002.png",
    }
    result = json.loads((folder / "accuracy.json").read_text(encoding="utf-8"))
    assert result.keys() == {"seen", "held-out"} and result["held-out"]["clips"] == 2
    for each in result.values():
        assert each["right"] + each["wrong"] + each["missing"] == pytest.approx(1)
    out = capsys.readouterr().out
    assert f"held-out (2 clips): facts {result['held-out']['right']:.1%} right" in out
    assert f"--model {folder}" in out
    # it makes no videos, and whoever takes it for a model that does is told what it is for
    use = re.escape(f"of the transformers library, such as a captioner, which describes them: {USE} --model {folder}")
    for load in (load_model, TextToVideo.from_pretrained):
        with pytest.raises(CheckpointError, match=use):
            load(folder)
    for name, main in (("generate.py", generate.main), ("adherence", adherence.main)):
        monkeypatch.setattr(sys, "argv", [name, "--run", str(folder), *(["a circle"] if name == "generate.py" else [])])
        with pytest.raises(
            SystemExit, match=f"^{name}: {re.escape(str(folder))} makes no videos: it is a smolvlm {use}"
        ):
            main()


def test_what_the_saved_processor_makes_of_frames_is_what_was_trained_on(toy, tmp_path):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder = run(*tiny_flags(toy), "--steps", "1", "--out", str(tmp_path / "run"))
    processor, model = AutoProcessor.from_pretrained(folder), AutoModelForImageTextToText.from_pretrained(folder)
    assert sum(weight.numel() for weight in model.parameters()) < 5e6
    clips = VideoDataset(list(read_manifest(toy))[:2], toy.parent, 8, 32, 32, 8.0)
    videos = [clips[index, 0].video[::2] for index in range(2)]  # uint8 (4, 32, 32, 3) each
    content = [{"type": "image"}] * 4 + [{"type": "text", "text": "Whatever may be seen in this video?"}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    images = [[Image.fromarray(frame) for frame in video] for video in videos]
    inputs = processor(text=[text] * 2, images=images, padding=True, return_tensors="pt")

    ids = small.prompt(processor, 4)
    pixels = small.to_pixels(torch.from_numpy(np.stack(videos)).movedim(-1, 1), torch.device("cpu"))
    assert torch.equal(inputs["input_ids"], ids.expand(2, -1))
    assert torch.allclose(inputs["pixel_values"], pixels, atol=1e-6)
    with torch.no_grad():
        last = model(**inputs).logits[:, -1]
        first = small.next_tokens(model, pixels, ids, torch.tensor([[7, 8, 2], [9, 2, -100]]))[:, 0]
    assert torch.allclose(last, first, atol=1e-5)  # and so is where the first word comes from


def test_it_learns_clips_by_heart(toy, tmp_path):
    flags = [*tiny_flags(toy), "--channels", "32", "--clips", "3", "--steps", "120", "--least-frames", "8"]
    folder = run(*flags, "--batch-size", "3", "--out", str(tmp_path / "run"))
    lines = read_lines(folder / "metrics.jsonl")
    assert lines[0]["loss"] > 4 and lines[-1]["loss"] < 0.1 and lines[-1]["token_accuracy"] == 1
    clips, _ = split_clips(*both(toy), CaptionerSettings(clips=3))
    dataset = VideoDataset(clips, toy.parent, 8, 32, 32, 8.0, fixed=True)
    model, processor = captioner.open_folder(folder)
    said, result = captioner.judge(model, processor, dataset)
    assert said == [clip.caption for clip in clips] and len(set(said)) == 3
    assert result["right"] == result["all_right"] == result["same"] == 1

    files = VideoDataset(clips, toy.parent, 8, 64, 64, 8.0, fixed=True)  # as large as they are in their files
    used = load_captioner(str(folder), device="cpu")
    answers = used.describe([files[index, 0].video for index in range(3)], "Describe this video in detail.")
    assert used.takes == "images" and answers == [Answer(text, finished=True) for text in said]


def test_captions_of_ones_own_are_learnt_as_they_are(toy, tmp_path):
    own = tmp_path / "own.jsonl"
    captions = ["A dog's nose, close-up.", "一只猫 sits", "Two\nlines, and an <image>"]
    rows = list(read_manifest(toy))[:3]
    write_manifest(
        own, [type(row)(row.id, str(toy.parent / row.video), text) for row, text in zip(rows, captions, strict=True)]
    )
    flags = [*tiny_flags(own), "--allow-outside", "--steps", "60", "--channels", "32", "--least-frames", "8"]
    folder = run(*flags, "--out", str(tmp_path / "run"))
    model, processor = captioner.open_folder(folder)
    dataset = VideoDataset(list(read_manifest(own, allow_outside=True)), tmp_path, 8, 32, 32, 8.0)
    said, result = captioner.judge(model, processor, dataset)
    assert said == captions and result["same"] == 1 and "right" not in result
    assert json.loads((folder / "accuracy.json").read_text(encoding="utf-8")) == {}  # too few clips to keep one back
    assert processor.tokenizer.decode(processor.tokenizer.encode("unseen: Ünïcödé?")) == "unseen: Ünïcödé?"


def both(manifest):
    """The clips for training, and the others."""
    clips = list(read_manifest(manifest))
    return [clip for clip in clips if clip.for_training], [clip for clip in clips if not clip.for_training]


def test_no_clip_is_both_learnt_from_and_judged_by(toy):
    clips, judged = split_clips(*both(toy), CaptionerSettings())
    assert (len(clips), len(judged["seen"]), len(judged["held-out"])) == (53, 7, 4)
    assert len({clip.id for clip in (*clips, *judged["seen"], *judged["held-out"])}) == 64
    assert all(clip.split == "train" for clip in (*clips, *judged["seen"]))
    assert all(clip.all_captions == [clip.caption] for clip in clips)
    assert split_clips(*both(toy), CaptionerSettings(clips=2))[0] == clips[:2]


def test_steps_look_at_different_frames_and_at_the_same_ones_again():
    settings = CaptionerSettings(frames=8, least_frames=2)
    chosen = [captioner.some_frames(settings, step) for step in range(200)]
    assert {len(frames) for frames in chosen} == set(range(2, 9))
    assert all(frames == sorted(set(frames)) and frames[0] >= 0 and frames[-1] < 8 for frames in chosen)
    assert chosen == [captioner.some_frames(settings, step) for step in range(200)]


def test_a_tokenizer_has_a_token_for_each_word_of_the_captions():
    captions = [f"a red {shape} moving right" for shape in SHAPES]
    tokenizer = small.make_processor(captions, words=4096, side=32, patch=8, merge=4).tokenizer
    assert [len(tokenizer.encode(caption)) for caption in captions] == [5, 5, 5]
    assert tokenizer.convert_ids_to_tokens(range(6)) == small.SPECIAL


def test_ctrl_c_saves_and_says_so(toy, tmp_path, monkeypatch, capsys):
    real, calls = captioner.caption_loss, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(captioner, "caption_loss", interrupted)
    folder = run(*tiny_flags(toy), "--steps", "500", "--out", str(tmp_path / "run"))
    assert load_state(folder)["step"] == len(read_lines(folder / "metrics.jsonl")) == 2
    assert f"python train.py captioner --resume {folder}" in capsys.readouterr().out


def test_a_loss_that_is_not_finite_skips_the_step_and_ten_end_the_run(toy, tmp_path, monkeypatch):
    real, calls = captioner.caption_loss, []

    def sometimes_nan(*arguments):
        calls.append(1)
        loss, right = real(*arguments)
        return loss * (float("nan") if len(calls) in bad else 1), right

    monkeypatch.setattr(captioner, "caption_loss", sometimes_nan)
    bad = {2}
    folder = run(*tiny_flags(toy), "--steps", "3", "--out", str(tmp_path / "one"))
    lines = read_lines(folder / "metrics.jsonl")
    assert [line["skipped"] for line in lines] == [False, True, False] and lines[1]["loss"] is None
    assert all(value.isfinite().all() for value in load_state(folder)["model"].values())
    bad = set(range(100))
    with pytest.raises(TrainingError, match="10 steps in a row.*--muon-lr"):
        run(*tiny_flags(toy), "--steps", "50", "--out", str(tmp_path / "many"))


def test_two_processes_learn_what_one_does(toy, tmp_path):
    flags = [*tiny_flags(toy), "--steps", "3", "--lr", "1e-3", "--muon-lr", "1e-3"]
    one = run(*flags, "--out", str(tmp_path / "one"))
    commands.run(commands.TRAIN, "captioner", *flags, "--out", "two", cwd=tmp_path, ranks=2)
    one, two = (read_lines(folder / "metrics.jsonl") for folder in (one, tmp_path / "two"))
    assert len(one) == len(two) == 3
    for a, b in zip(one, two, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-3)
        assert a["token_accuracy"] == pytest.approx(b["token_accuracy"])


@pytest.mark.parametrize(
    "flags, message",
    [
        ("--clips 0", "--clips must be at least 1, not 0"),
        ("--least-frames 9", "--least-frames 9 is more than --frames 8"),
        ("--width 16", "--height and --width must be the same"),
        ("--patch 5", "--height 32 does not divide by --patch 5 times --merge 4"),
        ("--channels 36 --heads 4", "--channels 36 does not divide by twice --heads 4"),
        ("--words 10", "--words must be at least 300"),
        ("--muon-lr 0", "--muon-lr must be above 0, not 0.0"),
        ("--resume runs/captioner --channels 32", "--channels cannot change in a run that is resumed"),
    ],
)
def test_bad_flags_end_with_a_usage_message(flags, message, capsys):
    with pytest.raises(SystemExit):
        parse(CaptionerSettings, flags.split(), "test")
    assert message in capsys.readouterr().err


def test_folders_and_manifests_that_cannot_be_used_are_refused(toy, tmp_path):
    with pytest.raises(ManifestError, match="nowhere.jsonl"):
        run("--data", str(tmp_path / "nowhere.jsonl"), "--out", str(tmp_path / "none"))
    with pytest.raises(TrainingError, match="too short for 33 frames"):
        run(*tiny_flags(toy), "--frames", "33", "--out", str(tmp_path / "none"))
    folder = run(*tiny_flags(toy), "--steps", "1", "--out", str(tmp_path / "run"))
    with pytest.raises(CheckpointError, match="holds a run already"):
        run(*tiny_flags(toy), "--out", str(folder))
    with pytest.raises(TrainingError, match="at step 1 already"):
        run("--resume", str(folder))
    (folder / "training.json").unlink()
    with pytest.raises(CheckpointError, match="does not describe a training run: there is nothing to resume"):
        run("--resume", str(folder))
    (folder / "model.safetensors").write_bytes(b"half")
    with pytest.raises(CheckpointError, match="the model in .* cannot be opened"):
        captioner.open_folder(folder)
