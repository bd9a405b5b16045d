"""The recipe of tutorials/cluster.md, word for word: two nodes, of which one is lost and comes back."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import commands
import pytest
import torch
from conftest import ROOT, tiny_flags

from lite_sora.storage.checkpoint import load_state
from lite_sora.training.metrics import read_lines


def descendants(pid: int) -> list[int]:
    """A process and all that it started, by /proc."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    return [pid, *(each for child in children for each in descendants(int(child)))]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="a node is lost by /proc, which Linux has")
def test_a_lost_node_costs_no_more_than_the_steps_since_the_last_checkpoint(toy, tmp_path):
    page = (ROOT / "tutorials/cluster.md").read_text(encoding="utf-8")
    script = tmp_path / "node.sh"
    script.write_text(re.search(r"```bash\n(.*?)```", page, re.DOTALL).group(1), encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    given = {
        "HEAD": "127.0.0.1",
        "PORT": str(port),
        "NODES": "2",
        "PER_NODE": "1",
        "PAUSE": "1",
        "OMP_NUM_THREADS": "1",
    }
    given["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    flags = [*tiny_flags(toy), "--steps", "120", "--checkpoint-every", "20"]

    def node() -> subprocess.Popen:
        command = ["bash", str(script), str(tmp_path / "run"), *flags]
        return subprocess.Popen(command, cwd=ROOT, env=os.environ | given, stdout=log, stderr=log)

    with (tmp_path / "log").open("w", encoding="utf-8") as log:
        first, second = node(), node()
        try:
            end = time.monotonic() + 120
            while not (tmp_path / "run/state.pt").exists() and time.monotonic() < end:
                time.sleep(0.1)
            assert len(read_lines(tmp_path / "run/metrics.jsonl")) < 120
            for pid in descendants(second.pid):
                os.kill(pid, signal.SIGKILL)
            second = node()
            codes = [each.wait(timeout=200) for each in (first, second)]
        finally:
            for each in (first, second):
                if each.poll() is None:
                    for pid in descendants(each.pid):
                        os.kill(pid, signal.SIGKILL)
    assert codes == [0, 0], (tmp_path / "log").read_text(encoding="utf-8")[-3000:]
    commands.run(commands.TRAIN, *flags, "--out", tmp_path / "never-lost", ranks=2)
    one, other = (load_state(tmp_path / name)["model"] for name in ("run", "never-lost"))
    assert all(torch.equal(one[name], other[name]) for name in one)
