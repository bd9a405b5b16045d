"""Data whose denoiser, density and ODE are known exactly: a mixture of Gaussians with independent values."""

import math

import torch
from torch import Tensor


class Mixture:
    """Shares (K,), means and spreads (K, D); data x (B, D). All float64."""

    def __init__(self, shares, means, spreads):
        self.shares, self.means, self.spreads = (
            torch.as_tensor(value, dtype=torch.float64) for value in (shares, means, spreads)
        )

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        which = torch.multinomial(self.shares, count, replacement=True, generator=generator)
        normal = torch.randn(count, self.means.shape[1], generator=generator, dtype=torch.float64)
        return self.means[which] + self.spreads[which] * normal

    def _parts(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """log(share * density of x_t) (K, B), x_t - alpha * mean (K, B, D), and the variance of x_t (K, B or 1, D)."""
        rest = x - alpha * self.means[:, None]
        variance = alpha**2 * self.spreads[:, None] ** 2 + sigma**2
        log_density = -(rest**2 / variance + (2 * math.pi * variance).log()).sum(-1) / 2
        return self.shares.log()[:, None] + log_density, rest, variance

    def log_density(self, x: Tensor) -> Tensor:
        return self._parts(x, torch.ones(1), torch.zeros(1))[0].logsumexp(0)

    def denoise(self, path):
        """The expected clean value and noise in x_t (B, D) at t (B,)."""

        def denoise(x, t):
            alpha, sigma = (value[:, None] for value in path.alpha_sigma(t))
            log_density, rest, variance = self._parts(x, alpha, sigma)
            share = log_density.softmax(0)[..., None]
            pull = rest / variance
            x0 = (share * (self.means[:, None] + alpha * self.spreads[:, None] ** 2 * pull)).sum(0)
            return x0, sigma * (share * pull).sum(0)

        return denoise

    def share_below(self, x: Tensor, alpha=1.0, sigma=0.0) -> Tensor:
        """The distribution function of x_t, for D = 1: (B, 1) → (B, 1)."""
        spread = (alpha**2 * self.spreads**2 + sigma**2).sqrt()  # (K, 1)
        return (self.shares[:, None] * torch.special.ndtr((x.T - alpha * self.means) / spread)).sum(0)[:, None]

    def follow(self, x: Tensor, path, start: Tensor, end: Tensor) -> Tensor:
        """Where the ODE takes x (B, 1) from one time to another. In one dimension paths do not cross, so that a value
        keeps its share below it."""
        share = self.share_below(x, *path.alpha_sigma(start))
        alpha, sigma = path.alpha_sigma(end)
        low, high = torch.full_like(x, -9), torch.full_like(x, 9)
        for _ in range(60):
            middle = (low + high) / 2
            below = self.share_below(middle, alpha, sigma) < share
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2
