"""Everything that is put on a model from outside: precision, compilation, the averaging of gradients over processes."""

from contextlib import nullcontext

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lite_sora.compute import matmul_flops
from lite_sora.processes import Processes


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
