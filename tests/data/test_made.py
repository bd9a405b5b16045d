"""Folders of generated videos: none takes the place of another."""

import numpy as np
import pytest

from lite_sora.data.made import save_made
from lite_sora.storage.runs import CheckpointError, read_json


def test_a_name_belongs_to_what_was_made_in_one_way(tmp_path):
    video, picture = np.zeros((2, 16, 16, 3), np.uint8), np.zeros((1, 16, 16, 3), np.uint8)
    assert save_made(tmp_path, "x", video, 8, {"frames": 2}) == f"{tmp_path}/x.mp4 and .gif"
    assert save_made(tmp_path, "x", picture, 8, {"frames": 1}) == f"{tmp_path}/x-2.png"
    assert save_made(tmp_path, "x", video, 8, {"frames": 2, "low": 0.1}) == f"{tmp_path}/x-3.mp4 and .gif"
    assert save_made(tmp_path, "x", picture, 8, {"frames": 1}) == f"{tmp_path}/x-2.png"
    assert save_made(tmp_path, "x", video, 8, {"frames": 2}) == f"{tmp_path}/x.mp4 and .gif"
    names = {"x.mp4", "x.gif", "x-2.png", "x-3.mp4", "x-3.gif", "made.json"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert read_json(tmp_path / "made.json")["x-3"] == {"frames": 2, "low": 0.1}


def test_a_file_that_nobody_knows_anything_of_stays(tmp_path):
    (tmp_path / "x.mp4").write_bytes(b"a film")
    assert save_made(tmp_path, "x", np.zeros((2, 16, 16, 3), np.uint8), 8, {}) == f"{tmp_path}/x-2.mp4 and .gif"
    assert (tmp_path / "x.mp4").read_bytes() == b"a film"


def test_a_broken_record_is_named(tmp_path):
    (tmp_path / "made.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match="made.json cannot be read"):
        save_made(tmp_path, "x", np.zeros((2, 16, 16, 3), np.uint8), 8, {})
