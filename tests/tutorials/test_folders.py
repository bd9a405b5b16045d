"""Lesson 01 goes on with its own runs, and puts aside what it cannot go on with."""

import json
import sys

import pytest
import torch
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tutorials"))
from folders import how_far

WATCHED = range(100, 801, 100)


def run_of(folder, step=None, observed=(), done=False):
    folder.mkdir()
    (folder / "metrics.jsonl").touch()
    if step is not None:
        torch.save({"step": step}, folder / "state.pt")
    if observed:
        (folder / "facts.jsonl").write_text("".join(f"{json.dumps([each, 0, 1, 0, 0])}\n" for each in observed))
    if done:
        (folder / "adherence.json").touch()
    return folder


@pytest.mark.parametrize(
    "run, expected",
    [
        ({"step": 800, "observed": WATCHED, "done": True}, "done"),
        ({"step": 40}, "begun"),
        ({"step": 200, "observed": (100, 200, 300)}, "begun"),
        ({}, "new"),  # it was cut before there was a checkpoint
        ({"step": 400}, "new"),
        ({"step": 400, "observed": (100, 300, 400)}, "new"),
        ({"step": 800, "done": True}, "new"),  # `train.py --out` made it
        ({"step": 800, "observed": WATCHED}, "new"),  # it was cut while it was judged
    ],
)
def test_a_run_is_done_or_goes_on_or_is_put_aside(tmp_path, run, expected):
    folder = run_of(tmp_path / "run", **run)
    (tmp_path / "run-1").mkdir()
    assert how_far(folder, WATCHED) == expected
    assert (tmp_path / "run-2" / "metrics.jsonl").exists() == (not folder.exists()) == (expected == "new")


def test_a_line_that_was_cut_is_no_line(tmp_path):
    folder = run_of(tmp_path / "run", step=200, observed=(100, 200))
    (folder / "facts.jsonl").write_text("[100, 0, 1, 0, 0]\n[200, 0,")
    assert how_far(folder, WATCHED) == "new"


def test_where_nothing_is_there_is_nothing_to_put_aside(tmp_path):
    assert how_far(tmp_path / "run", WATCHED) == "new"
    assert not list(tmp_path.iterdir())
