"""Commands, as a person types them, each in a process of its own.

A new process takes seconds to import torch. So these are forked from one that has imported it, and done nothing else.
"""

import multiprocessing
import os
import runpy
import socket
import sys
import tempfile
import time
from multiprocessing.connection import wait
from pathlib import Path
from unittest.mock import patch

import torch
from conftest import ROOT

TRAIN, GENERATE = ROOT / "train.py", ROOT / "generate.py"
IMPORTED = ("torch.distributed", "transformers.hf_argparser", "matplotlib.pyplot", "train", "generate")
STAGES = (f"lite_sora.training.{stage}" for stage in ("denoiser", "autoencoder", "captioner", "prior"))
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([*IMPORTED, *STAGES, "lite_sora.curation.curate"])


class Command:
    """`python WORDS`, which runs from now on; with `ranks` above 1, the processes that torchrun would start."""

    def __init__(self, *words: object, cwd: Path = ROOT, ranks: int = 1):
        self.folder, environments = tempfile.TemporaryDirectory(), [{}]
        if ranks > 1:
            with socket.create_server(("127.0.0.1", 0)) as server:
                port = server.getsockname()[1]
            shared = {"WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            environments = [shared | {"RANK": rank, "LOCAL_RANK": rank} for rank in range(ranks)]
        given = [str(word) for word in words], cwd, self.folder.name
        self.processes = [FORKS.Process(target=_run, args=(*given, each)) for each in environments]
        with patch.dict(os.environ, HF_HUB_OFFLINE="1"):  # huggingface_hub reads it where it is imported: in the parent
            for process in self.processes:
                process.start()

    @property
    def stdout(self) -> str:
        return Path(self.folder.name, "stdout").read_text(encoding="utf-8")

    @property
    def stderr(self) -> str:
        return Path(self.folder.name, "stderr").read_text(encoding="utf-8")

    @property
    def returncode(self) -> int | None:
        """0 once all have ended well; that of one which did not; None while they run."""
        codes = [process.exitcode for process in self.processes]
        return next((code for code in codes if code), None if None in codes else 0)

    def signal(self, number: int) -> None:
        os.kill(self.processes[0].pid, number)

    def wait(self, seconds: float = 300) -> "Command":
        """Until the command has ended, or one of its processes has failed, which ends the others."""
        end = time.monotonic() + seconds
        while self.returncode is None and time.monotonic() < end:
            running = [process.sentinel for process in self.processes if process.exitcode is None]
            if running:  # wait([]) would wait for nothing until the end
                wait(running, end - time.monotonic())
        late = self.returncode is None
        for process in self.processes:
            process.kill()
            process.join()
        assert not late, f"it did not end within {seconds} s: {self.stderr}"
        return self


def run(*words: object, cwd: Path = ROOT, ranks: int = 1, fails: bool = False) -> Command:
    """Runs a command to its end, which must be as expected, and without a traceback."""
    done = Command(*words, cwd=cwd, ranks=ranks).wait()
    assert (done.returncode != 0) == fails and "Traceback" not in done.stderr, done.stdout + done.stderr
    return done


def _run(words: list[str], cwd: Path, folder: str, environment: dict[str, object]) -> None:
    os.chdir(cwd)
    os.environ |= {"PYTHONPATH": str(ROOT)} | {key: str(environment[key]) for key in environment}
    if environment:  # one of several, to which torchrun gives one thread each
        torch.set_num_threads(1)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(os.path.join(folder, name), os.O_WRONLY | os.O_APPEND | os.O_CREAT), number)
    if words[0] == "-m":
        sys.argv = words[1:]
        sys.modules.pop(words[1], None)  # `python -m` has not imported it either
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")
