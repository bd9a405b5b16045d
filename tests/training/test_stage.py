"""What the loop promises to every stage, shown with one of a few lines, and with those that there are."""

from functools import partial
from pathlib import Path

import commands
import pytest
import torch
from conftest import tiny_flags
from shades import ShadeSettings, ShadeStage

from lite_sora.storage.checkpoint import load_state
from lite_sora.training import autoencoder, captioner, denoiser, prior
from lite_sora.training.flags import parse
from lite_sora.training.loop import run
from lite_sora.training.metrics import read_lines

SIZE = "--frames 4 --height 16 --width 16 --batch-size 8 --warmup 2 --sample-every 0 --precision fp32 --device cpu"


def train(*flags: str) -> Path:
    return run(ShadeStage, parse(ShadeSettings, list(flags), "test"))


def test_a_stage_of_a_few_lines_trains(toy, tmp_path):
    flags = ["--data", str(toy), *SIZE.split(), "--steps", "60", "--lr", "3e-3", "--out", str(tmp_path / "run")]
    lines = read_lines(train(*flags) / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(1, 61))
    assert lines[-1]["loss"] < 0.2 * lines[0]["loss"] and lines[-1]["worst"] < lines[0]["worst"]
    assert (tmp_path / "run" / "curves.png").is_file()


def test_it_resumes_to_the_bit(toy, tmp_path):
    flags = ["--data", str(toy), *SIZE.split(), "--steps", "6", "--accumulate", "3"]
    whole = train(*flags, "--out", str(tmp_path / "whole"))
    parts = train(*flags, "--out", str(tmp_path / "parts"), "--stop-after", "3")
    train("--resume", str(parts))
    for name in ("model", "average"):
        one, two = load_state(whole)[name], load_state(parts)[name]
        assert all(torch.equal(one[key], two[key]) for key in one)
    keep = ("step", "loss", "grad_norm", "lr")
    one, two = ([[line[key] for key in keep] for line in read_lines(run / "metrics.jsonl")] for run in (whole, parts))
    assert one == two


def test_it_runs_in_two_processes(toy, tmp_path):
    flags = ["--data", str(toy), *SIZE.split(), "--steps", "4"]
    commands.run(Path(__file__).with_name("shades.py"), *flags, "--out", tmp_path / "two", ranks=2)
    one = read_lines(train(*flags, "--out", str(tmp_path / "one")) / "metrics.jsonl")
    two = read_lines(tmp_path / "two" / "metrics.jsonl")
    assert [line["loss"] for line in two] == pytest.approx([line["loss"] for line in one], rel=1e-5)
    assert [line["worst"] for line in two] == pytest.approx([line["worst"] for line in one], rel=1e-4)


def test_two_runs_that_start_together_get_two_folders(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = []

    class Meanwhile(ShadeStage):
        def build(self):  # the other run starts after this one has looked, and before it writes
            if not folders:
                folders.append(None)
                folders[0] = train(*flags)
            return super().build()

    flags = ["--data", str(toy), *SIZE.split(), "--steps", "1"]
    folders.append(run(Meanwhile, parse(ShadeSettings, flags, "test")))
    assert len(set(folders)) == 2
    assert all(len(read_lines(folder / "metrics.jsonl")) == 1 for folder in folders)


def test_a_folder_is_taken_from_the_first_step_on(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ["--data", str(toy), *SIZE.split(), "--steps", "1"]
    told = parse(ShadeSettings, flags, "test").told
    claimed = tmp_path / "runs" / f"shades-{toy.parent.name}{told}"
    claimed.mkdir(parents=True)
    (claimed / "metrics.jsonl").write_text("", encoding="utf-8")  # of a run before its first checkpoint
    assert train(*flags).resolve() == claimed.with_name(f"{claimed.name}-2")
    assert (claimed / "metrics.jsonl").read_text(encoding="utf-8") == ""


# ---------------------------------------------------------------- the stages that there are


def small(name: str, toy: Path, folder: Path) -> tuple:
    """(train, settings class, flags) of a run of a second."""
    size = ["--data", str(toy), *SIZE.split(), "--lr", "1e-3", "--muon-lr", "1e-3"]
    if name == "denoiser":
        return denoiser.train, denoiser.DenoiserSettings, tiny_flags(toy) + ["--batch-size", "8"]
    if name == "autoencoder":
        return autoencoder.train, autoencoder.AutoencoderSettings, [*size, "--frames", "5", "--channels", "8"]
    if name == "captioner":
        flags = ["--patch", "4", "--merge", "2", "--channels", "16", "--heads", "2", "--judged-clips", "2"]
        return captioner.train, captioner.CaptionerSettings, [*size, "--least-frames", "4", *flags]
    flags = [*size, "--kind", "vq", "--channels", "16", "--steps", "1", "--out", str(folder / "vq")]
    vq = autoencoder.train(parse(autoencoder.AutoencoderSettings, flags, "test"))
    flags = ["--autoencoder", str(vq), "--dropout", "0", "--channels", "16", "--heads", "2", "--adherence-clips", "0"]
    return prior.train, prior.PriorSettings, [*size, *flags]


@pytest.mark.parametrize("name", ["denoiser", "autoencoder", "captioner", "prior"])
def test_accumulation_averages_and_compilation_are_the_same_for_all(name, toy, tmp_path, monkeypatch):
    train_stage, kind, flags = small(name, toy, tmp_path)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))  # traced, but not translated
    found = {}
    for variant, more in {"plain": [], "pieces": ["--accumulate", "3"], "compiled": ["--compile"]}.items():
        settings = parse(
            kind, [*flags, "--steps", "3", "--ema", "0.5", *more, "--out", str(tmp_path / variant)], "test"
        )
        found[variant] = [line["loss"] for line in read_lines(train_stage(settings) / "metrics.jsonl")]
    assert found["pieces"] == pytest.approx(found["plain"], rel=1e-4)
    assert found["compiled"] == pytest.approx(found["plain"], rel=1e-4)
    state = load_state(tmp_path / "plain")
    moved = [key for key, value in state["model"].items() if value.is_floating_point()]
    assert any(not torch.equal(state["model"][key], state["average"][key]) for key in moved)
