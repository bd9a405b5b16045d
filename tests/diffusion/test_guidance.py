"""Guidance: along the line from the negative prompt to the prompt, at some times, and not too far."""

import pytest
import torch
from mixture import Mixture

from lite_sora.diffusion.guidance import guided
from lite_sora.diffusion.path import PATHS
from lite_sora.diffusion.samplers import heun
from lite_sora.diffusion.times import time_grid


def estimates(path, shape=(2, 3, 2, 4, 4)):
    """x_t, t, two clean videos, and two denoisers, each with one of them as its estimate."""
    generator = torch.Generator().manual_seed(0)
    x, one, other = torch.randn(3, *shape, generator=generator, dtype=torch.float64)
    t = torch.tensor([0.4, 0.4], dtype=torch.float64)

    def denoiser_of(video):
        def denoise(x, t):
            alpha, sigma = (value.reshape(-1, 1, 1, 1, 1) for value in path.alpha_sigma(t))
            return video, (x - alpha * video) / sigma

        return denoise

    return x, t, one, other, denoiser_of(one), denoiser_of(other)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_guidance_extrapolates_from_the_negative_prompt_through_the_prompt(path):
    x, t, one, other, denoise, negative = estimates(path)
    assert guided(denoise, negative, 1) is denoise  # nothing to compute twice
    x0, noise = guided(denoise, negative, 3.0)(x, t)
    torch.testing.assert_close(x0, other + 3 * (one - other))
    torch.testing.assert_close(path.mix(x0, noise, t), x)  # the two still make up x_t
    x0, _ = guided(denoise, negative, 0)(x, t)
    torch.testing.assert_close(x0, other)


def test_outside_the_interval_only_the_prompt_is_evaluated():
    x, _, one, other, denoise, negative = estimates(PATHS["linear"])
    evaluated = []

    def counted(x, t):
        evaluated.append(float(t[0]))
        return negative(x, t)

    both = guided(denoise, counted, 3.0, interval=(0.25, 0.75))
    for time in (0.1, 0.25, 0.5, 0.75, 0.9):
        x0, _ = both(x, torch.full((2,), time, dtype=torch.float64))
        inside = 0.25 <= time <= 0.75
        torch.testing.assert_close(x0, other + 3 * (one - other) if inside else one)
    assert evaluated == [0.25, 0.5, 0.75]


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_rescaled_guidance_has_the_spread_of_the_prompt_alone(path):
    x, t, one, other, denoise, negative = estimates(path)
    plain = other + 5 * (one - other)
    ratio = (one.flatten(1).std(1) / plain.flatten(1).std(1)).reshape(2, 1, 1, 1, 1)  # each video has its own
    assert (ratio < 0.5).all()
    for phi in (0.3, 0.7, 1.0):
        x0, noise = guided(denoise, negative, 5.0, rescale=phi, path=path)(x, t)
        torch.testing.assert_close(x0, phi * plain * ratio + (1 - phi) * plain)  # 2305.08891, eqs. 15 and 16
        torch.testing.assert_close(path.mix(x0, noise, t), x)
    torch.testing.assert_close(x0.flatten(1).std(1), one.flatten(1).std(1))


def test_rescaling_without_a_path_is_refused():
    _, _, _, _, denoise, negative = estimates(PATHS["linear"])
    with pytest.raises(ValueError, match="needs the path"):
        guided(denoise, negative, 2.0, rescale=0.7)


def test_guidance_of_a_gaussian_moves_its_mean():
    """Two Gaussians of the same spread, at 0.3 and at 0: guided by 2, samples come from the one at 0.6."""
    path = PATHS["linear"]
    at = {mean: Mixture([1.0], [[mean]], [[0.4]]).denoise(path) for mean in (0.0, 0.3, 0.6)}
    x = torch.linspace(-2, 2, 50, dtype=torch.float64)[:, None]
    both = guided(at[0.3], at[0.0], 2.0)
    made, expected = (heun(denoise, x, time_grid(50).double(), path) for denoise in (both, at[0.6]))
    torch.testing.assert_close(made, expected)
