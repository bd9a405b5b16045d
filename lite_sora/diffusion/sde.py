"""Samplers that follow an SDE: on the way from noise to a video, they add fresh noise and remove as much old noise.

The amount is free (SiT, 2401.08740). With any diffusion D(t) >= 0, the SDE

    dx = (velocity - D score) dt + sqrt(2 D) dW, from t = 1 to 0, where score = -noise / sigma

has the same distributions at all t as the ODE, its case D = 0. SiT writes w for 2 D.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lite_sora.diffusion.path import ProbabilityPath
from lite_sora.diffusion.prediction import Denoiser
from lite_sora.diffusion.samplers import clean, find, pairs


def ddpm(
    denoise: Denoiser, x: Tensor, times: Tensor, path: ProbabilityPath, normal: Callable[[], Tensor] = None
) -> Tensor:
    """DDPM's ancestral sampling (2006.11239, algorithm 2) in continuous time: eq. 12 of 2010.02502 with eta = 1."""
    for t, t_next in pairs(times):
        x0, noise = find(denoise, x, t)
        (alpha, sigma), (alpha_next, sigma_next) = path.alpha_sigma(t), path.alpha_sigma(t_next)
        fresh = sigma_next * (1 - (alpha * sigma_next / (alpha_next * sigma)) ** 2).clamp_min(0).sqrt()
        kept = (sigma_next**2 - fresh**2).clamp_min(0).sqrt()
        x = alpha_next * x0 + kept * noise
        if t_next > 0:
            x = x + fresh * normal()
    return x


def _sbdm(alpha: Tensor, sigma: Tensor, alpha_dot: Tensor, sigma_dot: Tensor) -> Tensor:
    return sigma * sigma_dot - sigma**2 * alpha_dot / alpha.clamp_min(1e-8)


# D(t), (), from t () and the path: the choices of SiT, named as in its code. "sbdm", score-based diffusion models, is
# the reverse of the forward SDE along the path, from data to noise (2011.13456, eq. 6); SiT's w^KL / 2.
DIFFUSIONS: dict[str, Callable[[Tensor, ProbabilityPath], Tensor]] = {
    "constant": lambda t, path: torch.ones_like(t),
    "sigma": lambda t, path: path.alpha_sigma(t)[1],
    "linear": lambda t, path: t,
    "decreasing": lambda t, path: ((1 - (math.pi * t).cos()) / 2) ** 2,  # on the way from noise to data
    "increasing-decreasing": lambda t, path: (math.pi * t).sin() ** 2,
    "sbdm": lambda t, path: _sbdm(*path.coefficients(t)),
}


def _diffusion(name: str, t: Tensor, path: ProbabilityPath, step: Tensor) -> Tensor:
    """D(t), but at most the amount that replaces half of the noise in one step. To replace more than all would
    overshoot, and D / sigma^2 is infinite at t = 0 for "constant", at t = 1 for "sbdm". Shorter steps raise the bound.
    """
    _, sigma = path.alpha_sigma(t)
    return DIFFUSIONS[name](t, path).minimum(sigma**2 / (2 * step))


def _drift(denoise: Denoiser, x: Tensor, t: Tensor, path: ProbabilityPath, diffusion: Tensor) -> Tensor:
    """velocity - D score, (B, ...)."""
    x0, noise = find(denoise, x, t)
    _, sigma, alpha_dot, sigma_dot = path.coefficients(t)
    return alpha_dot * x0 + (sigma_dot + diffusion / sigma) * noise


def euler_maruyama(
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    path: ProbabilityPath,
    normal: Callable[[], Tensor],
    diffusion: str = "sigma",
) -> Tensor:
    """Euler–Maruyama steps on SiT's SDE: weak order 1, one evaluation a step. The last lands on x0 without noise."""
    for t, t_next in pairs(times):
        if t_next == 0:
            return clean(denoise, x, t)
        step = t - t_next
        amount = _diffusion(diffusion, t, path, step)
        x = x - step * _drift(denoise, x, t, path, amount) + (2 * amount * step).sqrt() * normal()
    return x


def heun_sde(
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    path: ProbabilityPath,
    normal: Callable[[], Tensor],
    diffusion: str = "sigma",
) -> Tensor:
    """Heun steps on SiT's SDE: weak order 2, two evaluations a step but the last. SiT's own code adds a step's noise
    before the first evaluation, which gives order 1; here it is added before the second."""
    for t, t_next in pairs(times):
        if t_next == 0:
            return clean(denoise, x, t)
        step = t - t_next
        amount, amount_next = (_diffusion(diffusion, time, path, step) for time in (t, t_next))
        noise = ((amount + amount_next) * step).sqrt() * normal()
        slope = _drift(denoise, x, t, path, amount)
        slope_next = _drift(denoise, x - step * slope + noise, t_next, path, amount_next)
        x = x - step * (slope + slope_next) / 2 + noise
    return x
