"""Samplers along the probability-flow ODE (2011.13456, section 4.3), and their times.

The ODE is dx/dt = alpha' x0 + sigma' noise, with the clean video x0 and the noise that the denoiser finds in x. It
turns noise into a video deterministically. A sampler is a function `(denoise, x, times, path, normal) -> x`:

    denoise   (x_t (B, ...), t (B,)) → (clean video, noise), both (B, ...): of any prediction on any path
    x         noise (B, ...)
    times     (steps + 1,), falling from 1 (noise) to 0 (data); on the CPU no step has to wait for the GPU
    normal    () → fresh normal noise of x's shape, for samplers that add some: those of `sde.py`

The last step, to t = 0, returns the clean video that the denoiser finds. On `vp` and `cosine`, where sigma' is infinite
at 0, a step along the velocity would leave up to half of the last sigma's noise on data as sharp as videos. On smoother
data the price is an error of sigma^2 / 2 times the score, which a fine end of the grid makes small: see `grids.py`.
"""

from torch import Tensor

from lite_sora.diffusion.objective import time_grid
from lite_sora.diffusion.path import ProbabilityPath
from lite_sora.diffusion.prediction import Denoiser


def shifted_grid(steps: int, path: ProbabilityPath, shift: float) -> Tensor:
    return time_grid(steps, shift)


def pairs(times: Tensor):
    """The times at which each step begins and ends, ((), ())."""
    return zip(times[:-1], times[1:], strict=True)


def find(denoise: Denoiser, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """The clean video and the noise, both (B, ...), that the denoiser finds in x (B, ...) at t ()."""
    return denoise(x, t.to(x.device, non_blocking=True).expand(len(x)))


def clean(denoise: Denoiser, x: Tensor, t: Tensor) -> Tensor:
    return find(denoise, x, t)[0]


def velocity(denoise: Denoiser, x: Tensor, t: Tensor, path: ProbabilityPath) -> Tensor:
    """dx/dt = alpha' x0 + sigma' noise (2303.08797, eq. 2.32), for x (B, ...) at t ()."""
    x0, noise = find(denoise, x, t)
    _, _, alpha_dot, sigma_dot = path.coefficients(t)
    return alpha_dot * x0 + sigma_dot * noise


def euler(denoise: Denoiser, x: Tensor, times: Tensor, path: ProbabilityPath, normal=None) -> Tensor:
    """Euler steps: first order, one evaluation a step."""
    for t, t_next in pairs(times):
        if t_next == 0:
            return clean(denoise, x, t)
        x = x + (t_next - t) * velocity(denoise, x, t, path)
    return x


def heun(denoise: Denoiser, x: Tensor, times: Tensor, path: ProbabilityPath, normal=None) -> Tensor:
    """Heun steps: second order, two evaluations a step but the last (2206.00364, algorithm 1)."""
    for t, t_next in pairs(times):
        if t_next == 0:
            return clean(denoise, x, t)
        slope = velocity(denoise, x, t, path)
        ahead = x + (t_next - t) * slope
        x = x + (t_next - t) * (slope + velocity(denoise, ahead, t_next, path)) / 2
    return x


def ddim(denoise: Denoiser, x: Tensor, times: Tensor, path: ProbabilityPath, normal=None) -> Tensor:
    """DDIM (2010.02502, eq. 12 with eta = 0): mixes x0 with the noise that was found, but less of it."""
    for t, t_next in pairs(times):
        x0, noise = find(denoise, x, t)
        alpha, sigma = path.alpha_sigma(t_next)
        x = alpha * x0 + sigma * noise
    return x
