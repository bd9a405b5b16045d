"""Samplers, with a denoiser that is known exactly: data that is normally distributed, or a mixture of two such."""

import math

import pytest
import torch

from lite_sora.diffusion.objective import Objective
from lite_sora.diffusion.path import PATHS
from lite_sora.diffusion.prediction import ROWS, T_MAX, T_MIN, target
from lite_sora.diffusion.samplers import SAMPLERS, ddim, ddpm, euler, guided, heun, time_grid

MEAN, SPREAD = 0.6, 0.4
EVERY_PATH = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)


def gaussian(path, mean=MEAN, spread=SPREAD):
    """What is expected of the clean value and of the noise, given x_t, where the data is N(mean, spread^2)."""

    def denoise(x, t):
        alpha, sigma = path.alpha_sigma(t)
        rest = (x - alpha * mean) / (alpha**2 * spread**2 + sigma**2)
        return mean + alpha * spread**2 * rest, sigma * rest

    return denoise


def mixture(path, means=(-0.8, 0.5), spread=0.25):
    """The same for an even mixture of two Gaussians, for which the ODE is not linear."""

    def denoise(x, t):
        alpha, sigma = path.alpha_sigma(t)
        variance = alpha**2 * spread**2 + sigma**2
        rest = torch.stack([x - alpha * mean for mean in means])  # (2, B)
        share = (-(rest**2) / (2 * variance)).softmax(0)
        pull = (share * rest).sum(0) / variance
        return (share * torch.tensor(means)[:, None]).sum(0) + alpha * spread**2 * pull, sigma * pull

    return denoise


def end_of_the_ode(path, x):
    """Where the ODE takes x from t = 1 to t = 0: for Gaussian data it only shifts and scales."""
    alpha, sigma = path.alpha_sigma(torch.ones((), dtype=x.dtype))
    return MEAN + SPREAD / (alpha**2 * SPREAD**2 + sigma**2).sqrt() * (x - alpha * MEAN)


def noise(count=4000) -> torch.Tensor:
    """Quantiles of the normal distribution: noise with no luck in it."""
    u = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return math.sqrt(2) * torch.erfinv(2 * u - 1)


def grid(steps: int) -> torch.Tensor:
    return time_grid(steps).double()


def fresh(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(4000, generator=generator, dtype=torch.float64)


@EVERY_PATH
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_mean_and_spread_of_the_data_are_reached(sampler, path):
    made = SAMPLERS[sampler](gaussian(path), noise(), grid(200), path, fresh())
    chance = 3 / math.sqrt(4000) if sampler == "ddpm" else 0  # only DDPM draws
    assert float(made.mean()) == pytest.approx(MEAN, abs=0.01 + chance * SPREAD)
    assert float(made.std()) == pytest.approx(SPREAD, abs=0.015 + chance * SPREAD / math.sqrt(2))


def order(error, steps) -> float:
    """The slope of log error against log step size."""
    errors = [error(count) for count in steps]
    slopes = [
        math.log(one / other) / math.log(more / fewer)
        for one, other, fewer, more in zip(errors, errors[1:], steps, steps[1:], strict=False)
    ]
    return slopes[-1]


@EVERY_PATH
@pytest.mark.parametrize("sampler, expected", [(euler, 1), (ddim, 1), (heun, 2)])
def test_order_of_convergence(sampler, expected, path):
    def error(steps):
        made = sampler(gaussian(path), noise(), grid(steps), path)
        return float((made - end_of_the_ode(path, noise())).square().mean().sqrt())

    assert order(error, [32, 64, 128]) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("sampler, expected", [(euler, 1), (ddim, 1), (heun, 2)])
@pytest.mark.parametrize("path", ["linear", "gvp"])
def test_order_of_convergence_on_a_curved_ode(sampler, expected, path):
    path, start = PATHS[path], noise(200)
    exact = heun(mixture(path), start, grid(1024), path)

    def error(steps):
        return float((sampler(mixture(path), start, grid(steps), path) - exact).abs().mean())

    assert order(error, [32, 64, 128]) == pytest.approx(expected, abs=0.15)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_both_modes_of_a_mixture_are_found(sampler):
    path = PATHS["linear"]
    made = SAMPLERS[sampler](mixture(path), noise(), grid(100), path, fresh())
    assert float((made > -0.15).double().mean()) == pytest.approx(0.5, abs=0.04)
    for side, mean in ((made < -0.15, -0.8), (made > -0.15, 0.5)):
        assert float(made[side].mean()) == pytest.approx(mean, abs=0.03)
        assert float(made[side].std()) == pytest.approx(0.25, abs=0.03)


ENDS_AT_X0 = [(sampler, path) for sampler in ("ddim", "ddpm") for path in PATHS] + [
    ("euler", "linear"),
    ("heun", "linear"),
]


@pytest.mark.parametrize("sampler, path", ENDS_AT_X0)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_last_step_lands_on_what_the_denoiser_believes(sampler, path, steps):
    """Data that is one single video is found exactly. (Euler and Heun do so on the straight path only.)"""
    path = PATHS[path]
    x = torch.linspace(-2, 2, 4000, dtype=torch.float64)
    video = torch.sin(9 * x)

    def denoise(x_t, t):
        alpha, sigma = path.alpha_sigma(t)
        return video, (x_t - alpha * video) / sigma

    made = SAMPLERS[sampler](denoise, x, grid(steps), path, fresh())
    torch.testing.assert_close(made, video, rtol=0, atol=1e-9)


def test_on_the_linear_path_ddim_is_euler():
    path, x = PATHS["linear"], noise(50)
    torch.testing.assert_close(ddim(mixture(path), x, grid(7), path), euler(mixture(path), x, grid(7), path))


def test_ddpm_adds_noise_but_not_at_the_end():
    path, drawn = PATHS["vp"], []

    def normal():
        drawn.append(1)
        return torch.zeros(50, dtype=torch.float64)

    ddpm(gaussian(path), noise(50), grid(9), path, normal)
    assert len(drawn) == 8
    one, same, other = (ddpm(gaussian(path), noise(), grid(9), path, fresh(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.allclose(one, other)


@pytest.mark.parametrize("sampler, calls", [("euler", 10), ("ddim", 10), ("ddpm", 10), ("heun", 19)])
def test_evaluations_of_the_denoiser(sampler, calls):
    """Heun's last step is Euler's: at t = 0 there is no noise left to be found."""
    path, asked = PATHS["linear"], []

    def denoise(x, t):
        assert t.shape == (len(x),)  # each sample has its time, as networks want it
        asked.append(float(t[0]))
        return gaussian(path)(x, t)

    SAMPLERS[sampler](denoise, noise(), grid(10), path, fresh())
    assert len(asked) == calls and asked[0] == 1 and min(asked) > 0


@EVERY_PATH
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_prediction_gives_the_same_samples(sampler, path):
    """A network that is exact in its own terms, through Objective, as TextToVideo uses it."""
    results = []
    for prediction in ROWS:
        objective = Objective(path.name, prediction)

        def network(x_in, t, prediction=prediction, scale=prediction == "edm"):
            alpha, sigma = path.alpha_sigma(t)
            x_t = x_in * (sigma**2 + 0.25 * alpha**2).sqrt() if scale else x_in
            return target(path, prediction, *gaussian(path)(x_t, t), t).as_subclass(Exact)

        def denoise(x, t, objective=objective, network=network):
            return objective.x_and_noise(network, x, t)

        results.append(SAMPLERS[sampler](denoise, noise(), grid(20), path, fresh()))
    for made in results[1:]:
        torch.testing.assert_close(made, results[0], rtol=0, atol=2e-3)


class Exact(torch.Tensor):
    """Stays float64 where a network's output is turned to float32."""

    def float(self):
        return self.as_subclass(torch.Tensor)


def test_the_grid_of_times():
    times = time_grid(4)
    assert times.tolist() == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    shifted = time_grid(4, shift=3)
    assert shifted.tolist() == pytest.approx([1, 0.9, 0.75, 0.5, 0])
    assert time_grid(1).tolist() == [1, 0]
    assert all(T_MIN < time < T_MAX for time in time_grid(100)[1:-1].tolist())  # but for the ends, none is clamped


def test_guidance():
    one, other = torch.randn(2, 2, 5, generator=torch.Generator().manual_seed(0))

    def denoise(x, t):
        return one[0], one[1]

    def negative(x, t):
        return other[0], other[1]

    assert guided(denoise, negative, 1) is denoise  # nothing to compute twice
    x0, eps = guided(denoise, negative, 3.0)(None, None)
    torch.testing.assert_close(x0, other[0] + 3 * (one[0] - other[0]))
    torch.testing.assert_close(eps, other[1] + 3 * (one[1] - other[1]))
    x0, _ = guided(denoise, negative, 0)(None, None)
    torch.testing.assert_close(x0, other[0])


def test_guidance_of_a_gaussian_moves_its_mean():
    """Two Gaussians of one spread, at 0.3 and at 0: guided by 2, samples come from the one at 0.6."""
    path = PATHS["linear"]
    both = guided(gaussian(path, 0.3), gaussian(path, 0.0), 2.0)
    made, expected = (heun(denoise, noise(), grid(50), path) for denoise in (both, gaussian(path, 0.6)))
    torch.testing.assert_close(made, expected)
