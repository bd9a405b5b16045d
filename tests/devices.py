"""A device that this machine need not have: tensors on it have a shape, a type and a place, but no values."""

from contextlib import contextmanager

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode


class _NoFloat64(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **kwargs or {})
        if isinstance(result, torch.Tensor) and result.dtype == torch.float64 and result.device.type != "cpu":
            raise TypeError(f"{function} makes float64 on {result.device}")
        return result


@contextmanager
def mps_without_values():
    """Inside, tensors may be made on "mps", which refuses float64 as Apple's GPUs do (TypeError)."""
    with FakeTensorMode(allow_non_fake_inputs=True), _NoFloat64():
        yield
