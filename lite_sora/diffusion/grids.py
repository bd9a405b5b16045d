"""A time grid that is even in the noise level: the times at which a sampler evaluates the denoiser, from 1 to 0.

A sampler's last step, from the last time above 0, returns the clean video that the denoiser finds. Its error is about
sigma^2 / 2 times the score there. With even times (`samplers.py`) that sigma falls as 1 / steps on `linear` and `gvp`.
On `vp` and `cosine` it falls only as 1 / sqrt(steps), and Karras' levels are better.
"""

import math

import torch
from torch import Tensor

from lite_sora.diffusion.objective import time_grid
from lite_sora.diffusion.path import ProbabilityPath
from lite_sora.diffusion.prediction import T_MIN

SIGMA_MIN, SIGMA_MAX, RHO = 0.002, 80.0, 7.0  # 2206.00364, table 1: noise levels sigma / alpha


def karras_grid(steps: int, path: ProbabilityPath, shift: float = 1.0) -> Tensor:
    """Noise levels sigma / alpha that are even in their 7th root (2206.00364, eq. 5), as times (steps + 1,).

    Both ends of the levels are finite. The lowest is SIGMA_MIN or that of T_MIN, below which no network is evaluated;
    after it comes 0, as in EDM. The highest, SIGMA_MAX, is taken for pure noise, t = 1, where samplers start. A shift
    has no effect on noise levels.
    """
    lowest = max(SIGMA_MIN, math.exp(-path.log_snr(torch.tensor(T_MIN, dtype=torch.float64)) / 2))
    level = torch.linspace(SIGMA_MAX ** (1 / RHO), lowest ** (1 / RHO), steps, dtype=torch.float64) ** RHO
    times = path.time_at(-2 * level.log())
    times[0] = 1
    return torch.cat([times, times.new_zeros(1)]).float()


def uniform_grid(steps: int, path: ProbabilityPath, shift: float = 1.0) -> Tensor:
    return time_grid(steps)
