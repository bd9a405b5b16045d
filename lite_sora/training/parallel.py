"""Everything that is put on a model from outside: precision, compilation, the averaging of gradients over processes.
No model and no stage knows that there is more than one process."""

from contextlib import nullcontext
from functools import partial

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as differentiable
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from lite_sora.compute import matmul_flops
from lite_sora.layers.sequence import Pattern
from lite_sora.processes import Processes
from lite_sora.storage.sharded import whole
from lite_sora.training.flags import RunSettings


class Parallel:
    """A model as training calls it: in the chosen precision, compiled if asked for, its gradients averaged over all
    processes."""

    def __init__(self, model: nn.Module, average: nn.Module, processes: Processes, settings: RunSettings):
        """average: the moving average of the model's weights, or the model itself. Raises TrainingError."""
        self.device, self.precision, self.shared_out = processes.device, settings.precision, None
        if settings.fsdp:
            from lite_sora.training.sharding import Whole, share_out  # rarely needed, and slow to import

            self.shared_out = Whole(average, processes)
        if settings.checkpointing:
            recompute_blocks(model)
        if processes.shared > 1:
            from lite_sora.training.sequence_parallel import share_sequence

            share_sequence(model, processes)
        if processes.world > 1:
            share_batch_statistics(model)
        if settings.compile:
            compile_blocks(model)
        if settings.fsdp:
            for network in {id(each): each for each in (model, average)}.values():
                share_out(network, blocks_of(network), processes)
        elif processes.world > 1:
            devices = [processes.device] if processes.device.type == "cuda" else None
            model = DistributedDataParallel(model, device_ids=devices)
        self.model = model

    def __call__(self, *inputs, **named):
        with autocast(self.device, self.precision):
            return self.model(*inputs, **named)

    def averaging(self, last: bool):
        """The context of one piece of an accumulated batch: processes average their gradients after the last only."""
        if self.shared_out:
            self.model.set_requires_gradient_sync(last)
        alone = last or not isinstance(self.model, DistributedDataParallel)
        return nullcontext() if alone else self.model.no_sync()

    def clip(self, limit: float) -> Tensor:
        """Shortens the gradient to this norm, and returns the norm that it had."""
        return whole(nn.utils.clip_grad_norm_(self.model.parameters(), limit))

    def whole(self, network: nn.Module) -> nn.Module | None:
        """A network, or the average, as the first process samples and saves it. All processes call this."""
        return self.shared_out.of(network) if self.shared_out else network


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The transformer blocks of a model, wherever they are in it."""
    lists = (part for name, part in model.named_modules() if name.split(".")[-1] == "blocks")
    return [block for blocks in lists if isinstance(blocks, nn.ModuleList) for block in blocks]


def compile_blocks(model: nn.Module) -> None:
    """Compiles each block by itself: one is as another, so that it takes the time of one; and DDP still averages the
    gradients of some while others are computed. What has no blocks is compiled whole."""
    for pattern in Pattern.__subclasses__():
        if not pattern.compiles:
            pattern.attend = torch.compiler.disable(pattern.attend)
    for part in blocks_of(model) or [model]:
        part.compile()


def recompute_blocks(model: nn.Module) -> None:
    """Lets every block of a model forget its activations, and compute them again in the backward pass (activation
    checkpointing, 1604.06174): memory for one block in place of all, and for that a second forward pass."""
    for block in blocks_of(model):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


# ---------------------------------------------------------------- batch norm


def share_batch_statistics(model: nn.Module) -> None:
    """Lets every BatchNorm3d of a model normalise by the whole batch, of all processes, as one process would."""
    for module in model.modules():
        if type(module) is nn.BatchNorm3d:
            module.__class__ = SharedBatchNorm3d


class SharedBatchNorm3d(nn.BatchNorm3d):
    """BatchNorm3d whose mean and variance are over the batches of all processes, which have one size. (torch's
    SyncBatchNorm does the same on GPUs only.)"""

    def forward(self, h: Tensor) -> Tensor:
        """h (B, C, T, H, W) → the same shape."""
        if not self.training:
            return super().forward(h)
        axes, world = (0, 2, 3, 4), dist.get_world_size()
        moments = torch.stack([h.float().mean(axes), h.float().square().mean(axes)])  # (2, C)
        mean, square = differentiable.all_reduce(moments) / world
        variance = square - mean.square()
        with torch.no_grad():
            count = world * h.numel() / h.shape[1]
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        shape = (1, -1, 1, 1, 1)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (h - mean.view(shape)) * scale.view(shape) + self.bias.view(shape)


# ---------------------------------------------------------------- precision


def choose_precision(processes: Processes) -> str:
    """ "bf16" where it pays, else "fp32"; the same in all processes. A GPU says whether it can; a CPU is timed, since
    many only pretend to."""
    device = processes.device
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        fast = matmul_flops(torch.bfloat16, 256, tries=5) > 1.5 * matmul_flops(torch.float32, 256, tries=5)
    else:
        fast = False
    return processes.gather_texts(["bf16" if fast else "fp32"])[0]


def autocast(device: torch.device, precision: str):
    """The context that a forward pass runs in: matmuls in bf16, or everything in fp32."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()
