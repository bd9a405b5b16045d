"""--fsdp: weights in parts learn as whole ones do, are saved as whole ones are, and go on in any number of parts."""

import shutil

import commands
import pytest
import torch
from conftest import tiny_flags

from lite_sora.pipeline import TextToVideo
from lite_sora.storage.checkpoint import load_state
from lite_sora.training.metrics import read_lines


def assert_alike(one, other) -> None:
    lines, others = (read_lines(run / "metrics.jsonl") for run in (one, other))
    assert len(lines) == len(others) > 0
    for a, b in zip(lines, others, strict=True):
        assert abs(a["loss"] - b["loss"]) < 1e-5 * a["loss"]
        assert abs(a["grad_norm"] - b["grad_norm"]) < 1e-4 * a["grad_norm"]
    one, other = load_state(one), load_state(other)
    for part in ("model", "average"):
        for name, weight in one[part].items():
            torch.testing.assert_close(other[part][name], weight, rtol=0, atol=2e-4)


@pytest.mark.parametrize(
    "ranks, more, shared",
    [
        (2, ["--optimizer", "adamw", "--accumulate", "2"], 1),
        (4, ["--denoiser", "uvit", "--optimizer", "muon", "--checkpointing"], 1),
        (4, ["--denoiser", "sit"], 2),
    ],
    ids=["adamw", "muon", "shared sequences"],
)
def test_parts_learn_what_one_process_does(toy, tmp_path, ranks, more, shared):
    flags = [*tiny_flags(toy), *more, "--batch-size", "8", "--steps", "6", "--lr", "1e-3", "--muon-lr", "1e-3"]
    flags += ["--sample-every", "3", "--adherence-clips", "4"]
    commands.run(commands.TRAIN, *flags, "--out", tmp_path / "one")
    parts = ["--fsdp", "--sequence-parallel", shared, "--out", tmp_path / "parts"]
    commands.run(commands.TRAIN, *flags, *parts, ranks=ranks)
    assert_alike(tmp_path / "one", tmp_path / "parts")
    assert {path.name for path in (tmp_path / "one").iterdir()} == {
        path.name for path in (tmp_path / "parts").iterdir()
    }
    one, parts = (TextToVideo.from_pretrained(tmp_path / name) for name in ("one", "parts"))
    for name, weight in one.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], weight, rtol=0, atol=2e-4)


def test_a_run_goes_on_in_any_number_of_parts(toy, tmp_path):
    flags = [*tiny_flags(toy), "--batch-size", "8", "--steps", "6", "--lr", "1e-3", "--muon-lr", "1e-3", "--fsdp"]
    commands.run(commands.TRAIN, *flags, "--out", tmp_path / "whole", ranks=2)
    commands.run(commands.TRAIN, *flags, "--out", tmp_path / "stopped", "--stop-after", "3", ranks=2)
    shutil.copytree(tmp_path / "stopped", tmp_path / "other")
    commands.run(commands.TRAIN, "--resume", tmp_path / "stopped", ranks=2)
    one, two = (load_state(tmp_path / name)["model"] for name in ("whole", "stopped"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    commands.run(commands.TRAIN, "--resume", tmp_path / "other", "--stop-after", "4", ranks=4)
    commands.run(commands.TRAIN, "--resume", tmp_path / "other", "--fsdp", "false", "--stop-after", "6")
    assert_alike(tmp_path / "whole", tmp_path / "other")


def test_one_process_has_nothing_to_share_out(toy, tmp_path):
    done = commands.run(commands.TRAIN, *tiny_flags(toy), "--fsdp", "--out", tmp_path / "run", fails=True)
    assert "--fsdp is for several processes: torchrun" in done.stderr and not (tmp_path / "run").exists()
