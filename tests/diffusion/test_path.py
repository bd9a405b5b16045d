"""Paths: alpha and sigma, their derivatives, and the signal-to-noise ratio along them."""

import math

import pytest
import torch
from devices import mps_without_values

from lite_sora.diffusion.path import PATHS, along

EVERY = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
INSIDE = torch.linspace(0.001, 0.999, 500, dtype=torch.float64)


@EVERY
def test_paths_run_from_data_to_noise(path):
    alpha, sigma = path.alpha_sigma(torch.tensor([0.0, 1.0], dtype=torch.float64))
    most_signal_left = math.exp(-0.25 * (20 - 0.1) - 0.5 * 0.1) if path.name == "vp" else 0  # DDPM's known rest
    assert alpha.tolist() == pytest.approx([1, most_signal_left], abs=1e-12)
    assert sigma.tolist() == pytest.approx([0, math.sqrt(1 - most_signal_left**2)], abs=1e-12)


def test_known_values():
    half = torch.tensor([0.5], dtype=torch.float64)
    expected = {
        "linear": (0.5, 0.5),
        "gvp": (math.sqrt(0.5), math.sqrt(0.5)),
        "vp": (math.exp(-0.25 * 0.25 * 19.9 - 0.025), math.sqrt(1 - math.exp(-0.5 * 0.25 * 19.9 - 0.05))),
        "cosine": (math.cos(0.508 / 1.008 * math.pi / 2) / math.cos(0.008 / 1.008 * math.pi / 2), None),
    }
    for name, (alpha, sigma) in expected.items():
        sigma = math.sqrt(1 - alpha**2) if sigma is None else sigma
        assert [float(value) for value in PATHS[name].alpha_sigma(half)] == pytest.approx([alpha, sigma], abs=1e-12)


@pytest.mark.parametrize("name", ["gvp", "vp", "cosine"])
def test_variance_preserving_paths_preserve_variance(name):
    alpha, sigma = PATHS[name].alpha_sigma(torch.linspace(0, 1, 1001, dtype=torch.float64))
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(alpha), rtol=0, atol=1e-12)


@EVERY
def test_derivatives_against_finite_differences(path):
    step = 1e-6
    _, _, alpha_dot, sigma_dot = path.coefficients(INSIDE)
    (alpha0, sigma0), (alpha1, sigma1) = path.alpha_sigma(INSIDE - step), path.alpha_sigma(INSIDE + step)
    torch.testing.assert_close(alpha_dot, (alpha1 - alpha0) / (2 * step), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(sigma_dot, (sigma1 - sigma0) / (2 * step), rtol=1e-6, atol=1e-8)


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_everything_is_finite_at_both_ends(path, dtype):
    t = torch.tensor([0.0, 1e-8, 1e-3, 1 - 1e-7, 1.0], dtype=dtype)
    for value in (*path.coefficients(t), path.log_snr(t)):
        assert value.isfinite().all() and value.dtype == dtype and value.shape == t.shape


@EVERY
def test_precision_near_data(path):
    """sigma = sqrt(1 - alpha^2) loses everything in float32 where alpha is almost 1; it may not."""
    t = torch.tensor([1e-5, 1e-4, 1e-3, 1e-2])
    for value, exact in zip(path.coefficients(t), path.coefficients(t.double()), strict=True):
        torch.testing.assert_close(value.double(), exact, rtol=1e-4, atol=1e-6)


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_snr_falls(path, dtype):
    log_snr = path.log_snr(torch.linspace(0, 1, 2001, dtype=dtype))
    assert (log_snr.diff() < 0).all()
    assert log_snr[0] > 20 and log_snr[-1] < -9


@EVERY
def test_log_snr_is_what_it_says(path):
    alpha, sigma = path.alpha_sigma(INSIDE)
    torch.testing.assert_close(path.log_snr(INSIDE), (alpha**2 / sigma**2).log(), rtol=1e-9, atol=1e-9)


@EVERY
def test_time_at_inverts_log_snr(path):
    torch.testing.assert_close(path.time_at(path.log_snr(INSIDE)), INSIDE, rtol=0, atol=1e-10)
    t = INSIDE.float()
    torch.testing.assert_close(path.time_at(path.log_snr(t)), t, rtol=0, atol=1e-4)
    assert path.time_at(path.log_snr(t)).dtype == torch.float32


@EVERY
def test_time_at_of_what_the_path_does_not_reach_is_its_end(path):
    assert path.time_at(torch.tensor([200.0, -200.0])).tolist() == pytest.approx([0, 1], abs=1e-6)


@EVERY
def test_time_at_works_on_devices_without_float64(path):
    with mps_without_values():
        log_snr = torch.empty(3, device="mps")
        t = path.time_at(log_snr)
        assert t.device == log_snr.device and t.dtype == torch.float32 and t.shape == (3,)


@EVERY
def test_mix(path):
    generator = torch.Generator().manual_seed(0)
    x, noise = torch.randn(2, 3, 2, 4, 5, 5, generator=generator)
    t = torch.tensor([0.0, 0.3, 1.0])
    mixed, (alpha, sigma) = path.mix(x, noise, t), path.alpha_sigma(t)
    assert mixed.shape == x.shape
    for i in range(3):
        torch.testing.assert_close(mixed[i], alpha[i] * x[i] + sigma[i] * noise[i])
    torch.testing.assert_close(mixed[0], x[0])


def test_along():
    value = along(torch.tensor([1.0, 2.0], dtype=torch.float64), torch.zeros(2, 3, 4, 5, 6))
    assert value.shape == (2, 1, 1, 1, 1) and value.dtype == torch.float32
    assert along(torch.tensor([1.0, 2.0]), torch.zeros(2)).shape == (2,)
