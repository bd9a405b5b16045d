"""Training a prior: exact resuming, orderly stops, what a run folder holds, what generate.py makes of it, and what is
refused."""

import json
import math
import signal
from dataclasses import replace
from functools import partial

import commands
import numpy as np
import pytest
import torch
from commands import TRAIN, Command
from prior.tiny_prior import save_vq, tiny_model
from test_training import wait_for_step

from lite_sora.autoencoders.kl import KLAutoencoder, KLConfig
from lite_sora.autoencoders.saved import save_folder
from lite_sora.data.clip import read_manifest, write_manifest
from lite_sora.data.loading import to_model_range
from lite_sora.data.windows import VideoDataset
from lite_sora.evaluation.adherence import measure
from lite_sora.load import load_model
from lite_sora.prior.pipeline import TextToCodes, open_vq
from lite_sora.processes import Processes
from lite_sora.storage.checkpoint import load_state
from lite_sora.storage.runs import CheckpointError
from lite_sora.training import prior
from lite_sora.training.flags import TrainingError, parse
from lite_sora.training.latents import cached_latents
from lite_sora.training.metrics import read_lines
from lite_sora.training.prior import PriorSettings, codes_of, train


@pytest.fixture(scope="session")
def vq(tmp_path_factory):
    """The folder of an untrained VQ autoencoder of 10 codes."""
    folder = tmp_path_factory.mktemp("vq")
    save_vq(folder)
    return folder


@pytest.fixture
def few(toy, tmp_path):
    """The manifest of the toy world's first 20 clips, of which one is held out."""
    rows = [type(row)(**{**vars(row), "video": str(toy.parent / row.video)}) for row in read_manifest(toy)]
    write_manifest(tmp_path / "few.jsonl", rows[:20])
    return tmp_path / "few.jsonl"


def tiny_flags(manifest, vq) -> list[str]:
    flags = "--allow-outside --channels 32 --depth 1 --heads 2 --batch-size 4 --warmup 2 --sample-every 0"
    flags += " --adherence-clips 0"
    return ["--data", str(manifest), "--autoencoder", str(vq), *flags.split(), "--precision", "fp32", "--device", "cpu"]


def run(*flags: str):
    return train(parse(PriorSettings, list(flags), "test"))


def exact_metrics(folder) -> list[dict]:
    return [
        {key: value for key, value in line.items() if "second" not in key}
        for line in read_lines(folder / "metrics.jsonl")
    ]


def same_everywhere(one, other) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same_everywhere(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same_everywhere, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_resuming_gives_bit_identical_weights_and_metrics(few, vq, tmp_path):
    flags = [*tiny_flags(few, vq), "--steps", "6", "--dropout", "0.2"]
    run(*flags, "--out", str(tmp_path / "whole"))
    run(*flags, "--stop-after", "3", "--out", str(tmp_path / "parts"))
    assert load_state(tmp_path / "parts")["step"] == 3
    run("--resume", str(tmp_path / "parts"))
    assert same_everywhere(load_state(tmp_path / "whole"), load_state(tmp_path / "parts"))
    lines = exact_metrics(tmp_path / "whole")
    assert len(lines) == 6 and lines == exact_metrics(tmp_path / "parts")
    assert lines[0]["loss"] == pytest.approx(math.log(10))  # at first all codes are as likely


def test_a_run_folder_holds_all_that_was_promised(few, vq, tmp_path, capsys):
    folder = run(*tiny_flags(few, vq), "--steps", "2", "--sample-every", "1", "--out", str(tmp_path / "run"))
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    weights = {"config.json", "model.safetensors"}
    pictures = {f"samples/{s:06d}-{n}.{kind}" for s in (1, 2) for n in ("raw", "ema") for kind in ("png", "gif")}
    pictures |= {"samples/real.png", "samples/real.gif"}
    own = {"tokenizer.json", "state.pt", "metrics.jsonl", "curves.png", *(f"autoencoder/{name}" for name in weights)}
    assert names == weights | pictures | own
    lines, out = read_lines(folder / "metrics.jsonl"), capsys.readouterr().out
    for line in lines:
        assert line["bits_per_code"] == pytest.approx(line["loss"] / math.log(2)) and line["codes_per_second"] > 0
    assert f"{lines[-1]['held_out_bits_per_code']:.3f} bits per code on 1 held-out clips" in out
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert (config["kind"], config["frames"], config["height"]) == ("prior", 4, 16)  # as the autoencoder was trained


def test_clips_without_any_caption_are_refused_by_name(few, vq, tmp_path):
    write_manifest(few, [replace(clip, caption="", captions=[]) for clip in read_manifest(few, allow_outside=True)])
    with pytest.raises(TrainingError, match="few.jsonl contains 19 training clips and none has a caption"):
        run(*tiny_flags(few, vq), "--out", str(tmp_path / "run"))
    assert not (tmp_path / "cache").exists()  # before anything was encoded


def test_it_learns(few, vq, tmp_path):
    folder = run(*tiny_flags(few, vq), "--steps", "40", "--out", str(tmp_path / "run"))
    values = [line["loss"] for line in read_lines(folder / "metrics.jsonl")]
    assert sum(values[-5:]) / 5 < 0.8 * sum(values[:5]) / 5


def test_codes_are_those_of_the_clips_and_of_windows_of_long_ones(few, vq, tmp_path):
    clips = [clip for clip in read_manifest(few, allow_outside=True)][:20]
    broken = type(clips[0])("broken", "nowhere.mp4", "a blue square")
    autoencoder = open_vq(vq)
    encode, alone = partial(codes_of, autoencoder), Processes(0, 1, torch.device("cpu"))
    videos = VideoDataset([clips[0], broken, *clips[1:]], few.parent, 8, 16, 16, 8.0)  # as long as the clips
    found, skipped = cached_latents(videos, autoencoder, tmp_path / "cache", alone, encode)
    assert len(found) == 20 and found.shards[found.names[0]][:].dtype == torch.int16
    assert found[0, 0].video.dtype == torch.int64 and found[0, 0].video.shape == (4, 4, 4)
    assert len(skipped) == 1 and "nowhere.mp4" in skipped[0] and found.videos.clips == clips
    video = to_model_range(torch.from_numpy(np.stack([videos[i, 0].video for i in range(20)])).movedim(-1, 1))
    codes = torch.stack([found[index, 0].video for index in range(20)])
    assert torch.equal(codes, codes_of(autoencoder, video).long()) and len(codes.unique()) > 3
    assert all(found[index, 0].caption in clip.all_captions for index, clip in enumerate(clips))
    assert {found[0, seed].caption for seed in range(30)} == set(clips[0].all_captions)

    videos = VideoDataset(clips, few.parent, 4, 16, 16, 8.0)
    halves, _ = cached_latents(videos, autoencoder, tmp_path / "cache", alone, encode)
    windows = halves.shards[halves.names[0]][:]
    assert windows.shape == (2, 2, 4, 4)
    assert torch.equal(windows, codes_of(autoencoder, video[0].unflatten(1, (2, 4)).movedim(1, 0)))
    drawn = {halves[0, seed].video.numpy().tobytes() for seed in range(20)}
    assert drawn == {half.long().numpy().tobytes() for half in windows}


def test_clips_are_encoded_once_whatever_the_number_of_runs(few, vq, tmp_path, monkeypatch):
    encoded = []
    monkeypatch.setattr(prior, "codes_of", lambda *given: encoded.append(1) or codes_of(*given))
    flags = [*tiny_flags(few, vq), "--steps", "1", "--cache-folder", str(tmp_path / "cache")]
    run(*flags, "--out", str(tmp_path / "one"))
    first = len(encoded)
    run(*flags, "--out", str(tmp_path / "two"))
    assert first > 0 and len(encoded) == first


def test_ctrl_c_saves_and_says_so(few, vq, tmp_path):
    process = Command(TRAIN, "prior", *tiny_flags(few, vq), "--steps", "5000", "--out", "run", cwd=tmp_path)
    wait_for_step(tmp_path / "run", 2, process)
    process.signal(signal.SIGINT)
    process.wait(60)
    assert process.returncode == 0, process.stderr
    assert "python train.py prior --resume run" in process.stdout
    assert load_state(tmp_path / "run")["step"] == read_lines(tmp_path / "run" / "metrics.jsonl")[-1]["step"]
    load_model(tmp_path / "run")


def test_two_processes_learn_what_one_does(few, vq, tmp_path):
    flags = [*tiny_flags(few, vq), "--steps", "3", "--dropout", "0", "--lr", "1e-3", "--muon-lr", "1e-3"]
    one = run(*flags, "--out", str(tmp_path / "one"))
    commands.run(TRAIN, "prior", *flags, "--out", "two", cwd=tmp_path, ranks=2)
    for a, b in zip(exact_metrics(one), exact_metrics(tmp_path / "two"), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-4)


def test_a_loss_that_is_not_finite_skips_the_step_and_ten_end_the_run(few, vq, tmp_path, monkeypatch):
    real, calls = TextToCodes.forward, []

    def sometimes_nan(self, *inputs):
        calls.append(1)
        return real(self, *inputs) * (float("nan") if len(calls) in bad else 1)

    monkeypatch.setattr(TextToCodes, "forward", sometimes_nan)
    bad = {2}
    run(
        *tiny_flags(few, vq),
        "--steps",
        "3",
        "--stop-after",
        "3",
        "--schedule",
        "constant",
        "--out",
        str(tmp_path / "one"),
    )
    lines = read_lines(tmp_path / "one" / "metrics.jsonl")
    assert [line["skipped"] for line in lines] == [False, True, False] and lines[1]["loss"] is None
    assert all(value.isfinite().all() for value in load_state(tmp_path / "one")["model"].values())
    bad = set(range(100))
    with pytest.raises(TrainingError, match="10 steps in a row.*--muon-lr"):
        run(*tiny_flags(few, vq), "--steps", "50", "--out", str(tmp_path / "many"))


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--autoencoder", "nowhere"], "no such folder.*python train.py autoencoder --kind vq"),
        (["--height", "18"], "18 does not divide by 4"),
        (["--channels", "30"], "--channels 30 does not divide by twice --heads, 4"),
        (["--frames", "32"], "too short for 32 frames"),
        (["--batch-size", "4", "--data", "nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_bad_settings_name_the_flag_or_the_file(few, vq, tmp_path, flags, message):
    with pytest.raises((TrainingError, CheckpointError, ValueError), match=message):
        run(*tiny_flags(few, vq), "--steps", "1", "--out", str(tmp_path / "run"), *flags)
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_run_of_another_kind_is_refused(few, vq, tmp_path):
    save_folder(KLAutoencoder(KLConfig(channels=8)), tmp_path / "kl")
    with pytest.raises(CheckpointError, match="without codes.*--kind vq"):
        run(*tiny_flags(few, tmp_path / "kl"), "--steps", "1")
    with pytest.raises(CheckpointError, match="does not describe a prior"):
        run("--resume", str(vq))
    with pytest.raises(CheckpointError, match="nothing to resume"):
        run("--resume", str(tmp_path / "nowhere"))


def test_generate_and_the_judge_take_it_as_any_other_run(vq, tmp_path):
    tiny_model(vq).save_pretrained(tmp_path / "runs" / "prior-toy")
    generate = [commands.GENERATE, "a red circle", "--device", "cpu"]
    done = commands.run(*generate, "--temperature", "0.9", "--top-k", "5", "--top-p", "0.9", cwd=tmp_path)
    assert "runs/prior-toy" in done.stderr and (tmp_path / "out" / "a-red-circle-seed0.mp4").is_file()
    done = commands.run(*generate, "--sampler", "heun", "--steps", "3", cwd=tmp_path, fails=True)
    assert "--steps, --sampler: an autoregressive prior has no such option; it has --frames" in done.stderr
    result = measure(load_model(tmp_path / "runs" / "prior-toy"), clips=2, top_k=1)
    assert result["seen"]["clips"] == 2 and result["seen"]["all"]["accuracy"] == 0.0  # it knows nothing


def test_without_an_average_nothing_is_dropped_out_where_the_model_is_judged(few, vq, tmp_path, monkeypatch):
    modes, judged = [], prior.bits_per_code
    monkeypatch.setattr(
        prior, "bits_per_code", lambda model, *rest: modes.append(model.training) or judged(model, *rest)
    )
    flags = [*tiny_flags(few, vq), "--steps", "2", "--ema", "0", "--sample-every", "1"]
    run(*flags, "--out", str(tmp_path / "run"))
    assert len(modes) == 3 and not any(modes)  # after each step, and at the end
