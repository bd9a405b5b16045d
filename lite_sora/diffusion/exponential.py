"""Exponential integrators: samplers that solve the probability-flow ODE but for x0, so that few steps are enough.

Over lambda = log(alpha / sigma) the ODE's exact step is (2211.01095, proposition 4.1)

    x_next = sigma_next / sigma x + alpha_next * integral of exp(lambda - lambda_next) x0(lambda) over the step

The two samplers differ in the polynomial of lambda that they fit to the x0 found so far.
"""

import torch
from torch import Tensor

from lite_sora.diffusion.path import ProbabilityPath
from lite_sora.diffusion.prediction import Denoiser
from lite_sora.diffusion.samplers import clean, pairs


def _exponential_step(path: ProbabilityPath, t: Tensor, t_next: Tensor) -> tuple[Tensor, ...]:
    """The step h in lambda, the factor of x, alpha at its end, and the integral of exp(lambda - lambda_next)."""
    (_, sigma), (alpha_next, sigma_next) = path.alpha_sigma(t), path.alpha_sigma(t_next)
    h = (path.log_snr(t_next) - path.log_snr(t)) / 2
    return h, sigma_next / sigma, alpha_next, -torch.expm1(-h)


def dpm_solver_pp_2m(denoise: Denoiser, x: Tensor, times: Tensor, path: ProbabilityPath, normal=None) -> Tensor:
    """DPM-Solver++(2M) (2211.01095, algorithm 2): second order, one evaluation a step.

    x0 is extrapolated along the line through the last two. The first step has no line yet, and the last, which is
    infinitely long in lambda, uses none: both are DDIM's.
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

    B(h) is 1 - e^-h: the paper's B2 = e^h - 1, for x0 instead of the noise. With it the predictor, UniP-2, is
    DPM-Solver++(2M)'s step. x0 at the predicted point serves twice. The corrector of this step, UniC-2, fits a parabola
    through it and the last two, which does not depend on B(h) (in the first step UniC-1, a line through two). And it is
    the x0 of the next step. The last step is DDIM's.
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
