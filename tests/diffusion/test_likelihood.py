"""Likelihoods: right on data whose density is known."""

import math

import pytest
import torch
from mixture import Mixture

from lite_sora.diffusion.choices import GRIDS
from lite_sora.diffusion.likelihood import bits_per_dimension, exact_probes, log_likelihood, random_probes
from lite_sora.diffusion.objective import Objective
from lite_sora.diffusion.path import PATHS
from lite_sora.diffusion.prediction import T_MIN, target

EVERY_PATH = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
DATA = Mixture([0.3, 0.7], [[-0.5, 0.3, 0.1], [0.4, -0.2, -0.3]], [[0.1, 0.2, 0.3], [0.25, 0.05, 0.15]])


def draw(count: int) -> torch.Tensor:
    return DATA.draw(count, torch.Generator().manual_seed(0))


def times(path, steps=100, grid="karras") -> torch.Tensor:
    return GRIDS[grid](steps, path, 1.0).double()


@EVERY_PATH
def test_bits_per_dimension_of_a_mixture(path):
    x = draw(500)
    truth = DATA.log_density(x)
    found = log_likelihood(DATA.denoise(path), x, times(path), path, exact_probes(x))
    alpha, sigma = path.alpha_sigma(torch.tensor(T_MIN, dtype=torch.float64))
    blurred = Mixture(DATA.shares, DATA.means, (DATA.spreads**2 + (sigma / alpha) ** 2).sqrt())
    torch.testing.assert_close(found, blurred.log_density(x), rtol=0, atol=0.1)  # of each sample, in nats
    assert float(bits_per_dimension(found, 3).mean()) == pytest.approx(
        float(bits_per_dimension(truth, 3).mean()), rel=0.01
    )


@EVERY_PATH
def test_the_error_falls_with_the_steps(path):
    x = draw(200)

    def error(steps):
        found = log_likelihood(DATA.denoise(path), x, times(path, steps), path, exact_probes(x))
        return float((found - DATA.log_density(x)).abs().mean())

    assert error(100) < error(25) / 4 < error(12) / 8


@EVERY_PATH
def test_the_walk_ends_in_the_noise_of_its_last_time(path):
    """Data of mean 0 is normal at every t. The walk ends at T_MAX, where sigma is 0.999 on the linear path; N(0, 1)
    there leaves an error of 3.5e-3 nats, whatever the number of steps."""
    data = Mixture([1.0], [[0.0] * 8], [[0.5] * 8])
    x = data.draw(200, torch.Generator().manual_seed(0))
    alpha, sigma = path.alpha_sigma(torch.tensor(T_MIN, dtype=torch.float64))
    blurred = Mixture(data.shares, data.means, (data.spreads**2 + (sigma / alpha) ** 2).sqrt())
    found = log_likelihood(data.denoise(path), x, times(path, 400), path, exact_probes(x))
    assert float((found - blurred.log_density(x)).abs().mean()) < 5e-4


def test_hutchinsons_estimate_is_right_on_average():
    path, x = PATHS["linear"], draw(50)
    generator = torch.Generator().manual_seed(0)

    def estimate(probes):
        return log_likelihood(DATA.denoise(path), x, times(path, 20), path, probes)

    exact = estimate(exact_probes(x))
    estimates = torch.stack([estimate(random_probes(x, 4, generator)) for _ in range(25)])
    off = (estimates.mean(0) - exact) / (estimates.std(0) / math.sqrt(25) + 1e-6)
    assert float(estimates.std(0).mean()) > 0.01  # it is an estimate, whose mean is right:
    assert float(off.abs().max()) < 5 and float(off.square().mean()) < 2
    mean, truth = (bits_per_dimension(value, 3).mean() for value in (estimates.mean(0), exact))
    assert float(mean) == pytest.approx(float(truth), rel=0.01)


def test_probes():
    x = torch.zeros(5, 3, 2, 4, 4)
    probes = random_probes(x, 7, torch.Generator().manual_seed(0))
    assert probes.shape == (7, *x.shape) and probes.dtype == x.dtype and set(probes.unique().tolist()) == {-1, 1}
    assert len({tuple(probe.flatten().tolist()) for probe in probes}) == 7
    jacobian = torch.randn(96, 96, generator=torch.Generator().manual_seed(0))
    for probe_of in exact_probes(x)[:, 0].flatten(1), exact_probes(x)[:, 4].flatten(1):
        assert float(((probe_of @ jacobian) * probe_of).sum(1).mean()) == pytest.approx(float(jacobian.trace()))


@pytest.mark.parametrize("prediction", ["x0", "noise", "v", "velocity", "score", "edm"])
def test_videos_in_float32_through_an_objective_without_gradients(prediction):
    """As a pipeline calls it: any prediction, (B, C, T, H, W), and inside no_grad. Data: N(0.2, 0.5^2)."""
    path, objective = PATHS["linear"], Objective("linear", prediction)

    def network(x_in, t):
        alpha, sigma = (value.reshape(-1, 1, 1, 1, 1) for value in path.alpha_sigma(t))
        x_t = x_in * (sigma**2 + 0.25 * alpha**2).sqrt() if prediction == "edm" else x_in
        rest = (x_t - alpha * 0.2) / (alpha**2 * 0.25 + sigma**2)
        return target(path, prediction, 0.2 + alpha * 0.25 * rest, sigma * rest, t)

    x = 0.2 + 0.5 * torch.randn(3, 3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    truth = torch.distributions.Normal(0.2, 0.5).log_prob(x).flatten(1).sum(1)
    with torch.no_grad():
        found = log_likelihood(
            lambda x_t, t: objective.x_and_noise(network, x_t, t),
            x,
            GRIDS["karras"](60, path, 1.0),
            path,
            random_probes(x),  # exact here, for the Jacobian is diagonal
        )
    assert found.shape == (3,) and found.dtype == torch.float32 and not found.requires_grad
    torch.testing.assert_close(bits_per_dimension(found, 96), bits_per_dimension(truth, 96), rtol=0.01, atol=0)


def test_bits_of_eight_bit_values():
    """Values that are uniform over all 256 are worth 8 bits each: the density of the dequantised video is 1 / 2 over
    [-1, 1] and half a step more on either side."""
    density = torch.tensor([96 * math.log(127.5 / 256)])
    assert float(bits_per_dimension(density, 96)) + math.log2(127.5) == pytest.approx(8)
