"""Predictions: from x_t and any output, the 2×2 solve finds the clean video and the noise."""

import itertools

import pytest
import torch

from lite_sora.diffusion.path import PATHS
from lite_sora.diffusion.prediction import ROWS, SIGMA_DATA, T_MAX, T_MIN, input_scale, matrix, solve, target

EVERY = pytest.mark.parametrize("path, prediction", list(itertools.product(PATHS, ROWS)))
TIMES = torch.tensor([0.0, T_MIN, 0.05, 0.3, 0.5, 0.7, 0.95, T_MAX, 1.0], dtype=torch.float64)


def data(dtype=torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, len(TIMES), 3, 2, 4, 4, generator=generator, dtype=dtype))


@EVERY
def test_exact_targets_solve_back_to_the_video_and_the_noise(path, prediction):
    x, noise = data()
    path = PATHS[path]
    x_t = path.mix(x, noise, TIMES.clamp(T_MIN, T_MAX))
    x_again, noise_again = solve(path, prediction, x_t, target(path, prediction, x, noise, TIMES), TIMES)
    torch.testing.assert_close(x_again, x, rtol=0, atol=1e-9)
    torch.testing.assert_close(noise_again, noise, rtol=0, atol=1e-9)


@EVERY
def test_any_output_is_some_other_predictions_output(path, prediction):
    """Whatever a network's output, the video and the noise that it stands for make up x_t."""
    x, noise = data()
    path = PATHS[path]
    x_t, output = path.mix(x, noise, TIMES.clamp(T_MIN, T_MAX)), noise.flip(0)
    estimated_x, estimated_noise = solve(path, prediction, x_t, output, TIMES)
    torch.testing.assert_close(path.mix(estimated_x, estimated_noise, TIMES.clamp(T_MIN, T_MAX)), x_t)
    for other in ROWS:
        as_other = target(path, other, estimated_x, estimated_noise, TIMES)
        again, _ = solve(path, other, x_t, as_other, TIMES)
        torch.testing.assert_close(again, estimated_x, rtol=1e-6, atol=1e-6)


@EVERY
def test_no_system_is_singular(path, prediction):
    t = torch.linspace(0, 1, 1001)
    alpha, sigma, a, b = matrix(PATHS[path], prediction, t)
    assert (alpha * b - sigma * a).abs().min() > 5e-4
    assert all(value.isfinite().all() for value in (alpha, sigma, a, b))


@EVERY
def test_solving_in_float32_is_precise_enough(path, prediction):
    x, noise = data(torch.float32)
    path, t = PATHS[path], torch.linspace(0.05, 0.95, len(TIMES))
    x_t = path.mix(x, noise, t)
    x_again, noise_again = solve(path, prediction, x_t, target(path, prediction, x, noise, t), t)
    alpha, _ = path.alpha_sigma(t[-1])
    torch.testing.assert_close(x_again, x, rtol=0, atol=2e-5 / float(alpha))
    torch.testing.assert_close(noise_again, noise, rtol=0, atol=1e-4)


def test_the_rows_of_the_papers():
    x, noise = data()
    t = TIMES[2:-2]
    x, noise = x[2:-2], noise[2:-2]
    for path in PATHS.values():
        alpha, sigma, alpha_dot, sigma_dot = (value[:, None, None, None, None] for value in path.coefficients(t))
        x_t = path.mix(x, noise, t)
        s = sigma / alpha  # EDM's noise level, for its input x_t / alpha
        skip, out = SIGMA_DATA**2 / (s**2 + SIGMA_DATA**2), s * SIGMA_DATA / (s**2 + SIGMA_DATA**2).sqrt()
        expected = {
            "x0": x,
            "noise": noise,
            "v": alpha * noise - sigma * x,
            "velocity": alpha_dot * x + sigma_dot * noise,
            "score": -(x_t - alpha * x) / sigma**2,  # the gradient of log N(x_t; alpha x, sigma^2)
            "edm": (x - skip * x_t / alpha) / out,  # 2206.00364, eq. 7 and table 1
        }
        assert set(expected) == set(ROWS)
        for prediction, y in expected.items():
            torch.testing.assert_close(target(path, prediction, x, noise, t), y, rtol=1e-9, atol=1e-9)


def test_velocity_is_the_derivative_of_x_t():
    x, noise = data()
    for path in PATHS.values():
        ahead, behind = (path.mix(x, noise, TIMES[2:-2].new_tensor([0.4] * len(x)) + step) for step in (1e-6, -1e-6))
        velocity = target(path, "velocity", x, noise, torch.full((len(x),), 0.4, dtype=torch.float64))
        torch.testing.assert_close(velocity, (ahead - behind) / 2e-6, rtol=1e-6, atol=1e-6)


def test_edms_input_and_target_have_unit_variance():
    """That is what EDM's preconditioning is for (2206.00364, appendix B.6)."""
    generator = torch.Generator().manual_seed(0)
    x = SIGMA_DATA * torch.randn(200_000, generator=generator, dtype=torch.float64)
    noise = torch.randn(200_000, generator=generator, dtype=torch.float64)
    for path in PATHS.values():
        for time in (0.02, 0.5, 0.98):
            t = torch.full((len(x),), time, dtype=torch.float64)
            network_input = input_scale(path, "edm", t) * path.mix(x, noise, t)
            assert float(network_input.std()) == pytest.approx(1, abs=0.01)
            assert float(target(path, "edm", x, noise, t).std()) == pytest.approx(1, abs=0.01)
            assert all(input_scale(path, other, t) is None for other in ROWS if other != "edm")
