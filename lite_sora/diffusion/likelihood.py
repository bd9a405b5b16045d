"""The likelihood of a video under the model: its exact density along the probability-flow ODE (2011.13456, section 4.3;
FFJORD, 1810.01367).

The ODE carries a video x from data to noise, whose density is known. On the way the log-density changes by the
divergence of the ODE's velocity v:

    log p(x) = log N(x at t = 1; 0, sigma(1)^2) + integral of div v(x_t, t) dt from 0 to 1

The divergence is the trace of v's Jacobian J: the mean of e^T J e over probes e with uncorrelated values of mean 0 and
variance 1 (Hutchinson's estimator, unbiased; FFJORD, section 3.1), each of which costs one backward pass.
"""

import math

import torch
from torch import Tensor

from lite_sora.diffusion.path import ProbabilityPath
from lite_sora.diffusion.prediction import T_MAX, T_MIN, Denoiser
from lite_sora.diffusion.samplers import pairs, velocity


def random_probes(x: Tensor, count: int = 1, generator: torch.Generator | None = None) -> Tensor:
    """Hutchinson's probes of random signs, (count, *x.shape)."""
    signs = torch.randint(0, 2, (count, *x.shape), generator=generator, device=generator.device if generator else None)
    return (2 * signs - 1).to(x)


def exact_probes(x: Tensor) -> Tensor:
    """Probes whose mean is the trace itself, one along each of the D values of a video, (D, *x.shape): for small D."""
    size = x[0].numel()
    along_each = math.sqrt(size) * torch.eye(size, dtype=x.dtype, device=x.device)
    return along_each.reshape(size, 1, *x.shape[1:]).expand(size, *x.shape)


def log_likelihood(denoise: Denoiser, x: Tensor, times: Tensor, path: ProbabilityPath, probes: Tensor) -> Tensor:
    """log p(x) of each video in nats, (B,), for videos x (B, ...), by Heun steps over the times of a grid.

    times: as for a sampler, falling from 1 to 0; here the walk goes from 0 to 1. They are clamped to [T_MIN, T_MAX],
        where networks are evaluated, so the density is that of videos with noise of level sigma / alpha at T_MIN.
    probes: (count, *x.shape), the same ones at all times, as in FFJORD.
    denoise: as for a sampler, but without guidance, which follows no learnt density. Each video's result must depend
        on that video alone.
    """
    times = times.flip(0).clamp(T_MIN, T_MAX)
    alpha = path.alpha_sigma(times[0])[0]
    x, size = alpha * x, x[0].numel()
    result = size * alpha.log()  # the density of x_t = alpha x, as one of x
    for t, t_next in pairs(times):
        slope, divergence = _velocity_and_divergence(denoise, x, t, path, probes)
        ahead = x + (t_next - t) * slope
        slope_next, divergence_next = _velocity_and_divergence(denoise, ahead, t_next, path, probes)
        x = x + (t_next - t) * (slope + slope_next) / 2
        result = result + (t_next - t) * (divergence + divergence_next) / 2
    sigma = path.alpha_sigma(times[-1])[1]  # below 1 at T_MAX on the linear path
    return result - (x / sigma).square().flatten(1).sum(1) / 2 - size * (sigma.log() + math.log(2 * math.pi) / 2)


def bits_per_dimension(log_likelihood: Tensor, size: int) -> Tensor:
    """-log2 p(x) for each of a video's `size` values, from log p(x) in nats. The density is that of videos in [-1, 1]
    or of latents, so the result may be negative. Papers count the bits of 8-bit values, whose steps are 1 / 127.5 here:
    for videos with uniform noise of that width added (dequantised), add log2(127.5)."""
    return -log_likelihood / (size * math.log(2))


def _velocity_and_divergence(
    denoise: Denoiser, x: Tensor, t: Tensor, path: ProbabilityPath, probes: Tensor
) -> tuple[Tensor, Tensor]:
    """The ODE's velocity (B, ...) and the estimate of its divergence (B,)."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        slope = velocity(denoise, x, t, path)
        products = [(torch.autograd.grad(slope, x, e, retain_graph=True)[0] * e).flatten(1).sum(1) for e in probes]
    return slope.detach(), torch.stack(products).mean(0)
