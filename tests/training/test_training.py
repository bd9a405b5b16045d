"""The training loop: exact resuming, orderly stops, crashes, bad losses, and what a run folder holds."""

import json
import os
import pickle
import re
import signal
import time
from dataclasses import replace

import commands
import pytest
import torch
from commands import TRAIN, Command
from conftest import run_train, tiny_flags

from lite_sora.autoencoders import load_autoencoder
from lite_sora.data.clip import ManifestError, read_manifest, write_manifest
from lite_sora.diffusion.presets import PRESETS
from lite_sora.pipeline import TextToVideo, assemble
from lite_sora.storage.checkpoint import load_state, save_state
from lite_sora.storage.runs import CheckpointError
from lite_sora.text.encoder import build_tokenizer
from lite_sora.toy.dataset import write_toy_dataset
from lite_sora.training import captioner
from lite_sora.training.denoiser import DenoiserSettings
from lite_sora.training.flags import TrainingError, parse
from lite_sora.training.metrics import read_lines
from lite_sora.training.muon import learning_rate
from lite_sora.training.parts import limits, model_config

EXACT = ("step", "loss", "loss_by_time", "grad_norm", "lr")  # of a line of metrics: all but speeds


def exact_metrics(folder):
    return [[line[key] for key in EXACT] for line in read_lines(folder / "metrics.jsonl")]


def assert_same_run(one, other):
    a, b = load_state(one), load_state(other)
    assert a["step"] == b["step"]
    for part in ("model", "average"):
        for name, value in a[part].items():
            assert torch.equal(value, b[part][name]), f"{part}: {name} differs"
    for one_optimizer, other_optimizer in zip(a["optimizers"], b["optimizers"], strict=True):
        states = zip(one_optimizer["state"].values(), other_optimizer["state"].values(), strict=True)
        assert all(torch.equal(first[key], second[key]) for first, second in states for key in first)
    assert exact_metrics(one) == exact_metrics(other)


@pytest.mark.parametrize("schedule", ["linear", "constant"])
def test_resuming_gives_bit_identical_weights_and_metrics(toy, tmp_path, schedule):
    flags = [*tiny_flags(toy), "--schedule", schedule, "--accumulate", "2"]
    run_train(*flags, "--steps", "6", "--out", str(tmp_path / "whole"))
    if schedule == "constant":  # a run that ended is made longer
        run_train(*flags, "--steps", "3", "--out", str(tmp_path / "parts"))
        run_train("--resume", str(tmp_path / "parts"), "--steps", "6")
    else:  # a run that was stopped goes on, with the same schedule
        run_train(*flags, "--steps", "6", "--stop-after", "3", "--out", str(tmp_path / "parts"))
        assert load_state(tmp_path / "parts")["step"] == 3
        run_train("--resume", str(tmp_path / "parts"), "--stop-after", "6")
    assert len(exact_metrics(tmp_path / "whole")) == 6
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def wait_for_step(folder, step, process: Command, seconds=120):
    for _ in range(seconds * 20):
        lines = read_lines(folder / "metrics.jsonl")
        if lines and lines[-1]["step"] >= step:
            return
        assert process.returncode is None, process.stderr
        time.sleep(0.05)
    raise AssertionError(f"step {step} did not come within {seconds} s")


def test_kill_loses_at_most_what_came_after_the_last_checkpoint(toy, tmp_path):
    flags = [*tiny_flags(toy), "--steps", "1000", "--schedule", "constant", "--checkpoint-every", "4"]
    process = Command(TRAIN, *flags, "--out", "run", cwd=tmp_path)
    wait_for_step(tmp_path / "run", 6, process)
    process.signal(signal.SIGKILL)
    process.wait()
    killed_at = read_lines(tmp_path / "run" / "metrics.jsonl")[-1]["step"]
    saved = load_state(tmp_path / "run")["step"]
    assert killed_at - 4 <= saved <= killed_at and saved % 4 == 0
    TextToVideo.from_pretrained(tmp_path / "run")  # whole, not half-written
    for more in (["--resume", "run"], [*flags, "--out", "whole"]):
        commands.run(TRAIN, *more, "--stop-after", saved + 4, cwd=tmp_path)
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_ctrl_c_saves_and_says_so(toy, tmp_path):
    flags = [*tiny_flags(toy), "--steps", "1000", "--checkpoint-every", "1000"]
    process = Command(TRAIN, *flags, "--out", "run", cwd=tmp_path)
    wait_for_step(tmp_path / "run", 2, process)
    process.signal(signal.SIGINT)
    process.wait(60)
    assert process.returncode == 0, process.stderr
    assert "--resume run" in process.stdout
    last = read_lines(tmp_path / "run" / "metrics.jsonl")[-1]["step"]
    assert load_state(tmp_path / "run")["step"] == last


def test_a_loss_that_is_not_finite_skips_the_step_and_ten_end_the_run(toy, tmp_path, monkeypatch):
    real = TextToVideo.forward
    calls = []

    def sometimes_nan(self, **inputs):
        calls.append(1)
        loss = real(self, **inputs)
        return loss * float("nan") if len(calls) in bad else loss

    monkeypatch.setattr(TextToVideo, "forward", sometimes_nan)
    bad = {2}
    run_train(*tiny_flags(toy), "--steps", "3", "--out", str(tmp_path / "one"))
    lines = read_lines(tmp_path / "one" / "metrics.jsonl")
    assert [line["skipped"] for line in lines] == [False, True, False]
    assert lines[1]["loss"] is None
    assert all(value.isfinite().all() for value in load_state(tmp_path / "one")["model"].values())

    calls.clear()
    bad = set(range(3, 100))
    with pytest.raises((TrainingError, CheckpointError), match="10 steps in a row.*--lr"):
        run_train(*tiny_flags(toy), "--steps", "50", "--out", str(tmp_path / "many"))
    assert read_lines(tmp_path / "many" / "metrics.jsonl")[-1]["step"] == 12


def test_a_run_folder_holds_all_that_was_promised(toy, tmp_path, capsys):
    run_train(*tiny_flags(toy), "--steps", "4", "--sample-every", "2", "--out", str(tmp_path / "run"))
    names = {str(path.relative_to(tmp_path / "run")) for path in (tmp_path / "run").rglob("*") if path.is_file()}
    sheets = {
        f"samples/{step:06d}{kind}" for step in (2, 4) for kind in ("-raw.png", "-ema.png", "-raw.gif", "-ema.gif")
    } | {"samples/real.png", "samples/real.gif"}
    assert (
        names
        == {"config.json", "tokenizer.json", "model.safetensors", "state.pt", "metrics.jsonl", "curves.png"} | sheets
    )
    line = read_lines(tmp_path / "run" / "metrics.jsonl")[0]
    assert line["mfu"] > 0 and line["flops_per_second"] > 0 and line["tokens_per_second"] > line["clips_per_second"]
    config = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert config["training"]["batch_size"] == 4
    assert "generate.py" in capsys.readouterr().out


def test_a_finished_run_is_never_overwritten(toy, tmp_path):
    run_train(*tiny_flags(toy), "--steps", "1", "--out", str(tmp_path / "run"))
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    with pytest.raises((TrainingError, CheckpointError), match="holds a run already"):
        run_train(*tiny_flags(toy), "--steps", "1", "--out", str(tmp_path / "run"))
    with pytest.raises((TrainingError, CheckpointError), match="at step 1 already"):
        run_train("--resume", str(tmp_path / "run"))
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_flags_that_cannot_change_on_resume_are_refused(toy, tmp_path, capsys):
    run_train(*tiny_flags(toy), "--steps", "1", "--out", str(tmp_path / "run"))
    with pytest.raises(SystemExit):
        run_train("--resume", str(tmp_path / "run"), "--steps", "2", "--batch-size", "8")
    assert "--batch-size" in capsys.readouterr().err


class Malicious:
    def __reduce__(self):
        return (os.system, ("touch pwned",))


def test_a_checkpoint_that_carries_code_is_refused(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "state.pt").write_bytes(pickle.dumps(Malicious(), protocol=2))
    with pytest.raises(CheckpointError, match="state.pt"):
        load_state(tmp_path)
    torch.save({"step": Malicious()}, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match="state.pt"):
        load_state(tmp_path)
    assert not (tmp_path / "pwned").exists()


def test_a_checkpoint_is_never_half_written(tmp_path, monkeypatch):
    save_state(tmp_path, {"step": 1})

    def breaks_off(state, path):
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", breaks_off)
    with pytest.raises(OSError):
        save_state(tmp_path, {"step": 2})
    assert load_state(tmp_path) == {"step": 1}


def test_broken_clips_are_skipped_counted_and_listed(toy, tmp_path, capsys):
    import shutil

    folder = tmp_path / "data"
    shutil.copytree(toy.parent, folder)
    (folder / "videos" / "000000.mp4").write_bytes(b"")
    (folder / "videos" / "000001.mp4").write_bytes(b"<html>not found</html>" * 50)
    (folder / "videos" / "000002.mp4").unlink()
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    rows[3] |= {"caption": " ", "captions": []}
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for cache in ("1", "0"):  # decoded before training, and while training
        run_train(
            *tiny_flags(folder / "manifest.jsonl"),
            "--steps",
            "20",
            "--cache-gib",
            cache,
            "--out",
            str(tmp_path / cache),
        )
        skipped = (tmp_path / cache / "skipped.txt").read_text(encoding="utf-8")
        for name in ("000000.mp4", "000001.mp4", "000002.mp4", "toy-000003"):
            assert name in skipped
        assert "4 clips could not be used" in capsys.readouterr().out
        assert len(read_lines(tmp_path / cache / "metrics.jsonl")) == 20


def test_clips_without_any_caption_are_refused_by_name(toy, tmp_path):
    """And once one clip has a caption, the others are listed."""
    clips = [replace(clip, caption="", captions=[]) for clip in read_manifest(toy) if clip.for_training]
    manifest = toy.with_name("silent.jsonl")  # beside the videos
    write_manifest(manifest, clips)
    flags = [*tiny_flags(manifest), "--steps", "1", "--out", str(tmp_path / "run")]
    command = f"python -m lite_sora.captioning {manifest} --out {toy.with_name('silent-captioned.jsonl')} --model "
    message = f"{manifest} contains {len(clips)} training clips and none has a caption; describe them first: {command}"
    for train in (run_train, lambda *flags: captioner.train(parse(captioner.CaptionerSettings, list(flags), "test"))):
        with pytest.raises(TrainingError, match=re.escape(message)):
            train(*(flags if train is run_train else ["--data", str(manifest), "--out", str(tmp_path / "run")]))
        assert not (tmp_path / "run").exists()
    write_manifest(manifest, [replace(clips[0], caption="a circle"), *clips[1:]])
    run_train(*flags)
    assert len((tmp_path / "run" / "skipped.txt").read_text(encoding="utf-8").splitlines()) == len(clips) - 1


@pytest.mark.parametrize(
    "flags",
    [
        ["--denoiser", "uvit", "--skip", "add", "--rope", "false"],
        ["--denoiser", "sit", "--shared-adaln", "true"],
        ["--conditioning", "mm-dit", "--mlp", "swiglu", "--norm", "rms", "--qk-norm", "false"],
        ["--conditioning", "in-context"],
        ["--words", "cross-attention", "--attention", "factorised"],
    ],
)
def test_every_denoiser_trains_resumes_and_generates(toy, tmp_path, flags):
    flags = [*tiny_flags(toy), *flags, "--steps", "4", "--out", str(tmp_path / "run")]
    run_train(*flags, "--stop-after", "2")
    folder = run_train("--resume", str(tmp_path / "run"))
    assert [line["step"] for line in read_lines(folder / "metrics.jsonl")] == [1, 2, 3, 4]
    model = TextToVideo.from_pretrained(folder)
    assert model.generate(["a red circle"], steps=2).isfinite().all()
    assert model.objective == PRESETS["toy"]


@pytest.mark.parametrize("world", [False, True])
def test_a_run_of_any_toy_manifest_is_judged_at_the_end(toy, tmp_path, capsys, world):
    manifest = write_toy_dataset(tmp_path / "world", clips=32, corner="world") if world else toy
    run = run_train(*tiny_flags(manifest), "--steps", "1", "--adherence-clips", "2", "--out", str(tmp_path / "run"))
    result = json.loads((run / "adherence.json").read_text(encoding="utf-8"))
    assert result["seen"]["clips"] == 2 and result["seen"]["combinations"] == (198 if world else 64)
    assert "prompt adherence" in capsys.readouterr().out
    assert TextToVideo.from_pretrained(run).config.training["toy_corner"] == ("world" if world else "default")


def test_a_run_that_the_judge_cannot_read_says_why(toy, tmp_path, capsys):
    own = tmp_path / "own.jsonl"
    write_manifest(own, [replace(clip, video=str(toy.parent / clip.video), stats={}) for clip in read_manifest(toy)])
    flags = ["--allow-outside", "--steps", "1", "--adherence-clips", "2"]
    for more, reason in {
        (str(own),): "the training clips are not of the toy world",
        (str(toy), "--height", "16", "--width", "48"): "not 8 × 16 × 48",
    }.items():
        run = run_train(*tiny_flags(more[0]), *flags, *more[1:], "--out", str(tmp_path / reason[-8:]))
        assert "adherence is not measured: " in (out := capsys.readouterr().out) and reason in out
        assert not (run / "adherence.json").exists()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", []),
        ("--denoiser uvit", []),
        ("--objective ddpm", ["67% of the noise in --prediction noise cannot come out"]),
        ("--objective ddpm --size S", []),  # of width 384, as the values of a patch
        ("--objective v --patch 2 4 4", ["log-SNR above 0.0"]),
        ("--objective sd3", ["67% of the noise in --prediction velocity", "log-SNR above 0.0"]),
        ("--objective sd3 --prediction x0 --weighting velocity", ["log-SNR above 0.0"]),
        ("--objective jit", []),
    ],
)
def test_what_is_known_to_limit_learning_is_said(flags, expected):
    config = model_config(parse(DenoiserSettings, flags.split(), "test"), pixels := load_autoencoder("pixel"))
    found = limits(assemble(config, build_tokenizer(["a red circle"]), pixels))
    assert len(found) == len(expected) and all(map(str.__contains__, found, expected))


def test_limits_are_said_before_and_after_training(toy, tmp_path, capsys):
    run_train(*tiny_flags(toy), "--objective", "ddpm", "--steps", "1", "--out", str(tmp_path / "run"))
    assert capsys.readouterr().out.count("note: a patch of 3072 values passes 128 channels") == 2


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--height", "30"], "--height 30 does not divide by 16"),
        (["--frames", "7"], "--frames 7 does not divide"),
        (["--frames", "16"], "too short for 16 frames"),
        (["--data", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--prediction", "magic"], "--prediction 'magic' is not one of x0, noise"),
        (["--shift", "0"], "--shift 0"),
        (["--size", "H"], "--size H: dit has the sizes toy, S, B, L, XL"),
        (["--denoiser", "uvit", "--size", "XL"], "--size XL: uvit has the sizes toy, S, S-deep"),
        (["--denoiser", "uvit", "--words", "none"], "--words: --denoiser uvit has no such part"),
        (["--skip", "add"], "--skip: --denoiser dit has no such part"),
        (["--attention", "factorised"], "do not fit together: .* choose words cross-attention"),
    ],
)
def test_bad_settings_name_the_flag_or_the_file(toy, tmp_path, flags, message):
    with pytest.raises((TrainingError, CheckpointError, ManifestError), match=message):
        run_train(*tiny_flags(toy), "--steps", "1", "--out", str(tmp_path / "run"), *flags)
    assert not (tmp_path / "run" / "config.json").exists()


def test_learning_rate_warms_up_stays_and_falls():
    settings = DenoiserSettings(steps=100, warmup=10, decay=0.5)
    assert learning_rate(settings, 0) == pytest.approx(0.1)
    assert learning_rate(settings, 9) == learning_rate(settings, 50) == 1.0
    assert learning_rate(settings, 75) == pytest.approx(0.5)
    settings.schedule = "cosine"
    assert learning_rate(settings, 75) == pytest.approx(0.5)
    assert learning_rate(settings, 60) > 0.8
    settings.schedule = "constant"
    assert learning_rate(settings, 99) == 1.0


def test_a_mistyped_flag_ends_with_a_usage_message(capsys):
    with pytest.raises(SystemExit):
        run_train("--stpes", "5")
    assert "unknown: --stpes 5; --help lists all flags" in capsys.readouterr().err


def test_settings_that_cannot_be_read_are_a_clear_error(tmp_path):
    (tmp_path / "config.json").write_text('{"training": {"st', encoding="utf-8")
    with pytest.raises(CheckpointError, match="config.json cannot be read"):
        run_train("--resume", str(tmp_path))
