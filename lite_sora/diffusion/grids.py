"""Time grids: the times at which a sampler asks the denoiser, (steps + 1,) falling from 1 (noise) to 0 (data).

Each of `GRIDS` is a function `(steps, path, shift) -> times`. A sampler's last step, from the last time above 0, lands
on what the denoiser believes, which is wrong by about sigma^2 / 2 times the score there. Even times make that sigma
shrink as 1 / steps on `linear` and `gvp`, but only as 1 / sqrt(steps) on `vp` and `cosine`, where "karras" is better.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lite_sora.diffusion.objective import shift_time
from lite_sora.diffusion.path import ProbabilityPath
from lite_sora.diffusion.prediction import T_MIN

SIGMA_MIN, SIGMA_MAX, RHO = 0.002, 80.0, 7.0  # 2206.00364, table 1: noise levels sigma / alpha


def time_grid(steps: int, shift: float = 1.0) -> Tensor:
    """Times that are even before the shift towards noise (2403.03206, eq. 23)."""
    return shift_time(torch.linspace(1, 0, steps + 1), shift)


def karras_grid(steps: int, path: ProbabilityPath) -> Tensor:
    """Noise levels sigma / alpha that are even in their 7th root (2206.00364, eq. 5), as times of the path.

    Both ends of the levels are finite, as there are no even steps to infinity. After the lowest, SIGMA_MIN or that of
    T_MIN, below which no network is asked, comes 0, as in EDM; the highest, SIGMA_MAX, is taken for pure noise, t = 1,
    which is what samplers start from here.
    """
    lowest = max(SIGMA_MIN, math.exp(-path.log_snr(torch.tensor(T_MIN, dtype=torch.float64)) / 2))
    level = torch.linspace(SIGMA_MAX ** (1 / RHO), lowest ** (1 / RHO), steps, dtype=torch.float64) ** RHO
    times = path.time_at(-2 * level.log())
    times[0] = 1
    return torch.cat([times, times.new_zeros(1)]).float()


GRIDS: dict[str, Callable[[int, ProbabilityPath, float], Tensor]] = {
    "uniform": lambda steps, path, shift: time_grid(steps),
    "shifted": lambda steps, path, shift: time_grid(steps, shift),
    "karras": lambda steps, path, shift: karras_grid(steps, path),
}
