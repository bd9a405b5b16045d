"""Paths from data to noise: x_t = alpha(t) * x + sigma(t) * noise, with t = 0 data and t = 1 noise.

| path   | alpha                        | sigma            | used by                                    |
|--------|------------------------------|------------------|--------------------------------------------|
| linear | 1 - t                        | t                | rectified flow 2209.03003, SiT, SD3        |
| gvp    | cos(pi t / 2)                | sin(pi t / 2)    | SiT 2401.08740, Salimans & Ho 2202.00512   |
| vp     | DDPM's linear beta           | sqrt(1-alpha^2)  | DDPM 2006.11239, DiT, U-ViT                |
| cosine | cos((t+s)/(1+s) pi/2) / norm | sqrt(1-alpha^2)  | Nichol & Dhariwal 2102.09672, eq. 17       |
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lite_sora.diffusion.bisection import bisect

BETA_MIN, BETA_MAX = 0.1, 20.0  # vp: beta(t) = BETA_MIN + t (BETA_MAX - BETA_MIN), Song et al. 2011.13456, eq. 32


@dataclass(frozen=True)
class ProbabilityPath:
    """`coefficients(t)` gives alpha, sigma and their derivatives by t; all have the shape of t."""

    name: str
    coefficients: Callable[[Tensor], tuple[Tensor, Tensor, Tensor, Tensor]]

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return self.coefficients(t)[:2]

    def mix(self, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t from x and noise (B, ...) at t (B,)."""
        alpha, sigma = (along(value, x) for value in self.alpha_sigma(t))
        return alpha * x + sigma * noise

    def log_snr(self, t: Tensor) -> Tensor:
        """log(alpha^2 / sigma^2); falls from +inf at t = 0 to -inf (or a large negative number) at t = 1."""
        alpha, sigma = self.alpha_sigma(t)
        return 2 * (alpha.clamp_min(1e-30).log() - sigma.clamp_min(1e-30).log())

    def time_at(self, log_snr: Tensor) -> Tensor:
        """The t in [0, 1] where the path has this log-SNR, found in float64; where it has it nowhere, 0 or 1."""
        return bisect(lambda t: -self.log_snr(t), -log_snr)


def along(value: Tensor, like: Tensor) -> Tensor:
    """(B,) → (B, 1, 1, ...), so that it multiplies `like` (B, ...); of each frame, (B, T) → (B, 1, T, 1, 1)."""
    shape = (len(value), 1, -1, 1, 1) if value.dim() == 2 else (-1, *[1] * (like.dim() - 1))
    return value.to(like.dtype).reshape(shape)


def _linear(t: Tensor):
    return 1 - t, t, -torch.ones_like(t), torch.ones_like(t)


def _gvp(t: Tensor):
    u = t * (math.pi / 2)
    return u.cos(), u.sin(), -u.sin() * (math.pi / 2), u.cos() * (math.pi / 2)


def _vp(t: Tensor):
    log_alpha = -0.25 * t**2 * (BETA_MAX - BETA_MIN) - 0.5 * t * BETA_MIN  # minus half the integral of beta
    alpha, sigma = log_alpha.exp(), (-torch.expm1(2 * log_alpha)).sqrt()
    alpha_dot = -0.5 * (BETA_MIN + t * (BETA_MAX - BETA_MIN)) * alpha
    return alpha, sigma, alpha_dot, -alpha * alpha_dot / sigma.clamp_min(1e-8)  # from alpha^2 + sigma^2 = 1


def _cosine(t: Tensor, s: float = 0.008):
    scale = math.pi / 2 / (1 + s)
    start = s * scale
    u = start + t * scale
    alpha = u.cos() / math.cos(start)
    sigma = ((u + start).sin() * (t * scale).sin()).clamp_min(0).sqrt() / math.cos(start)  # 1 - alpha^2 cancels at 0
    alpha_dot = -u.sin() * scale / math.cos(start)
    return alpha, sigma, alpha_dot, -alpha * alpha_dot / sigma.clamp_min(1e-8)


FORMULAS = {"linear": _linear, "gvp": _gvp, "vp": _vp, "cosine": _cosine}
PATHS = {name: ProbabilityPath(name, coefficients) for name, coefficients in FORMULAS.items()}
