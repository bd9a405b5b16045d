"""Everything that is put on a model from outside: device, processes, precision, compilation. Nothing else in lite_sora
knows that there is more than one process.

`torchrun --nproc-per-node 2 train.py` starts two processes; torch.distributed carries gradients between them.
"""

import os
from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lite_sora.compute import default_device, matmul_flops


@dataclass(frozen=True)
class Processes:
    """This process among all that train together; one of one, unless torchrun started it."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """True in the one process that prints and writes."""
        return self.rank == 0

    def gather(self, values: Tensor) -> Tensor:
        """All processes' values (N,) one after another, (world * N,), in each of them."""
        if self.world == 1:
            return values
        rows = [torch.empty_like(values) for _ in range(self.world)]
        dist.all_gather(rows, values.contiguous())
        return torch.cat(rows)

    def gather_texts(self, texts: list[str]) -> list[str]:
        """All processes' texts, in each of them."""
        if self.world == 1:
            return texts
        lists = [None] * self.world
        dist.all_gather_object(lists, texts)
        return [text for texts in lists for text in texts]

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            dist.barrier()


def join(device: str | None) -> Processes:
    """Joins the processes that torchrun started (gloo on CPU, nccl on GPU), or stands alone. `leave` at the end."""
    device = device or default_device()
    world = int(os.environ.get("WORLD_SIZE", 1))
    if world == 1:
        return Processes(0, 1, torch.device(device))
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    if not dist.is_initialized():  # a second run in the same processes
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return Processes(dist.get_rank(), world, torch.device(device))


def leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def parallelize(model: nn.Module, processes: Processes, compiled: bool) -> nn.Module:
    """The model that training calls: compiled if asked for, its gradients averaged over all processes."""
    if compiled:
        model = torch.compile(model)
    if processes.world > 1:
        model = DistributedDataParallel(
            model, device_ids=[processes.device] if processes.device.type == "cuda" else None
        )
    return model


def averaging(model: nn.Module, last: bool):
    """The context of one part of an accumulated batch: processes average their gradients in the last part only."""
    return nullcontext() if last or not isinstance(model, DistributedDataParallel) else model.no_sync()


# ---------------------------------------------------------------- precision


def choose_precision(device: torch.device) -> str:
    """ "bf16" where it pays, else "fp32". A GPU says whether it can; a CPU is timed, since many only pretend to."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type == "cpu":
        return (
            "bf16"
            if matmul_flops(torch.bfloat16, 256, tries=5) > 1.5 * matmul_flops(torch.float32, 256, tries=5)
            else "fp32"
        )
    return "fp32"


def autocast(device: torch.device, precision: str):
    """The context that a forward pass runs in: matmuls in bf16, or everything in fp32."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()
