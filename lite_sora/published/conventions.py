"""How published networks count time, in the terms of this house.

| convention       | the network's t               | its noise levels                                              |
|------------------|-------------------------------|---------------------------------------------------------------|
| ddpm             | step 0 … 999                  | 1000 betas, evenly from 1e-4 to 0.02 (2006.11239): DiT        |
| latent-diffusion | step 1 … 1000                 | 1000 betas, their roots evenly from those of 0.00085 and 0.012 |
|                  |                               | (2112.10752): U-ViT-H and text-to-image U-ViT                  |
| vp               | 999 t                         | those of our path "vp": U-ViT-L in latents, all in pixels      |
| sit              | 1 - t, from noise to data     | those of our path "linear"; the velocity points to data       |

A network depends on the noise level, so noise levels are what is translated: our t gives the log-SNR on our path, and
the network is evaluated at its own t of the same log-SNR, with x_t scaled to its own size.
"""

import torch
from torch import Tensor

from lite_sora.diffusion.objective import Network
from lite_sora.diffusion.path import PATHS, ProbabilityPath, along

CONVENTIONS = ("ddpm", "latent-diffusion", "vp", "sit")


def speaking(convention: str, network: Network, path: ProbabilityPath) -> Network:
    """A network as the objective evaluates it: (x_t (B, C, ...) on our path, t (B,) in [0, 1]) → (B, C, ...): the noise
    or for "sit" the velocity. Channels after the first C, such as DiT's variance, are left out."""
    if convention == "sit":
        if path.name != "linear":
            raise ValueError(f"SiT's velocity is that of the path linear, not of {path.name}")
        return lambda x, t: -network(x, 1 - t)[:, : x.shape[1]]

    def noise(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = path.alpha_sigma(t)
        x = x / along((alpha**2 + sigma**2).sqrt(), x)  # all three preserve variance
        return network(x, network_time(convention, path.log_snr(t)))[:, : x.shape[1]]

    return noise


def network_time(convention: str, log_snr: Tensor) -> Tensor:
    """The network's t (B,) at a log-SNR (B,). Between two of its steps a fraction; beyond the last, the last."""
    if convention == "vp":
        return 999 * PATHS["vp"].time_at(log_snr)
    known = discrete_log_snr(convention).to(log_snr)  # (1000,), falling
    after = torch.searchsorted(-known, -log_snr).clamp(1, len(known) - 1)
    step = after - 1 + (known[after - 1] - log_snr) / (known[after - 1] - known[after])
    return step.clamp(0, len(known) - 1) + (convention == "latent-diffusion")


def first_time(convention: str, path: ProbabilityPath) -> float:
    """Where sampling starts: the t on our path of the network's last noise level, at most 1. At noisier times the
    network would see a noise level that it was not trained on: Stable Diffusion's steps end at log-SNR -5.4."""
    if convention not in ("ddpm", "latent-diffusion"):
        return 1.0
    return float(path.time_at(discrete_log_snr(convention)[-1]))


def discrete_log_snr(convention: str) -> Tensor:
    """log(alpha^2 / sigma^2) after each of the 1000 steps, with alpha^2 the product of 1 - beta; float64."""
    if convention == "ddpm":
        beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    else:
        beta = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    log_alpha2 = torch.log1p(-beta).cumsum(0)
    return log_alpha2 - torch.log(-torch.expm1(log_alpha2))
