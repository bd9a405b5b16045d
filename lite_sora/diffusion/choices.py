"""All samplers and time grids by name: the choices of --sampler and --grid.

Any sampler runs with any grid, prediction and path. A sampler is a function `(denoise, x, times, path, normal) -> x`,
see `samplers.py`. Those on SiT's SDE take one more argument, one of `DIFFUSIONS` in `sde.py`: see
`with_diffusion`. A grid is a function `(steps, path, shift) -> times`, (steps + 1,) falling from
1 (noise) to 0 (data).
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from lite_sora.diffusion.exponential import dpm_solver_pp_2m, unipc
from lite_sora.diffusion.grids import karras_grid, uniform_grid
from lite_sora.diffusion.path import ProbabilityPath
from lite_sora.diffusion.samplers import ddim, euler, heun, shifted_grid
from lite_sora.diffusion.sde import DIFFUSIONS, ddpm, euler_maruyama, heun_sde

SAMPLERS: dict[str, Callable[..., Tensor]] = {
    "euler": euler,
    "heun": heun,
    "ddim": ddim,
    "dpm++2m": dpm_solver_pp_2m,
    "unipc": unipc,
    "ddpm": ddpm,
    "euler-maruyama": euler_maruyama,
    "heun-sde": heun_sde,
}

GRIDS: dict[str, Callable[[int, ProbabilityPath, float], Tensor]] = {
    "uniform": uniform_grid,
    "shifted": shifted_grid,
    "karras": karras_grid,
}


def with_diffusion(sampler: str, diffusion: str) -> Callable[..., Tensor]:
    """A sampler on SiT's SDE that adds and removes noise as `diffusion` says. Raises ValueError."""
    if sampler not in ("euler-maruyama", "heun-sde") or diffusion not in DIFFUSIONS:
        raise ValueError(
            f"diffusion {diffusion!r} is for the samplers euler-maruyama and heun-sde, and one of "
            f"{', '.join(DIFFUSIONS)}; the sampler is {sampler}"
        )
    return partial(SAMPLERS[sampler], diffusion=diffusion)
