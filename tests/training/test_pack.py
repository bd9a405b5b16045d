"""--pack: clips of many shapes in one sequence; resumed, shared among processes, sampled."""

import commands
import pytest
import torch
from conftest import run_train
from test_shapes import BUCKETS, flags, mixed  # noqa: F401
from test_training import assert_same_run

from lite_sora.data.packing import PackedOrder
from lite_sora.pipeline import TextToVideo
from lite_sora.training import packing
from lite_sora.training.flags import TrainingError
from lite_sora.training.metrics import read_lines

PACK = ["--buckets", *BUCKETS, "--pack", "--batch-size", "8"]


@pytest.mark.parametrize(
    "more", [(), ("--denoiser", "uvit", "--frame-levels", "0.8")], ids=["dit", "uvit by the frame"]
)
def test_it_learns_from_packs_and_resumes_to_the_bit(mixed, tmp_path, capsys, more):  # noqa: F811
    steps = [*PACK, *more, "--steps", "5"]
    run_train(*flags(mixed, *steps, "--out", str(tmp_path / "whole")))
    assert "bucket 8x16x32: 6 clips of 8 patches" in capsys.readouterr().out
    run_train(*flags(mixed, *steps, "--stop-after", "3", "--out", str(tmp_path / "parts")))
    run_train("--resume", str(tmp_path / "parts"))
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    video = TextToVideo.from_pretrained(tmp_path / "whole").generate(["a wide clip"], steps=2, frames=4, width=48)
    assert video.shape == (1, 3, 4, 32, 48) and video.isfinite().all()


class SharedByTwo(PackedOrder):
    """The order of two processes, in one that takes it all."""

    def __init__(self, *args):
        super().__init__(*args[:5], 0, 2)

    def __iter__(self):
        mine, theirs = (PackedOrder(self.tokens, self.budget, self.seed, 0, 4, rank, 2) for rank in (0, 1))
        return (one + two for one, two in zip(mine, theirs, strict=True))


def test_two_processes_learn_what_one_does(mixed, tmp_path, monkeypatch):  # noqa: F811
    all_flags = flags(mixed, *PACK, "--steps", "4", "--lr", "1e-3")
    commands.run(commands.TRAIN, *all_flags, "--out", tmp_path / "two", ranks=2)
    monkeypatch.setattr(packing, "PackedOrder", SharedByTwo)
    run_train(*all_flags, "--out", str(tmp_path / "one"))
    one, two = (read_lines(tmp_path / name / "metrics.jsonl") for name in ("one", "two"))
    assert all(abs(a["loss"] - b["loss"]) < 1e-5 * a["loss"] for a, b in zip(one, two, strict=True))
    one, two = (TextToVideo.from_pretrained(tmp_path / name).state_dict() for name in ("one", "two"))
    assert all(torch.allclose(one[name], two[name], atol=2e-4) for name in one)


@pytest.mark.parametrize(
    "more, message",
    [
        (
            ["--buckets", "4x32x32", "8x32x32", "--pack", "--batch-size", "1"],
            "a clip of 16 tokens .* does not fit into a",
        ),
        ([*PACK, "--conditioning", "mm-dit"], "--pack is for dit and sit with their usual parts, and for uvit"),
    ],
)
def test_what_cannot_be_packed_is_refused(mixed, tmp_path, more, message):  # noqa: F811
    with pytest.raises(TrainingError, match=message):
        run_train(*flags(mixed, *more, "--steps", "1", "--out", str(tmp_path / "run")))
    assert not (tmp_path / "run").exists()


def test_a_pack_needs_buckets(mixed, capsys):  # noqa: F811
    with pytest.raises(SystemExit):
        run_train(*flags(mixed, "--pack"))
    assert "--pack is for clips of many shapes: name them by --buckets" in capsys.readouterr().err
