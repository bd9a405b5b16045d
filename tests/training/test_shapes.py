"""--buckets: a model learns from clips of many shapes, and can be resumed, shared and sampled at others."""

import re

import commands
import numpy as np
import pytest
import torch
from conftest import run_train, tiny_flags
from test_latents import autoencoder, world  # noqa: F401
from test_training import assert_same_run

from lite_sora.data.clip import Clip, write_manifest
from lite_sora.data.video import write_video
from lite_sora.pipeline import TextToVideo
from lite_sora.training.flags import TrainingError
from lite_sora.training.metrics import read_lines

SIZES = {"wide": (24, 48), "square": (32, 32), "tall": (48, 24)}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """The manifest of 24 clips of three shapes, of 4 or 12 frames, and a broken one."""
    folder = tmp_path_factory.mktemp("mixed")
    rng, rows = np.random.default_rng(0), []
    for index in range(24):
        shape, frames = list(SIZES)[index % 3], 4 if index < 6 else 12
        write_video(folder / f"{index}.mp4", rng.integers(0, 255, (frames, *SIZES[shape], 3), dtype=np.uint8), 8)
        rows.append(Clip(str(index), f"{index}.mp4", f"a {shape} clip"))
    (folder / "broken.mp4").write_bytes(b"none")
    write_manifest(folder / "manifest.jsonl", [*rows, Clip("broken", "broken.mp4", "a broken clip")])
    return folder / "manifest.jsonl"


BUCKETS = ["8x32x32", "8x16x32", "8x32x16", "4x32x32"]


def flags(manifest, *more: str) -> list[str]:
    return [*tiny_flags(manifest), "--patch", "2", "16", "16", *more]


def test_it_learns_from_all_shapes_and_resumes_to_the_bit(mixed, tmp_path, capsys):
    more = ["--buckets", *BUCKETS, "--steps", "7"]
    run_train(*flags(mixed, *more, "--out", str(tmp_path / "whole")))
    told = capsys.readouterr().out
    found = re.findall(r"bucket (\S+): (\d+) clips, (\d) a step", told)
    assert [(name, size) for name, _, size in found] == list(zip(BUCKETS, "4888", strict=True))
    clips = [int(clips) for _, clips, _ in found]
    # six wide and six tall ones are long; the two buckets of squares share their long ones, and one has all short ones
    assert clips[1:3] == [6, 6] and clips[0] + clips[3] == 12 and clips[3] >= 6
    assert 'generate.py "a broken clip"' not in told
    assert "broken.mp4" in (tmp_path / "whole" / "skipped.txt").read_text()
    run_train(*flags(mixed, *more, "--stop-after", "3", "--out", str(tmp_path / "parts")))
    run_train("--resume", str(tmp_path / "parts"))
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    model = TextToVideo.from_pretrained(tmp_path / "whole")
    for shape in ((8, 32, 32), (8, 16, 48), (2, 16, 16), (16, 48, 32)):
        video = model.generate(["a wide clip"], steps=2, frames=shape[0], height=shape[1], width=shape[2])
        assert video.shape == (1, 3, *shape) and video.isfinite().all()


def test_two_processes_learn_what_one_does(mixed, tmp_path):
    more = ["--buckets", *BUCKETS, "--steps", "4", "--lr", "1e-3"]
    commands.run(commands.TRAIN, *flags(mixed, *more, "--out", tmp_path / "one"))
    commands.run(commands.TRAIN, *flags(mixed, *more, "--out", tmp_path / "two"), ranks=2)
    one, two = (read_lines(tmp_path / name / "metrics.jsonl") for name in ("one", "two"))
    assert all(abs(a["loss"] - b["loss"]) < 1e-5 * a["loss"] for a, b in zip(one, two, strict=True))
    one, two = (TextToVideo.from_pretrained(tmp_path / name).state_dict() for name in ("one", "two"))
    assert all(torch.allclose(one[name], two[name], atol=2e-4) for name in one)


def test_shapes_are_found_from_the_clips(mixed, tmp_path, capsys):
    run_train(*flags(mixed, "--buckets", "auto", "--steps", "1", "--out", str(tmp_path / "run")))
    told = [line.split(":")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("bucket")]
    assert told == ["bucket 8x32x32", "bucket 8x16x48", "bucket 8x48x16"]
    assert "shorter than every bucket" in (tmp_path / "run" / "skipped.txt").read_text()


def test_latents_of_many_shapes(world, autoencoder, tmp_path):  # noqa: F811
    usual = "--batch-size 4 --warmup 2 --sample-every 0 --adherence-clips 0 --precision fp32 --device cpu --steps 3"
    more = ["--buckets", "7x16x16", "3x16x16", "7x24x24", "--patch", "1", "2", "2", "--out", str(tmp_path / "run")]
    run = run_train("--data", str(world), "--autoencoder", str(autoencoder), *usual.split(), *more)
    assert len(read_lines(run / "metrics.jsonl")) == 3


@pytest.mark.parametrize(
    "buckets, message",
    [
        (["8x32"], "--buckets '8x32' is no bucket; write frames x height x width"),
        (["8x32x32", "8x24x32"], "--buckets 8x24x32: 8 × 24 × 32 does not divide by 2 × 16 × 16, the patch"),
        (["8x32x32", "90x16x32"], "--buckets 90x16x32: no clip falls into it"),
    ],
)
def test_buckets_that_cannot_be_are_refused(mixed, tmp_path, buckets, message):
    with pytest.raises(TrainingError, match=message):
        run_train(*flags(mixed, "--buckets", *buckets, "--steps", "1", "--out", str(tmp_path / "run")))
    assert not (tmp_path / "run").exists()
