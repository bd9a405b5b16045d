"""States of which each process has a part (FSDP): whole for a file, and shared out again from one. What is in one piece
stays as it is."""

from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer


def whole(value):
    """A tensor that is shared out as an ordinary one, in every process; everything else as it is."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def like(value: Tensor, other: Tensor) -> Tensor:
    """An ordinary tensor, the same in every process, shared out as another one of its shape is."""
    if not isinstance(other, DTensor):
        return value
    return distribute_tensor(value.to(other.device), other.device_mesh, other.placements, src_data_rank=None)


def gathered(value, keep: bool):
    """Dicts and lists with whole tensors on the CPU, gathered one after another by all processes; those that do not
    keep them get none."""
    if isinstance(value, dict):
        return {key: gathered(each, keep) for key, each in value.items()}
    if isinstance(value, list):
        return [gathered(each, keep) for each in value]
    if not isinstance(value, Tensor):
        return value
    value = whole(value.detach())
    return value.cpu() if keep else None


def shared_out(saved: dict, optimizer: Optimizer) -> dict:
    """An optimiser's state of whole tensors: what has a weight's shape is shared out as the weight is."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    states = {}
    for index, state in saved["state"].items():
        shape = weights[index].shape
        states[index] = {
            key: like(value, weights[index].detach()) if getattr(value, "shape", None) == shape else value
            for key, value in state.items()
        }
    return saved | {"state": states}
