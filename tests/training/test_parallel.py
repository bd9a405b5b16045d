"""Two processes learn what one does."""

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import commands
import pytest
import torch
import torch.distributed as dist
from conftest import run_train, tiny_flags
from torch import nn

from lite_sora.data.windows import VideoDataset
from lite_sora.denoisers import DENOISERS
from lite_sora.pipeline import TextToVideo
from lite_sora.processes import Processes, join, leave
from lite_sora.storage.checkpoint import load_state
from lite_sora.training.clips import Clips
from lite_sora.training.denoiser import DenoiserSettings
from lite_sora.training.metrics import read_lines
from lite_sora.training.parallel import SharedBatchNorm3d, choose_precision, recompute_blocks

ALONE = Processes(0, 1, torch.device("cpu"))


def test_two_processes_learn_what_one_does(toy, tmp_path):
    flags = [*tiny_flags(toy), "--steps", "4", "--batch-size", "8", "--lr", "1e-3", "--device", "cpu"]
    commands.run(commands.TRAIN, *flags, "--out", "one", cwd=tmp_path)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, str(commands.TRAIN), *flags, "--out", "two", "--accumulate", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stderr
    one, two = (read_lines(tmp_path / name / "metrics.jsonl") for name in ("one", "two"))
    assert len(one) == len(two) == 4
    for a, b in zip(one, two, strict=True):
        assert abs(a["loss"] - b["loss"]) < 1e-5 * a["loss"]
        assert abs(a["grad_norm"] - b["grad_norm"]) < 1e-4 * a["grad_norm"]
    one, two = (load_state(tmp_path / name)["model"] for name in ("one", "two"))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=0, atol=2e-4)


@pytest.mark.parametrize("denoiser", DENOISERS)
def test_activations_that_are_computed_again_give_the_same_gradients_in_less_memory(denoiser, toy, tmp_path):
    flags = [*tiny_flags(toy), "--denoiser", denoiser, "--size", "toy", "--steps", "2"]
    runs = [
        run_train(*flags, *more, "--out", str(tmp_path / name)) for name, *more in (["a"], ["b", "--checkpointing"])
    ]
    one, other = (load_state(run)["model"] for run in runs)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=1e-6)

    model, kept = TextToVideo.from_pretrained(runs[0]).train(), []
    inputs = {"latents": torch.randn(2, 3, 8, 32, 32), "noise": torch.randn(2, 3, 8, 32, 32), "t": torch.rand(2)}
    captions = model.text.tokenize(["a red circle", "a blue square"])
    for recompute in (False, True):
        if recompute:
            recompute_blocks(model)
        tensors = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor, tensors=tensors: tensors.update({tensor.data_ptr(): tensor.numel()}) or tensor, lambda x: x
        ):
            model(captions=captions, signals={}, **inputs)
        kept.append(sum(tensors.values()))
    assert kept[1] < 0.6 * kept[0]


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


class First(Processes):
    """The first of processes whose others have nothing to tell."""

    def gather_texts(self, texts):
        return texts * self.world

    def wait(self):
        pass


def preloaded(manifest: Path, processes: Processes, **settings) -> tuple[VideoDataset, list[str]]:
    """The clips of a manifest, and which are broken."""
    clips = Clips(DenoiserSettings(data=str(manifest), allow_outside=True, **settings), processes)
    videos = clips.videos(clips.training)
    return videos, clips.preload(videos)


def test_memory_for_clips_is_shared_by_the_processes_of_a_machine(toy, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "0")
    size = 8 * 32 * 32 * 3 / 2**30  # of a clip, in GiB
    for kind, world, most in ((Processes, 1, 12), (First, 4, 3)):
        videos, _ = preloaded(toy, kind(0, world, torch.device("cpu")), cache_gib=12.5 * size)
        assert most - 3 <= len(videos.cache) <= most  # up to three that would have fitted wait for one that does not


def test_a_file_of_clips_is_gone_after_ctrl_c(toy, tmp_path, monkeypatch):
    class Stopped(First):
        def gather_texts(self, texts):
            assert len(list(tmp_path.iterdir())) == 1
            raise KeyboardInterrupt

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(KeyboardInterrupt):
        preloaded(toy, Stopped(0, 2, torch.device("cpu")))
    assert not list(tmp_path.iterdir())


def decode(manifest: Path) -> tuple[Processes, dict]:
    """What one process decodes itself, what it then has, and which clips are broken."""
    decoded, read, processes = [], VideoDataset._read, join("cpu")
    VideoDataset._read = lambda videos, index, *window: decoded.append(index) or read(videos, index, *window)
    videos, broken = preloaded(manifest, processes)
    alone = len(decoded)
    items = [videos[index, index] for index in range(len(videos))]
    VideoDataset._read = read
    assert len(decoded) == alone and len(videos.cache) == len(videos)  # nothing was decoded again
    frames = [hashlib.sha256(item.video.tobytes()).hexdigest() for item in items]
    return processes, {"decoded": sorted(decoded), "frames": frames, "broken": broken}


def test_two_processes_decode_each_clip_once_and_see_all(toy, tmp_path):
    rows = [json.loads(line) for line in toy.read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows):
        row["video"] = "broken.mp4" if number in (5, 12) else str(toy.parent / row["video"])
    (tmp_path / "broken.mp4").write_text("no video", encoding="utf-8")
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    commands.run(__file__, "manifest.jsonl", cwd=tmp_path, ranks=2)
    one, two = (json.loads((tmp_path / f"rank-{rank}.json").read_text(encoding="utf-8")) for rank in (0, 1))
    _, alone = decode(tmp_path / "manifest.jsonl")
    assert sorted(one["decoded"] + two["decoded"]) == alone["decoded"] and one["decoded"] and two["decoded"]
    assert one["frames"] == two["frames"] == alone["frames"] and len(alone["frames"]) == 58
    assert len(one["broken"]) == len(two["broken"]) == len(alone["broken"]) == 2
    assert all("broken.mp4" in reason for reason in one["broken"] + two["broken"])
    assert not list((tmp_path / "temporary").iterdir())


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


if __name__ == "__main__":
    Path("temporary").mkdir(exist_ok=True)
    tempfile.tempdir = "temporary"
    processes, found = decode(Path(sys.argv[1]))
    Path(f"rank-{processes.rank}.json").write_text(json.dumps(found), encoding="utf-8")
    leave()
