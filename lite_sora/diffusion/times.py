"""Times in [0, 1], with t = 1 noise: the densities that training draws them from, even grids, and the shift of both.

Each of `TIME_DENSITIES` is a density's quantile function: it maps u, uniform on (0, 1), to t (2403.03206, section 3.1).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lite_sora.diffusion.path import ProbabilityPath

MODE_SCALE = 1.29  # "mode": s of 2403.03206, eq. 20


def _normal_quantile(u: Tensor) -> Tensor:
    return math.sqrt(2) * torch.erfinv(2 * u - 1)


TIME_DENSITIES: dict[str, Callable[[Tensor, ProbabilityPath], Tensor]] = {
    "uniform": lambda u, path: u,
    "logit-normal": lambda u, path: torch.sigmoid(_normal_quantile(u)),
    "jit": lambda u, path: torch.sigmoid(0.8 + 0.8 * _normal_quantile(u)),  # 2511.13720, in whose code t = 1 is data
    "mode": lambda u, path: 1 - u - MODE_SCALE * ((math.pi / 2 * u).cos() ** 2 - 1 + u),
    "cosmap": lambda u, path: 1 - 1 / ((math.pi / 2 * u).tan() + 1),
    # log(sigma / alpha) is normal, with P_mean = -1.2 and P_std = 1.2 of 2206.00364
    "edm": lambda u, path: path.time_at(-2 * (-1.2 + 1.2 * _normal_quantile(u))),
}


def shift_time(t: Tensor, shift: float) -> Tensor:
    """Moves times towards noise for shift > 1 (2403.03206, eq. 23): a video of many redundant pixels hides less at a
    given t than a small image does."""
    return shift * t / (1 + (shift - 1) * t)


def time_grid(steps: int, shift: float = 1.0) -> Tensor:
    """A sampler's times (steps + 1,), from 1 to 0, that are even before the shift towards noise."""
    return shift_time(torch.linspace(1, 0, steps + 1), shift)
