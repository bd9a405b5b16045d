"""How published networks count time, in the terms of this project.

| convention       | the network's t               | its noise levels                                               |
|------------------|-------------------------------|----------------------------------------------------------------|
| ddpm             | step 0 … 999                  | 1000 betas, evenly from 1e-4 to 0.02 (2006.11239): DiT         |
| latent-diffusion | step 1 … 1000                 | 1000 betas, their roots evenly from those of 0.00085 and 0.012 |
|                  |                               | (2112.10752): U-ViT-H and text-to-image U-ViT                  |
| vp               | 999 t                         | those of our path "vp": U-ViT-L in latents, all in pixels      |
| sit              | 1 - t, from noise to data     | those of our path "linear"; the velocity points to data        |

A network knows noise levels. So our t gives the log-SNR on our path, and the network is evaluated at its own t of the
same log-SNR, with x_t scaled to the size that it was trained on.
"""

from functools import lru_cache

import torch
from torch import Tensor

from lite_sora.diffusion.objective import Network
from lite_sora.diffusion.path import PATHS, ProbabilityPath, along

CONVENTIONS = ("ddpm", "latent-diffusion", "vp", "sit")


def speaking(convention: str, network: Network, path: ProbabilityPath) -> Network:
    """A published network as an objective's: (x_t (B, C, ...) on our path, t (B,) in [0, 1]) → output (B, C, ...).
    The output is the noise, or for "sit" the velocity. Channels after the first C, such as DiT's variance, are dropped.
    Raises ValueError for "sit" on a path other than linear.
    """
    if convention == "sit":
        if path.name != "linear":
            raise ValueError(f"SiT's velocity is that of the path linear, not of {path.name}")
        return lambda x, t: -network(x, 1 - t)[:, : x.shape[1]]

    def noise(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = path.alpha_sigma(t)
        x = x / along((alpha**2 + sigma**2).sqrt(), x)  # the noise levels of all three preserve variance
        return network(x, network_time(convention, path.log_snr(t)))[:, : x.shape[1]]

    return noise


def first_time(convention: str, path: ProbabilityPath) -> float:
    """The time on our path at which a sampler starts: where the log-SNR is that of the network's last level; at most 1.

    Latent diffusion's last level still has signal: a log-SNR of -5.36, which the path "vp" has at t = 0.73. Nearer to
    noise the network can only be evaluated at its last level, and the clean video found from its output is too large.
    A grid from there, like the original samplers', is `first_time(convention, path) * GRIDS[grid](steps, path, shift)`.
    The sampler's first x is N(0, 1), as in the originals: the size of x_t there on a path that preserves variance.
    """
    if convention == "sit":
        return 1.0
    end = torch.ones((), dtype=torch.float64)
    last = PATHS["vp"].log_snr(end) if convention == "vp" else discrete_log_snr(convention)[-1]
    return float(path.time_at(last)) if path.log_snr(end) < last else 1.0


def network_time(convention: str, log_snr: Tensor) -> Tensor:
    """The network's t (B,) at a log-SNR (B,). Between two of its steps it is a fraction; beyond the last, the last. It
    is computed on the CPU in float64, which not every device has, and returned like log_snr."""
    if convention == "vp":
        return 999 * PATHS["vp"].time_at(log_snr)
    known, wanted = discrete_log_snr(convention), log_snr.cpu().double()  # (1000,), falling, and (B,)
    after = torch.searchsorted(-known, -wanted).clamp(1, len(known) - 1)
    step = after - 1 + (known[after - 1] - wanted) / (known[after - 1] - known[after])
    return (step.clamp(0, len(known) - 1) + (convention == "latent-diffusion")).to(log_snr.dtype).to(log_snr.device)


@lru_cache
def discrete_log_snr(convention: str) -> Tensor:
    """log(alpha^2 / sigma^2) after each of the 1000 steps, with alpha^2 the product of 1 - beta; (1000,), float64."""
    if convention == "ddpm":
        beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    else:
        beta = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    log_alpha2 = torch.log1p(-beta).cumsum(0)
    return log_alpha2 - torch.log(-torch.expm1(log_alpha2))
