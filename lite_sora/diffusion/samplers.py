"""Samplers: from noise to a video. Each is one function `(denoise, x, times, path, normal) -> x` over

    denoise(x_t (B, ...), t (B,)) → (clean video, noise), both (B, ...)

so any sampler runs with any prediction. `times` falls from 1 (noise) to 0 (data). `normal()` gives fresh normal noise
of x's shape, for those samplers that add some.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lite_sora.diffusion.objective import shift_time
from lite_sora.diffusion.path import Path

Denoise = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def time_grid(steps: int, shift: float = 1.0) -> Tensor:
    """(steps + 1,) times from 1 to 0, even before the shift towards noise (2403.03206, eq. 23)."""
    return shift_time(torch.linspace(1, 0, steps + 1), shift)


def _velocity(denoise: Denoise, x: Tensor, t: Tensor, path: Path) -> Tensor:
    """dx/dt = alpha' x0 + sigma' noise: the probability-flow ODE, in the terms of 2303.08797, eq. 2.32."""
    x0, noise = denoise(x, t.expand(len(x)))
    _, _, alpha_dot, sigma_dot = path.coefficients(t)
    return alpha_dot * x0 + sigma_dot * noise


def euler(denoise: Denoise, x: Tensor, times: Tensor, path: Path, normal=None) -> Tensor:
    """Euler steps on the ODE: first order, one evaluation a step."""
    for t, t_next in zip(times[:-1], times[1:], strict=True):
        x = x + (t_next - t) * _velocity(denoise, x, t, path)
    return x


def heun(denoise: Denoise, x: Tensor, times: Tensor, path: Path, normal=None) -> Tensor:
    """Heun steps on the ODE: second order, two evaluations a step (2206.00364, algorithm 1 without churn)."""
    for t, t_next in zip(times[:-1], times[1:], strict=True):
        slope = _velocity(denoise, x, t, path)
        ahead = x + (t_next - t) * slope
        x = x + (t_next - t) * (slope + _velocity(denoise, ahead, t_next, path)) / 2 if t_next > 0 else ahead
    return x


def ddim(denoise: Denoise, x: Tensor, times: Tensor, path: Path, normal=None) -> Tensor:
    """DDIM (2010.02502, eq. 12 with eta = 0): keep the noise that was found, and mix it with x0 again, less of it."""
    for t, t_next in zip(times[:-1], times[1:], strict=True):
        x0, noise = denoise(x, t.expand(len(x)))
        alpha, sigma = path.alpha_sigma(t_next)
        x = alpha * x0 + sigma * noise
    return x


def ddpm(denoise: Denoise, x: Tensor, times: Tensor, path: Path, normal: Callable[[], Tensor] = None) -> Tensor:
    """DDPM's ancestral sampling (2006.11239, algorithm 2) in continuous time: eq. 12 of 2010.02502 with eta = 1."""
    for t, t_next in zip(times[:-1], times[1:], strict=True):
        x0, noise = denoise(x, t.expand(len(x)))
        (alpha, sigma), (alpha_next, sigma_next) = path.alpha_sigma(t), path.alpha_sigma(t_next)
        fresh = sigma_next * (1 - (alpha * sigma_next / (alpha_next * sigma)) ** 2).clamp_min(0).sqrt()
        kept = (sigma_next**2 - fresh**2).clamp_min(0).sqrt()
        x = alpha_next * x0 + kept * noise
        if t_next > 0:
            x = x + fresh * normal()
    return x


SAMPLERS = {"euler": euler, "heun": heun, "ddim": ddim, "ddpm": ddpm}


def guided(denoise: Denoise, denoise_negative: Denoise, scale: float) -> Denoise:
    """Classifier-free guidance (2207.12598): away from what the negative (by default the empty) prompt gives."""
    if scale == 1:
        return denoise

    def both(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        x0, noise = denoise(x, t)
        x0_negative, noise_negative = denoise_negative(x, t)
        return x0_negative + scale * (x0 - x0_negative), noise_negative + scale * (noise - noise_negative)

    return both
