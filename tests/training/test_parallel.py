"""Two processes learn what one does."""

import os
import subprocess
import sys

import torch
import torch.distributed as dist
from conftest import ROOT, tiny_flags
from torch import nn

from lite_sora.data.windows import VideoDataset
from lite_sora.processes import Processes, join
from lite_sora.storage.checkpoint import load_state
from lite_sora.training.clips import Clips
from lite_sora.training.denoiser import DenoiserSettings
from lite_sora.training.metrics import read_lines
from lite_sora.training.parallel import SharedBatchNorm3d, choose_precision

ALONE = Processes(0, 1, torch.device("cpu"))


def test_two_processes_learn_what_one_does(toy, tmp_path):
    flags = [*tiny_flags(toy), "--steps", "4", "--batch-size", "8", "--lr", "1e-3", "--device", "cpu"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    script = str(ROOT / "train.py")
    for name, command in {
        "one": [sys.executable, script],
        "two": [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script],
    }.items():
        more = ["--out", str(tmp_path / name), *(["--accumulate", "2"] if name == "two" else [])]
        done = subprocess.run(
            [*command, *flags, *more], cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", timeout=300
        )
        assert done.returncode == 0, done.stderr
    one, two = (read_lines(tmp_path / name / "metrics.jsonl") for name in ("one", "two"))
    assert len(one) == len(two) == 4
    for a, b in zip(one, two, strict=True):
        assert abs(a["loss"] - b["loss"]) < 1e-5 * a["loss"]
        assert abs(a["grad_norm"] - b["grad_norm"]) < 1e-4 * a["grad_norm"]
    one, two = (load_state(tmp_path / name)["model"] for name in ("one", "two"))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=0, atol=2e-4)


def test_precision_is_one_that_the_machine_can_do():
    assert choose_precision(ALONE) in ("fp32", "bf16")


def test_choosing_a_precision_draws_nothing_from_the_seed():
    torch.manual_seed(0)
    choose_precision(ALONE)
    drawn = torch.randn(3)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.randn(3))


def test_processes_wait_for_one_that_samples_for_longer_than_ten_minutes(monkeypatch):
    asked = {}
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(dist, "is_initialized", lambda: False)
    monkeypatch.setattr(dist, "init_process_group", lambda backend, timeout: asked.update({backend: timeout}))
    monkeypatch.setattr(dist, "get_rank", lambda: 0)
    join("cpu")
    assert asked["gloo"].total_seconds() > 24 * 3600


def test_memory_for_clips_is_shared_by_the_processes_of_a_machine(toy, monkeypatch):
    given = []
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setattr(VideoDataset, "preload", lambda videos, most, show: given.append(most) or [])
    settings = DenoiserSettings(data=str(toy), cache_gib=2.0)
    for world in (1, 4):
        clips = Clips(settings, Processes(0, world, torch.device("cpu")))
        clips.preload(clips.videos(clips.training))
    assert given == [2**31, 2**29]


def test_batch_statistics_are_those_of_the_whole_batch():
    """One process that holds both halves of the batch stands in for two: summing over processes doubles its values."""
    torch.manual_seed(0)
    plain, shared = nn.BatchNorm3d(4), nn.BatchNorm3d(4)
    shared.__class__ = SharedBatchNorm3d
    h = torch.randn(6, 4, 2, 3, 3)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        outputs = [layer(h.clone().requires_grad_()) for layer in (plain, shared)]
    finally:
        dist.destroy_process_group()
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(plain.running_mean, shared.running_mean)
    torch.testing.assert_close(plain.running_var, shared.running_var, rtol=1e-4, atol=1e-5)
