"""Samplers, with a denoiser that is known exactly: data that is normally distributed, or a mixture of two such."""

import itertools
import math
from functools import partial

import pytest
import torch
from devices import mps_without_values
from mixture import Mixture

from lite_sora.diffusion.choices import GRIDS, SAMPLERS
from lite_sora.diffusion.exponential import dpm_solver_pp_2m, unipc
from lite_sora.diffusion.guidance import guided
from lite_sora.diffusion.objective import Objective
from lite_sora.diffusion.path import BETA_MAX, BETA_MIN, PATHS
from lite_sora.diffusion.prediction import ROWS, target
from lite_sora.diffusion.samplers import ddim, euler, heun, velocity
from lite_sora.diffusion.sde import DIFFUSIONS, ddpm, euler_maruyama, heun_sde

MEAN, SPREAD = 0.6, 0.4
TWO = Mixture([0.5, 0.5], [[-0.8], [0.5]], [[0.25], [0.25]])  # its ODE is not linear
EVERY_PATH = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
EVERY_SAMPLER = pytest.mark.parametrize("sampler", SAMPLERS)
WITH_CHANCE = {"ddpm", "euler-maruyama", "heun-sde"}


def gaussian(path, mean=MEAN, spread=SPREAD):
    """What is expected of the clean value and of the noise, given x_t, where the data is N(mean, spread^2)."""

    def denoise(x, t):
        alpha, sigma = (value[:, None] for value in path.alpha_sigma(t))
        rest = (x - alpha * mean) / (alpha**2 * spread**2 + sigma**2)
        return mean + alpha * spread**2 * rest, sigma * rest

    return denoise


def noise(count=4000) -> torch.Tensor:
    """Quantiles of the normal distribution, (count, 1): noise with no luck in it."""
    u = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return math.sqrt(2) * torch.erfinv(2 * u - 1)[:, None]


def grid(steps: int, name="uniform", path=None) -> torch.Tensor:
    return GRIDS[name](steps, path, 1.0).double()


def fresh(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(4000, 1, generator=generator, dtype=torch.float64)


# ---------------------------------------------------------------- the right distribution


@EVERY_PATH
@EVERY_SAMPLER
def test_mean_and_spread_of_the_data_are_reached(sampler, path):
    made = SAMPLERS[sampler](gaussian(path), noise(), grid(200), path, fresh())
    chance = 3 / math.sqrt(4000) if sampler in WITH_CHANCE else 0
    assert float(made.mean()) == pytest.approx(MEAN, abs=0.01 + chance * SPREAD)
    assert float(made.std()) == pytest.approx(SPREAD, abs=0.015 + chance * SPREAD / math.sqrt(2))


def distance(made: torch.Tensor) -> float:
    """Kolmogorov's and Smirnov's: between the distribution of (4000, 1) samples and that of the mixture."""
    below = TWO.share_below(made.sort(0).values)
    rank = torch.arange(len(made) + 1, dtype=torch.float64)[:, None] / len(made)
    return float(torch.maximum(rank[1:] - below, below - rank[:-1]).max())


KOLMOGOROV_1_PERCENT = 1.63 / math.sqrt(4000)  # 4000 draws from the mixture itself are further off once in a hundred


@EVERY_PATH
@EVERY_SAMPLER
@pytest.mark.parametrize("times", ["uniform", "karras"])
def test_samples_are_distributed_as_the_data(times, sampler, path):
    made = SAMPLERS[sampler](TWO.denoise(path), noise(), grid(200, times, path), path, fresh())
    assert distance(made) < KOLMOGOROV_1_PERCENT


@EVERY_PATH
@pytest.mark.parametrize("diffusion", DIFFUSIONS)
@pytest.mark.parametrize("sampler", [euler_maruyama, heun_sde])
def test_samples_are_distributed_as_the_data_with_any_diffusion(sampler, diffusion, path):
    made = sampler(TWO.denoise(path), noise(), grid(200), path, fresh(), diffusion=diffusion)
    assert distance(made) < KOLMOGOROV_1_PERCENT


def test_the_distance_tells_a_wrong_distribution():
    generator = torch.Generator().manual_seed(0)
    assert distance(TWO.draw(4000, generator)) < KOLMOGOROV_1_PERCENT
    wider = Mixture([0.5, 0.5], [[-0.8], [0.5]], [[0.3], [0.3]])
    assert distance(wider.draw(4000, generator)) > KOLMOGOROV_1_PERCENT
    uneven = Mixture([0.45, 0.55], [[-0.8], [0.5]], [[0.25], [0.25]])
    assert distance(uneven.draw(4000, generator)) > KOLMOGOROV_1_PERCENT


# ---------------------------------------------------------------- orders of convergence


def order(error, fewer: int, more: int) -> float:
    """The slope of log error against log step size."""
    return math.log(error(fewer) / error(more)) / math.log(more / fewer)


ORDERS = {euler: 1, ddim: 1, heun: 2, dpm_solver_pp_2m: 2, unipc: 3}


@EVERY_PATH
@pytest.mark.parametrize("sampler", ORDERS)
def test_order_of_convergence(sampler, path):
    """On the mixture, from pure noise to the last noise level of Karras' grid, against the exact end of the ODE."""

    def error(steps):
        times = grid(steps, "karras", path)[:-1]
        made = sampler(TWO.denoise(path), noise(200), times, path)
        return float((made - TWO.follow(noise(200), path, times[0], times[-1])).abs().mean())

    assert order(error, 48, 96) == pytest.approx(ORDERS[sampler], abs=0.25)


@pytest.mark.parametrize("sampler, expected", [(euler, 1), (ddim, 1), (heun, 2)])
@pytest.mark.parametrize("path", ["linear", "gvp"])
def test_order_of_convergence_down_to_the_data(sampler, expected, path):
    path = PATHS[path]

    def error(steps):
        times = grid(steps)
        made = sampler(TWO.denoise(path), noise(200), times, path)
        return float((made - TWO.follow(noise(200), path, times[0], times[-1])).abs().mean())

    assert order(error, 64, 128) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("sampler", [dpm_solver_pp_2m, unipc])
@EVERY_PATH
def test_multistep_samplers_pay(sampler, path):
    """What they are for: with as many evaluations they are three times as close as DDIM."""
    exact = TWO.follow(noise(200), path, torch.ones(()).double(), torch.zeros(()).double())

    def error(sampler):
        return float((sampler(TWO.denoise(path), noise(200), grid(25, "karras", path), path) - exact).abs().mean())

    assert error(sampler) < error(ddim) / 3


def spread_made(sampler, path, times, **options) -> float:
    """The exact spread of what a sampler makes of N(0, 0.25^2), without any drawing: the denoiser is linear, so x and
    what is drawn in each step can be given as coefficients of independent normal numbers."""
    basis = iter(torch.eye(len(times) + 1, dtype=torch.float64))
    x = next(basis)[None]
    made = sampler(gaussian(path, 0.0, 0.25), x, times, path, lambda: next(basis)[None], **options)
    return float(made.norm())


@pytest.mark.parametrize("diffusion", ["sigma", "linear", "decreasing", "increasing-decreasing"])
@pytest.mark.parametrize("sampler, expected", [(euler_maruyama, 1), (heun_sde, 2)])
@pytest.mark.parametrize("path", ["linear", "gvp"])
def test_weak_order_of_convergence(sampler, expected, path, diffusion):
    def error(steps):
        return abs(spread_made(sampler, PATHS[path], grid(steps), diffusion=diffusion) - 0.25)

    assert order(error, 200, 400) == pytest.approx(expected, abs=0.2)


@EVERY_PATH
@pytest.mark.parametrize("diffusion", DIFFUSIONS)
@pytest.mark.parametrize("sampler", [euler_maruyama, heun_sde])
def test_every_diffusion_converges(sampler, diffusion, path):
    """Also those that are infinite next to the noise at one end or the other, and cut off there."""
    errors = [abs(spread_made(sampler, path, grid(steps), diffusion=diffusion) / 0.25 - 1) for steps in (50, 400)]
    assert errors[1] < 0.01 and (errors[1] < errors[0] / 2 or errors[0] < 0.002)


# ---------------------------------------------------------------- the last step


@EVERY_PATH
@EVERY_SAMPLER
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_last_step_returns_the_denoisers_clean_video(sampler, path, steps):
    """Data that is one single video is found exactly."""
    x = torch.linspace(-2, 2, 4000, dtype=torch.float64)[:, None]
    video = torch.sin(9 * x)

    def denoise(x_t, t):
        alpha, sigma = (value[:, None] for value in path.alpha_sigma(t))
        return video, (x_t - alpha * video) / sigma

    made = SAMPLERS[sampler](denoise, x, grid(steps), path, fresh())
    torch.testing.assert_close(made, video, rtol=0, atol=1e-9)


@EVERY_PATH
@EVERY_SAMPLER
def test_sharp_data_is_left_without_noise(sampler, path):
    """Data of spread 0.001 about two values: what is made lies as near to them, on any path."""
    sharp = Mixture([0.5, 0.5], [[-0.8], [0.5]], [[1e-3], [1e-3]])
    made = SAMPLERS[sampler](sharp.denoise(path), noise(), grid(50), path, fresh())
    off = (made - sharp.means.T).abs().min(1).values
    assert float((off < 3e-3).double().mean()) > 0.98


@pytest.mark.parametrize("path", ["vp", "cosine"])
def test_a_last_step_along_the_velocity_would_leave_noise(path):
    """The reason for landing: up to half of the noise at the last time above 0 is left over."""
    path, video = PATHS[path], 0.3

    def denoise(x_t, t):
        alpha, sigma = (value[:, None] for value in path.alpha_sigma(t))
        return torch.full_like(x_t, video), (x_t - alpha * video) / sigma

    for steps, expected in ((50, 0.2), (10_000, 0.5)):
        times = torch.tensor([1 / steps, 0], dtype=torch.float64)
        alpha, sigma = path.alpha_sigma(times[0])
        x = alpha * video + sigma * noise()
        along_velocity = x - times[0] * velocity(denoise, x, times[0], path)
        assert float((along_velocity - video).std() / sigma) == pytest.approx(expected, abs=0.05)
        torch.testing.assert_close(euler(denoise, x, times, path), torch.full_like(x, video))


def test_on_the_linear_path_ddim_is_euler():
    path, x = PATHS["linear"], noise(50)
    torch.testing.assert_close(ddim(TWO.denoise(path), x, grid(7), path), euler(TWO.denoise(path), x, grid(7), path))


@EVERY_PATH
def test_first_and_last_steps_of_the_multistep_samplers_are_ddims(path):
    x, (one, two) = noise(50), (grid(1), grid(2))
    for sampler in (dpm_solver_pp_2m, unipc):
        torch.testing.assert_close(
            sampler(TWO.denoise(path), x, one, path), ddim(TWO.denoise(path), x, one, path), rtol=0, atol=1e-9
        )
    made, expected = (sampler(TWO.denoise(path), x, two, path) for sampler in (dpm_solver_pp_2m, ddim))
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-9)


# ---------------------------------------------------------------- chance


def test_ddpm_adds_noise_but_not_at_the_end():
    path, drawn = PATHS["vp"], []

    def normal():
        drawn.append(1)
        return torch.zeros(50, 1, dtype=torch.float64)

    ddpm(gaussian(path), noise(50), grid(9), path, normal)
    assert len(drawn) == 8


@EVERY_SAMPLER
def test_what_is_drawn_decides_what_is_made(sampler):
    path = PATHS["vp"]
    one, same, other = (SAMPLERS[sampler](gaussian(path), noise(), grid(9), path, fresh(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same) and torch.allclose(one, other) == (sampler not in WITH_CHANCE)


def test_diffusions_are_those_of_the_papers():
    t = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    for path in PATHS.values():
        for diffusion in DIFFUSIONS.values():
            assert (diffusion(t, path) >= 0).all() and diffusion(t, path).isfinite().all()
    # the forward SDE of vp is dx = -beta / 2 x dt + sqrt(beta) dW (2011.13456, eq. 11), and D half its beta
    beta = BETA_MIN + t * (BETA_MAX - BETA_MIN)
    torch.testing.assert_close(DIFFUSIONS["sbdm"](t, PATHS["vp"]), beta / 2)
    torch.testing.assert_close(DIFFUSIONS["sbdm"](t, PATHS["linear"]), t / (1 - t))
    ends = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    for name, expected in {
        "constant": [1, 1, 1],
        "sigma": [0, 0.5, 1],
        "linear": [0, 0.5, 1],
        "decreasing": [0, 0.25, 1],
        "increasing-decreasing": [0, 1, 0],
    }.items():
        assert DIFFUSIONS[name](ends, PATHS["linear"]).tolist() == pytest.approx(expected)


def test_without_diffusion_an_sde_is_the_ode(monkeypatch):
    monkeypatch.setitem(DIFFUSIONS, "none", lambda t, path: torch.zeros_like(t))
    for path in PATHS.values():
        for of_sde, of_ode in ((euler_maruyama, euler), (heun_sde, heun)):
            made = of_sde(TWO.denoise(path), noise(), grid(9), path, fresh(), diffusion="none")
            torch.testing.assert_close(made, of_ode(TWO.denoise(path), noise(), grid(9), path))


# ---------------------------------------------------------------- with any network

CALLS = {"heun": 19, "heun-sde": 19}


@EVERY_PATH
@EVERY_SAMPLER
def test_evaluations_of_the_denoiser(sampler, path):
    """Those of Heun take two a step but the last; none is at t = 0, where x has no noise."""
    evaluated = []

    def denoise(x, t):
        assert t.shape == (len(x),)  # each sample has its time, as networks want it
        evaluated.append(float(t[0]))
        return gaussian(path)(x, t)

    SAMPLERS[sampler](denoise, noise(), grid(10), path, fresh())
    assert len(evaluated) == CALLS.get(sampler, 10) and evaluated[0] == 1 and min(evaluated) > 0


@EVERY_PATH
@EVERY_SAMPLER
def test_every_prediction_gives_the_same_samples(sampler, path):
    """A network that is exact in its own terms, through Objective, as TextToVideo uses it."""
    results = []
    for prediction in ROWS:
        objective = Objective(path.name, prediction)

        def network(x_in, t, prediction=prediction, scale=prediction == "edm"):
            alpha, sigma = (value[:, None] for value in path.alpha_sigma(t))
            x_t = x_in * (sigma**2 + 0.25 * alpha**2).sqrt() if scale else x_in
            return target(path, prediction, *gaussian(path)(x_t, t), t).as_subclass(Exact)

        results.append(SAMPLERS[sampler](partial(objective.x_and_noise, network), noise(), grid(20), path, fresh()))
    for made in results[1:]:
        torch.testing.assert_close(made, results[0], rtol=0, atol=2e-3)


@EVERY_PATH
@EVERY_SAMPLER
@pytest.mark.parametrize("times", GRIDS)
def test_any_combination_samples(times, sampler, path):
    """Any output of any prediction ends in a video of finite values."""
    for prediction, steps in itertools.product(ROWS, (1, 2, 8)):
        objective = Objective(path.name, prediction)
        generator = torch.Generator().manual_seed(0)
        normal = partial(torch.randn, 2, 3, 2, 4, 4, generator=generator)
        denoise = partial(objective.x_and_noise, lambda x_t, t: x_t.tanh())
        made = SAMPLERS[sampler](denoise, normal(), GRIDS[times](steps, path, 6.0), path, normal)
        assert made.shape == (2, 3, 2, 4, 4) and made.isfinite().all()


@EVERY_PATH
@EVERY_SAMPLER
def test_no_step_waits_for_the_device(sampler, path):
    """With times on the CPU, no value on the device decides anything: here tensors on the device have no values."""
    with mps_without_values():
        x = torch.empty(2, 3, 2, 4, 4, device="mps")
        denoise = partial(Objective(path.name, "velocity").x_and_noise, lambda x_t, t: x_t.tanh())
        times = [torch.tensor(time) for time in (1.0, 0.75, 0.5, 0.25, 0.0)]
        denoise = guided(denoise, denoise, 2.0, rescale=0.5, path=path)
        made = SAMPLERS[sampler](denoise, x, times, path, lambda: torch.empty_like(x))
        assert made.device == x.device and made.shape == x.shape and made.dtype == x.dtype


class Exact(torch.Tensor):
    """Stays float64 where a network's output is turned to float32."""

    def float(self):
        return self.as_subclass(torch.Tensor)


@EVERY_PATH
@EVERY_SAMPLER
@pytest.mark.parametrize("times", GRIDS)
def test_videos_in_float32_are_finite_and_precise(sampler, path, times):
    """(B, C, T, H, W) and all of it in float32, as models run: no end of any grid on any path is singular."""
    x = noise(960).reshape(5, 3, 4, 4, 4)

    def denoise(x, t):
        return tuple(value.reshape(x.shape) for value in gaussian(path)(x.reshape(5, -1), t))

    def drawn():
        generator = torch.Generator().manual_seed(0)
        return lambda: torch.randn(x.shape, generator=generator, dtype=torch.float64)

    steps, draw, same = GRIDS[times](20, path, 3.0), drawn(), drawn()
    made = SAMPLERS[sampler](denoise, x.float(), steps, path, lambda: draw().float())
    expected = SAMPLERS[sampler](denoise, x, steps.double(), path, same)
    assert made.dtype == torch.float32
    torch.testing.assert_close(made.double(), expected, rtol=0, atol=2e-4)
