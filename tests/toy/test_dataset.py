"""The toy world on disk: the same files for the same seed, and a manifest that says what they show."""

import json

import numpy as np
import pytest

from lite_sora.data.clip import read_manifest
from lite_sora.data.video import probe, read_frames, write_video
from lite_sora.toy.dataset import write_toy_dataset
from lite_sora.toy.sentences import captions
from lite_sora.toy.world import Scene, Thing, draw, held_out


def contents(folder) -> dict:
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_dataset_is_the_same_for_the_same_seed(tmp_path):
    for name, seed in (("one", 3), ("again", 3), ("other", 4)):
        write_toy_dataset(tmp_path / name, clips=8, corner="world", seed=seed, frames=4, side=32)
    assert len(contents(tmp_path / "one")) == 8 + 2
    assert contents(tmp_path / "one") == contents(tmp_path / "again")
    assert contents(tmp_path / "one") != contents(tmp_path / "other")


def test_dataset_is_written_once(tmp_path):
    settings = {"clips": 4, "frames": 4, "side": 32}
    manifest = write_toy_dataset(tmp_path, **settings)
    video = tmp_path / next(read_manifest(manifest)).video
    video.write_bytes(b"kept")
    write_toy_dataset(tmp_path, **settings)
    assert video.read_bytes() == b"kept"  # all there: nothing is written
    write_toy_dataset(tmp_path, **settings, seed=1)
    assert probe(video).width == 32  # other settings: written anew

    video.write_bytes(b"half")
    manifest.unlink()  # as after an interrupted run
    write_toy_dataset(tmp_path, **settings, seed=1)
    assert probe(video).width == 32 and manifest.exists()


def test_an_interrupted_rewrite_is_never_taken_for_the_whole(tmp_path, monkeypatch):
    settings = {"clips": 4, "frames": 4, "side": 32}
    write_toy_dataset(tmp_path / "whole", **settings)
    write_toy_dataset(tmp_path / "again", **settings)

    def interrupted(path, frames, fps):
        if path.stem == "000002":
            raise KeyboardInterrupt
        write_video(path, frames, fps)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("lite_sora.toy.dataset.write_video", interrupted)
        write_toy_dataset(tmp_path / "again", **settings, seed=1)
    write_toy_dataset(tmp_path / "again", **settings)
    assert contents(tmp_path / "again") == contents(tmp_path / "whole")


def test_manifest_tells_what_its_files_show(toy):
    clips = list(read_manifest(toy))
    assert [clip.split for clip in clips].count("held-out") == len(clips) // 16
    for clip in clips[::5] + [clip for clip in clips if clip.split == "held-out"]:
        facts = clip.stats["toy"]
        things = tuple(Thing(**(thing | {"start": tuple(thing["start"])})) for thing in facts["things"])
        assert all(held_out(*thing.triple) == (clip.split == "held-out") for thing in things)
        scene = Scene(things, facts["background"])
        assert clip.captions == captions(scene) and clip.caption == clip.captions[0]
        info = probe(toy.parent / clip.video)
        assert (info.width, info.height, info.fps, info.duration) == (64, 64, 8, 1)
        frames = read_frames(toy.parent / clip.video, [i / 8 for i in range(8)], 64, 64)
        assert np.abs(frames.astype(float) - draw(scene)).mean() < 3
    assert json.loads((toy.parent / "settings.json").read_text(encoding="utf-8"))["clips"] == len(clips)
