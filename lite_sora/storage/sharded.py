"""States of which each process has a part (FSDP): whole for a file, and shared out again from one. What is in one piece
stays as it is, and costs nothing: DTensor is imported by those alone who have one."""

from torch import Tensor
from torch.optim import Optimizer


def is_shared_out(value) -> bool:
    """Whether this is a DTensor, of which each process has a part."""
    return hasattr(value, "full_tensor")


def whole(value):
    """A tensor that is shared out as an ordinary one, in every process; everything else as it is."""
    return value.full_tensor() if is_shared_out(value) else value


def like(value: Tensor, other: Tensor) -> Tensor:
    """An ordinary tensor, the same in every process, shared out as another one of its shape is."""
    if not is_shared_out(other):
        return value
    from torch.distributed.tensor import distribute_tensor

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
