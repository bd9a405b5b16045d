"""Samplers: from noise to a video. Each is one function `(denoise, x, times, path, normal) -> x` over

    denoise(x_t (B, ...), t (B,)) → (clean video, noise), both (B, ...)

so any sampler runs with any prediction and path. `times` falls from 1 (noise) to 0 (data), see `grids.py`. `normal()`
gives fresh normal noise of x's shape, for those samplers that add some. Those on SiT's SDE take one more argument:
`functools.partial(euler_maruyama, diffusion="sbdm")` chooses one of `DIFFUSIONS`.
"""

from lite_sora.diffusion.ode import ddim, dpm_solver_pp_2m, euler, heun, unipc
from lite_sora.diffusion.sde import ddpm, euler_maruyama, heun_sde

SAMPLERS = {
    "euler": euler,
    "heun": heun,
    "ddim": ddim,
    "dpm++2m": dpm_solver_pp_2m,
    "unipc": unipc,
    "ddpm": ddpm,
    "euler-maruyama": euler_maruyama,
    "heun-sde": heun_sde,
}
