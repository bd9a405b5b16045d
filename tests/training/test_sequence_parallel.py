"""Processes that share the tokens of each clip learn what one does."""

import commands
import pytest
import torch
from conftest import tiny_flags
from test_shapes import BUCKETS, mixed  # noqa: F401
from test_shapes import flags as mixed_flags

from lite_sora.storage.checkpoint import load_state
from lite_sora.training.metrics import read_lines

CASES = {  # of the toy world: 8 patches and a few words, which 4 processes do not share evenly
    "dit": [],
    "sit by the frame": ["--denoiser", "sit", "--frame-levels", "0.7"],
    "uvit": ["--denoiser", "uvit"],
}


def assert_alike(one, other, steps: int) -> None:
    lines, others = (read_lines(run / "metrics.jsonl") for run in (one, other))
    assert len(lines) == len(others) == steps
    for a, b in zip(lines, others, strict=True):
        assert abs(a["loss"] - b["loss"]) < 1e-5 * a["loss"]
        assert abs(a["grad_norm"] - b["grad_norm"]) < 1e-5 * a["grad_norm"]
    weights = (load_state(run)["model"].values() for run in (one, other))
    one, other = (torch.cat([weight.flatten() for weight in model]) for model in weights)
    assert (one - other).norm() <= 1e-5 * one.norm()


@pytest.mark.parametrize("case, ranks, shared", [("dit", 2, 2), ("sit by the frame", 4, 4), ("uvit", 4, 2)])
def test_shared_tokens_are_learnt_from_as_one_process_does(toy, tmp_path, case, ranks, shared):
    flags = [*tiny_flags(toy), *CASES[case], "--steps", "20", "--optimizer", "adamw", "--lr", "1e-3", "--out"]
    commands.run(commands.TRAIN, *flags, tmp_path / "one")
    commands.run(commands.TRAIN, *flags, tmp_path / "shared", "--sequence-parallel", shared, ranks=ranks)
    assert_alike(tmp_path / "one", tmp_path / "shared", 20)


def test_packs_are_shared_too(mixed, tmp_path):  # noqa: F811
    more = ["--buckets", *BUCKETS, "--pack", "--batch-size", "6", "--steps", "20", "--optimizer", "adamw"]
    flags = [*mixed_flags(mixed, *more), "--lr", "1e-3", "--out"]
    commands.run(commands.TRAIN, *flags, tmp_path / "one")
    commands.run(commands.TRAIN, *flags, tmp_path / "shared", "--sequence-parallel", 2, ranks=2)
    assert_alike(tmp_path / "one", tmp_path / "shared", 20)


@pytest.mark.parametrize(
    "more, ranks, message",
    [
        (["--sequence-parallel", "2"], 1, "--sequence-parallel 2: torchrun has started 1 processes, no multiple of it"),
        (["--sequence-parallel", "3"], 3, "--sequence-parallel 3 does not divide the 4 heads"),
        (["--sequence-parallel", "2", "--conditioning", "mm-dit"], 2, "is for dit and sit with their usual parts"),
        (["--sequence-parallel", "0"], 1, "--sequence-parallel must be at least 1"),
    ],
)
def test_what_cannot_be_shared_is_refused(toy, tmp_path, more, ranks, message):
    flags = [*tiny_flags(toy), *more, "--steps", "1", "--out", tmp_path / "run"]
    done = commands.run(commands.TRAIN, *flags, ranks=ranks, fails=True)
    assert message in done.stderr and not (tmp_path / "run").exists()
