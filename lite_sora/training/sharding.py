"""--fsdp: each process keeps a part of all weights, gradients, averages and optimisers' memory, and gathers the weights
of one block at a time to compute with them (ZeRO, 1910.02054, in PyTorch's FSDP2). It is put on a model from outside.

What is written is as without it, an ordinary state.pt: so any number of processes can resume a run.
(torch.distributed.checkpoint writes parts, but reads its index with pickle, which can execute what is in a file.)
"""

import copy

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from lite_sora.processes import Processes
from lite_sora.storage.sharded import whole
from lite_sora.training.flags import TrainingError


def share_out(model: nn.Module, blocks: list[nn.Module], processes: Processes) -> None:
    """Shares out the weights of each block, and those that are in none. Raises TrainingError."""
    if not hasattr(model, "denoiser"):
        raise TrainingError("--fsdp is for denoisers")
    if processes.world == 1:
        raise TrainingError("--fsdp is for several processes: torchrun --nproc-per-node 2 train.py --fsdp")
    mesh = init_device_mesh(processes.device.type, (processes.world,))
    for part in (*blocks, model):
        fully_shard(part, mesh=mesh)


class Whole:
    """A copy of a model in the first process, for what is done there alone: samples, judging, saving."""

    def __init__(self, model: nn.Module, processes: Processes):
        """model: before its weights are shared out."""
        self.copy = copy.deepcopy(model).eval().requires_grad_(False) if processes.first else None

    @torch.no_grad()
    def of(self, model: nn.Module) -> nn.Module | None:
        """The copy, with the weights of a model that is shared out; None in the others, which all have to call this."""
        own = self.copy.state_dict() if self.copy is not None else {}
        for name, values in model.state_dict().items():
            values = whole(values)
            if own:
                own[name].copy_(values)
        return self.copy
