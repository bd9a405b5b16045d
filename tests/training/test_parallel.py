"""Two processes learn what one does."""

import os
import subprocess
import sys

import torch
from conftest import ROOT, tiny_flags

from lite_sora.storage.checkpoint import load_state
from lite_sora.training.metrics import read_lines
from lite_sora.training.parallel import choose_precision


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
            [*command, *flags, *more], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
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
    assert choose_precision(torch.device("cpu")) in ("fp32", "bf16")
