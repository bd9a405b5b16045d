"""Samplers that follow the probability-flow ODE (2011.13456, section 4.3), along which noise becomes a video without
chance: dx/dt = alpha' x0 + sigma' noise, with the clean video and the noise that the denoiser finds in x.

The last step, to t = 0, lands on the clean video that the denoiser finds. So does DDIM's by itself, and any step to
t = 0 on the linear path. On `vp` and `cosine`, where sigma' is infinite at 0, a step along the velocity would leave up
to half of the last sigma's noise on data that is sharper than that, as videos are. The price, on data that is smoother,
is an error of sigma^2 / 2 times the score there, which a fine end of the grid makes small: see `grids.py`.
"""

import torch
from torch import Tensor

from lite_sora.diffusion.path import ProbabilityPath
from lite_sora.diffusion.prediction import Denoiser


def pairs(times: Tensor):
    """Where each step begins and ends, ((), ())."""
    return zip(times[:-1], times[1:], strict=True)


def clean(denoise: Denoiser, x: Tensor, t: Tensor) -> Tensor:
    """The clean video (B, ...) that the denoiser finds in x (B, ...) at t ()."""
    return denoise(x, t.expand(len(x)))[0]


def velocity(denoise: Denoiser, x: Tensor, t: Tensor, path: ProbabilityPath) -> Tensor:
    """dx/dt = alpha' x0 + sigma' noise (2303.08797, eq. 2.32), for x (B, ...) at t ()."""
    x0, noise = denoise(x, t.expand(len(x)))
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
    """DDIM (2010.02502, eq. 12 with eta = 0): keep the noise that was found, and mix it with x0 again, less of it."""
    for t, t_next in pairs(times):
        x0, noise = denoise(x, t.expand(len(x)))
        alpha, sigma = path.alpha_sigma(t_next)
        x = alpha * x0 + sigma * noise
    return x


# ---------------------------------------------------------------- exponential integrators
# Over lambda = log(alpha / sigma) the ODE can be solved but for x0 (2211.01095, proposition 4.1):
#
#     x_next = sigma_next / sigma x + alpha_next * integral of exp(lambda - lambda_next) x0(lambda) over the step
#
# The two samplers differ in the polynomial of lambda that they put through the x0 that they have seen.


def _exponential_step(path: ProbabilityPath, t: Tensor, t_next: Tensor) -> tuple[Tensor, ...]:
    """The step h in lambda, the factor of x, alpha at its end, and the integral of exp(lambda - lambda_next)."""
    (_, sigma), (alpha_next, sigma_next) = path.alpha_sigma(t), path.alpha_sigma(t_next)
    h = (path.log_snr(t_next) - path.log_snr(t)) / 2
    return h, sigma_next / sigma, alpha_next, -torch.expm1(-h)


def dpm_solver_pp_2m(denoise: Denoiser, x: Tensor, times: Tensor, path: ProbabilityPath, normal=None) -> Tensor:
    """DPM-Solver++(2M) (2211.01095, algorithm 2): second order, one evaluation a step.

    x0 goes on changing as it did in the step before. The first step knows of no change, and the last, which is
    infinitely long in lambda, supposes none: both are DDIM's.
    """
    x0_before = h_before = None
    for t, t_next in pairs(times):
        x0 = clean(denoise, x, t)
        h, kept, alpha_next, integral = _exponential_step(path, t, t_next)
        change = 0 if x0_before is None or t_next == 0 else h / h_before * (x0 - x0_before)
        x = kept * x + alpha_next * integral * (x0 + change / 2)
        x0_before, h_before = x0, h
    return x


def unipc(denoise: Denoiser, x: Tensor, times: Tensor, path: ProbabilityPath, normal=None) -> Tensor:
    """UniPC of order 2 (2302.04867): third order but for the ends, one evaluation a step.

    B(h) is 1 - e^-h, which is what the paper's B2 = e^h - 1 becomes where x0 is followed instead of the noise. With it
    the predictor, UniP-2, is DPM-Solver++(2M)'s step. x0 at the predicted point serves twice: for the
    corrector of this step, UniC-2, whose parabola through three x0 does not depend on B(h) (in the first step UniC-1,
    a line through two), and as x0 of the next step. The last step is DDIM's.
    """
    x0, x0_before, h_before = clean(denoise, x, times[0]), None, None
    for t, t_next in pairs(times):
        if t_next == 0:
            return x0
        h, kept, alpha_next, integral = _exponential_step(path, t, t_next)
        change = 0 if x0_before is None else h / h_before * (x0 - x0_before)
        predicted = kept * x + alpha_next * integral * (x0 + change / 2)
        x0_next = clean(denoise, predicted, t_next)
        if x0_before is None:
            corrected = integral * (x0 + x0_next) / 2
        else:  # x0 + (x0_next - x0 - bend) z + bend z^2, with z from 0 to 1 over the step, goes through all three
            bend = (x0_next - x0 - change) / (1 + h_before / h)
            integral_z = 1 - integral / h  # of exp(lambda - lambda_next) z
            integral_z2 = 1 - 2 * integral_z / h
            corrected = integral * x0 + integral_z * (x0_next - x0 - bend) + integral_z2 * bend
        x = kept * x + alpha_next * corrected
        x0, x0_before, h_before = x0_next, x0, h
    return x
