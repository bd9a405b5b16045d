"""Where a monotonic function reaches a value, by bisection: paths and time densities are inverted by it."""

from collections.abc import Callable

import torch
from torch import Tensor


def bisect(rising: Callable[[Tensor], Tensor], value: Tensor) -> Tensor:
    """The u (N,) in [0, 1] where rising(u) (N,) reaches value (N,); 0 or 1 where it is reached nowhere.

    60 halvings in float64, on the CPU because not every device has float64; the result is like `value`.
    """
    wanted = value.cpu().double()
    low, high = torch.zeros_like(wanted), torch.ones_like(wanted)
    for _ in range(60):
        middle = (low + high) / 2
        below = rising(middle) < wanted
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return ((low + high) / 2).to(value.dtype).to(value.device)
