"""Which processes work together, and on which devices.

`torchrun --nproc-per-node 2 train.py` starts two processes; torch.distributed carries tensors between them.
"""

import os
import signal
import threading
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from lite_sora.errors import UserError
from lite_sora.workers import rank_and_world

PATIENCE = timedelta(days=30)  # of processes that wait while another one samples, judges, encodes or measures


class DeviceError(UserError):
    """A --device that this machine does not have; the message says which ones it has."""


def default_device() -> str:
    """cuda if there is one, then mps, then cpu."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def check_device(name: str | None) -> str:
    """The device called `name` (cpu, mps, cuda, cuda:1, …), or the default one for None. Under torchrun "cuda" is the
    GPU of this process. Raises DeviceError for a device that this machine does not have."""
    name = name or default_device()
    there = ["cpu", *["mps"] * torch.backends.mps.is_available()]
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if name == "cuda" and gpus:
        return gpus[int(os.environ["LOCAL_RANK"]) % len(gpus)] if "LOCAL_RANK" in os.environ else name
    if name not in [*there, *gpus]:
        raise DeviceError(f"--device {name}: this machine has {', '.join([*there, *gpus])}")
    return name


@dataclass(frozen=True)
class Processes:
    """This process among all that work together; one of one, unless torchrun started it."""

    rank: int
    world: int
    device: torch.device
    shared: int = 1  # how many of them, one after another, share each clip

    @property
    def part(self) -> int:
        """Which part of a batch this process has, of `parts`."""
        return self.rank // self.shared

    @property
    def parts(self) -> int:
        return self.world // self.shared

    @property
    def first(self) -> bool:
        """True in the one process that prints and writes."""
        return self.rank == 0

    @property
    def on_this_machine(self) -> range:
        """The ranks that run on this machine: torchrun numbers them one after another."""
        if self.world == 1:
            return range(1)
        first = self.rank - int(os.environ["LOCAL_RANK"])
        return range(first, first + int(os.environ["LOCAL_WORLD_SIZE"]))

    def gather(self, values: Tensor) -> Tensor:
        """All parts' values (N,) one after another, (parts * N,), in each process."""
        if self.world == 1:
            return values
        rows = [torch.empty_like(values) for _ in range(self.world)]
        dist.all_gather(rows, values.contiguous())
        return torch.cat(rows[:: self.shared])

    def gather_texts(self, texts: list[str]) -> list[str]:
        """All processes' texts, in each of them."""
        if self.world == 1:
            return texts
        lists = [None] * self.world
        dist.all_gather_object(lists, texts)
        return [text for texts in lists for text in texts]

    def wait(self) -> None:
        """Waits until every process is here."""
        if self.world > 1:
            dist.barrier()

    def wait_for_all(self) -> None:
        """The same for processes that joined on the CPU and have unequal amounts of work: waits up to `PATIENCE`."""
        if self.world > 1:
            dist.monitored_barrier(timeout=PATIENCE)


def join(device: str | None, shared: int = 1) -> Processes:
    """Joins the processes that torchrun started (gloo on CPU, nccl on GPU), or stands alone. `leave` at the end.
    Raises DeviceError where they are not a multiple of `shared`, those that share each clip."""
    device = check_device(device)
    _, world = rank_and_world()
    if world % shared:
        raise DeviceError(f"--sequence-parallel {shared}: torchrun has started {world} processes, no multiple of it")
    if world == 1:
        return Processes(0, 1, torch.device(device))
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    if not dist.is_initialized():  # a second run in the same processes
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=PATIENCE)
    return Processes(dist.get_rank(), world, torch.device(device), shared)


def leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


class OrderlyStop:
    """Ctrl-C (or SIGTERM) asks for a stop after the running step; a second one stops at once."""

    def __enter__(self) -> "OrderlyStop":
        self.asked, self.before = False, {}
        if threading.current_thread() is threading.main_thread():  # signals reach no other
            self.before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _ask(self, number, frame) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(self, *_) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
