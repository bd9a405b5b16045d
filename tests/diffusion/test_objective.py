"""Objectives: times have the density they claim, weightings are those of their papers, and nothing is ever infinite."""

import itertools
import math
from dataclasses import replace
from statistics import NormalDist

import pytest
import torch

from lite_sora.diffusion.objective import MODE_SCALE, TIME_DENSITIES, WEIGHTINGS, Objective, shift_time
from lite_sora.diffusion.path import PATHS
from lite_sora.diffusion.prediction import ROWS, SIGMA_DATA, T_MAX, T_MIN, target
from lite_sora.diffusion.presets import PRESETS
from lite_sora.diffusion.weighting import effective_weight

# ---------------------------------------------------------------- the loss


def data(count: int, dtype=torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A clean video, noise, and a wrong estimate of the clean video, each (count, 3, 2, 4, 4)."""
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(3, count, 3, 2, 4, 4, generator=generator, dtype=dtype))


def network_of(objective: Objective, estimate: torch.Tensor, x_t: torch.Tensor):
    """A network whose estimate of the clean video is `estimate`, put in terms of the objective's prediction."""

    def network(_, t):
        alpha, sigma = (value.reshape(-1, 1, 1, 1, 1) for value in PATHS[objective.path].alpha_sigma(t))
        noise = (x_t - alpha * estimate) / sigma
        return target(PATHS[objective.path], objective.prediction, estimate, noise, t)

    return network


def estimates_loss(objective: Objective, t: torch.Tensor) -> torch.Tensor:
    """The loss (B,) of one wrong estimate under any objective: they differ in the weight alone."""
    x, noise, estimate = data(len(t))
    x_t = objective.noisy(x, noise, t)
    return objective.loss(_exact(network_of(objective, estimate, x_t)), x, noise, t)


def _exact(network):
    """`loss` turns outputs to float32, as it must for bf16 networks; here float64 should stay."""

    class Exact(torch.Tensor):
        def float(self):
            return self.as_subclass(torch.Tensor)

    return lambda x_t, t: network(x_t, t).as_subclass(Exact)


INSIDE = torch.linspace(0.06, 0.94, 23, dtype=torch.float64)
COMBINATIONS = pytest.mark.parametrize("path, prediction", list(itertools.product(PATHS, ROWS)))


@COMBINATIONS
def test_nothing_is_infinite_anywhere(path, prediction):
    t = torch.tensor([0.0, 1e-8, 1e-3, 0.5, 1 - 1e-3, 1.0])
    x, noise, output = data(len(t), torch.float32)
    for weighting, time in itertools.product(WEIGHTINGS, TIME_DENSITIES):
        objective = Objective(path, prediction, weighting, time)
        drawn = objective.draw_times(torch.tensor([0.0, 1e-7, 0.3, 0.5, 1 - 1e-7, 1.0]))
        assert ((drawn >= T_MIN) & (drawn <= T_MAX)).all()
        for times in (t, drawn):
            seen = []

            def denoiser(x_t, t, seen=seen):
                seen.append((x_t, t))
                return output

            loss = objective.loss(denoiser, x, noise, times)
            estimated = objective.x_and_noise(denoiser, objective.noisy(x, noise, times), times)
            assert loss.shape == (len(t),) and loss.isfinite().all() and (loss > 0).all()
            assert all(value.shape == x.shape and value.isfinite().all() for value in estimated)
            for x_t, at in seen:  # the network is never evaluated where the 2×2 system is singular
                assert x_t.isfinite().all() and at.min() >= T_MIN and at.max() <= T_MAX
            assert objective.weight(times).isfinite().all() and (objective.weight(times) > 0).all()


@COMBINATIONS
def test_the_exact_output_has_no_loss_and_gives_video_and_noise(path, prediction):
    t = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0], dtype=torch.float64)
    x, noise, _ = data(len(t))
    for weighting in WEIGHTINGS:
        objective = Objective(path, prediction, weighting)
        x_t = objective.noisy(x, noise, t)
        denoiser = _exact(lambda x_t, t: target(PATHS[path], prediction, x, noise, t))
        assert objective.loss(denoiser, x, noise, t).max() < 1e-18
        x_again, noise_again = objective.x_and_noise(denoiser, x_t, t)
        torch.testing.assert_close(x_again, x, rtol=0, atol=1e-9)
        torch.testing.assert_close(noise_again, noise, rtol=0, atol=1e-9)


def test_loss_of_each_video_is_its_own():
    """The mean over a video's values, weighted by its own time, whatever else is in the batch."""
    objective = Objective("cosine", "v", "min-snr")
    t = torch.tensor([0.2, 0.6, 0.9])
    x, noise, output = data(3, torch.float32)
    together = objective.loss(lambda x_t, t: output, x, noise, t)
    for i in range(3):
        one = slice(i, i + 1)
        alone = objective.loss(lambda x_t, t, one=one: output[one], x[one], noise[one], t[one])
        torch.testing.assert_close(together[one], alone)
        error = output[i] - target(PATHS["cosine"], "v", x[one], noise[one], t[one])[0]
        torch.testing.assert_close(together[i], objective.weight(t)[i] * error.square().mean())


def test_loss_of_a_bf16_network_is_float32():
    x, noise, output = data(2, torch.float32)
    objective = Objective()
    loss = objective.loss(lambda x_t, t: output.bfloat16(), x, noise, torch.tensor([0.2, 0.7]))
    estimated = objective.x_and_noise(lambda x_t, t: output.bfloat16(), x, torch.tensor([0.2, 0.7]))
    assert loss.dtype == estimated[0].dtype == estimated[1].dtype == torch.float32


# ---------------------------------------------------------------- weightings


def test_weightings_weigh_the_clean_videos_error_by_the_signal_to_noise_ratio():
    """The formulas of the papers, in terms of the squared error of the clean video."""
    for path in PATHS:
        alpha, sigma = PATHS[path].alpha_sigma(INSIDE)
        snr, level = (alpha / sigma) ** 2, sigma / alpha
        expected = {
            "snr": snr,
            "min-snr": snr.clamp(max=5),  # 2303.09556
            "soft-min-snr": snr * 4 / (snr + 4),  # 2401.11605
            "sigmoid": snr * torch.sigmoid(2 - snr.log()),  # the noise's error, weighted by the sigmoid
            "edm": (level**2 + SIGMA_DATA**2) / (level * SIGMA_DATA) ** 2,  # 2206.00364, table 1
        }
        assert set(expected) == set(WEIGHTINGS) - {"none", "velocity"}
        for weighting, weight in expected.items():
            for prediction in ROWS:
                effective = effective_weight(Objective(path, prediction, weighting), INSIDE)
                torch.testing.assert_close(effective, weight, rtol=1e-8, atol=1e-10)


def test_soft_min_snr_is_k_diffusions():
    """The squared error of EDM's output counts (sigma sigma_data / (sigma^2 + sigma_data^2))^2 (2401.11605)."""
    alpha, sigma = PATHS["linear"].alpha_sigma(INSIDE)
    level = sigma / alpha
    expected = (level * SIGMA_DATA / (level**2 + SIGMA_DATA**2)) ** 2
    torch.testing.assert_close(Objective("linear", "edm", "soft-min-snr").weight(INSIDE), expected)


@COMBINATIONS
def test_a_weighting_gives_the_same_loss_under_every_prediction(path, prediction):
    """Except "none", which leaves each prediction's own error alone, a loss depends on the estimate, not on the
    prediction: rectified flow, noise prediction and the rest differ in the weight of the times alone."""
    for weighting in set(WEIGHTINGS) - {"none"}:
        one, other = Objective(path, prediction, weighting), Objective(path, "x0", weighting)
        torch.testing.assert_close(estimates_loss(one, INSIDE), estimates_loss(other, INSIDE), rtol=1e-8, atol=1e-10)


@COMBINATIONS
def test_effective_weight_is_the_weight_of_the_clean_videos_error(path, prediction):
    x, _, estimate = data(len(INSIDE))
    error = (estimate - x).square().flatten(1).mean(1)
    for weighting in WEIGHTINGS:
        objective = Objective(path, prediction, weighting)
        torch.testing.assert_close(
            estimates_loss(objective, INSIDE), effective_weight(objective, INSIDE) * error, rtol=1e-8, atol=1e-10
        )


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "plain, weighted",
    [
        (("velocity", "none"), ("x0", "velocity")),
        (("velocity", "none"), ("noise", "velocity")),
        (("velocity", "none"), ("velocity", "velocity")),
        (("noise", "none"), ("x0", "snr")),
        (("noise", "none"), ("velocity", "snr")),
        (("edm", "none"), ("x0", "edm")),
        (("edm", "none"), ("edm", "edm")),
    ],
)
def test_named_weightings_are_the_plain_losses_of_other_predictions(plain, weighted, path):
    one, other = (Objective(path, *names) for names in (plain, weighted))
    # "velocity" stops at 400, and away from the ends no path gets there
    torch.testing.assert_close(estimates_loss(one, INSIDE), estimates_loss(other, INSIDE), rtol=1e-8, atol=1e-10)


def test_plain_losses_have_unit_weight():
    t = torch.tensor([0.0, 0.3, 1.0])
    for path, prediction in itertools.product(PATHS, ROWS):
        assert Objective(path, prediction).weight(t).tolist() == [1, 1, 1]
    torch.testing.assert_close(Objective("linear", "noise", "snr").weight(t), torch.ones(3), rtol=1e-4, atol=0)
    torch.testing.assert_close(Objective("linear", "edm", "edm").weight(t), torch.ones(3), rtol=1e-4, atol=0)


def test_velocity_weight_stops_before_it_is_infinite():
    objective = Objective("linear", "x0", "velocity")
    t = torch.tensor([0.0, 0.01, 0.049, 0.051, 0.1, 0.5, 0.999])
    expected = [400, 400, 400, 1 / 0.051**2, 100, 4, 1 / 0.999**2]  # 1 / t^2, at most 1 / 0.05^2 (2511.13720)
    assert objective.weight(t).tolist() == pytest.approx(expected, rel=1e-4)


# ---------------------------------------------------------------- times

U = torch.linspace(0.002, 0.998, 997, dtype=torch.float64)


def density_at(objective: Objective, u: torch.Tensor) -> torch.Tensor:
    """The density of draw_times at draw_times(u): 1 / |dt/du|, by finite differences."""
    step = 1e-6
    return 2 * step / (objective.draw_times(u + step) - objective.draw_times(u - step)).abs()


def test_uniform_times():
    t = Objective(time="uniform").draw_times(U)
    torch.testing.assert_close(t, U)
    assert Objective(time="uniform").draw_times(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([T_MIN, T_MAX])


def test_logit_normal_times_have_the_normals_quantiles():
    t = Objective(time="logit-normal").draw_times(U)
    expected = torch.tensor([1 / (1 + math.exp(-NormalDist().inv_cdf(u))) for u in U.tolist()], dtype=torch.float64)
    torch.testing.assert_close(t, expected, rtol=0, atol=1e-9)
    assert float(t[len(t) // 2]) == pytest.approx(0.5)
    # 2403.03206, eq. 19, with location 0 and scale 1
    pdf = (-((t / (1 - t)).log() ** 2) / 2).exp() / (math.sqrt(2 * math.pi) * t * (1 - t))
    torch.testing.assert_close(density_at(Objective(time="logit-normal"), U), pdf, rtol=1e-4, atol=0)


def test_jits_times_have_the_papers_quantiles():
    """2511.13720 draws the logit of its t, where 1 is data, from N(-0.8, 0.8^2)."""
    t = Objective(time="jit").draw_times(U)
    expected = torch.tensor([1 / (1 + math.exp(NormalDist(-0.8, 0.8).inv_cdf(1 - u))) for u in U.tolist()])
    torch.testing.assert_close(t, expected.double(), rtol=0, atol=1e-6)


def test_cosmap_times_have_their_density():
    t = Objective(time="cosmap").draw_times(U)
    pdf = 2 / (math.pi - 2 * math.pi * t + 2 * math.pi * t**2)  # 2403.03206, eq. 21 and below
    torch.testing.assert_close(density_at(Objective(time="cosmap"), U), pdf, rtol=1e-4, atol=0)
    # t / (1 - t) = tan(pi u / 2): log-SNR follows the cosine schedule
    torch.testing.assert_close(t / (1 - t), (math.pi / 2 * U).tan(), rtol=1e-8, atol=1e-8)


def test_mode_times_have_their_density():
    t = Objective(time="mode").draw_times(U)
    assert (t.diff() < 0).all()  # the paper's map falls with u: one to one, so it has a density
    assert float(t[len(t) // 2]) == pytest.approx(0.5)
    torch.testing.assert_close(t + t.flip(0), torch.ones_like(t))  # symmetric about the middle
    slope = 1 + MODE_SCALE - MODE_SCALE * math.pi / 2 * (math.pi * U).sin()  # -dt/du of 2403.03206, eq. 20
    torch.testing.assert_close(density_at(Objective(time="mode"), U), 1 / slope, rtol=1e-4, atol=0)


@pytest.mark.parametrize("path", PATHS)
def test_edm_times_have_a_log_normal_noise_level(path):
    u = torch.linspace(0.05, 0.95, 50, dtype=torch.float64)
    log_level = -PATHS[path].log_snr(Objective(path, time="edm").draw_times(u)) / 2
    expected = torch.tensor([NormalDist(-1.2, 1.2).inv_cdf(value) for value in u.tolist()], dtype=torch.float64)
    torch.testing.assert_close(log_level, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("time", TIME_DENSITIES)
def test_float32_times_agree_with_float64(time):
    objective = Objective(time=time, shift=3.0)
    u = torch.rand(1000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(objective.draw_times(u).double(), objective.draw_times(u.double()), rtol=0, atol=2e-5)


def test_shift_is_equation_23():
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    for shift in (0.3, 1.0, math.sqrt(64 / 16), 6.0):
        shifted = shift_time(t, shift)
        torch.testing.assert_close(shifted, shift * t / (1 + (shift - 1) * t))
        assert shifted[0] == 0 and float(shifted[-1]) == pytest.approx(1) and (shifted.diff() > 0).all()
        # what it is for: sigma / alpha of the linear path grows by the factor (2403.03206, section 5.3.2)
        inner = shifted[1:-1]
        torch.testing.assert_close(inner / (1 - inner), shift * t[1:-1] / (1 - t[1:-1]))
        torch.testing.assert_close(shift_time(shifted, 1 / shift), t)
    assert float(shift_time(torch.tensor(0.5), 3.0)) == pytest.approx(0.75)


@pytest.mark.parametrize("time", TIME_DENSITIES)
def test_drawn_times_are_shifted(time):
    plain, shifted = Objective(time=time), Objective(time=time, shift=3.0)
    u = torch.linspace(0.1, 0.9, 81, dtype=torch.float64)
    torch.testing.assert_close(shifted.draw_times(u), shift_time(plain.draw_times(u), 3.0), rtol=0, atol=1e-9)


# ---------------------------------------------------------------- names


def test_presets_are_the_published_systems():
    assert PRESETS["sit"] == Objective("linear", "velocity", "none", "uniform")
    assert PRESETS["sd3"] == replace(PRESETS["sit"], time="logit-normal")
    assert PRESETS["ddpm"] == Objective("vp", "noise", "none", "uniform")
    assert PRESETS["jit"] == Objective("linear", "x0", "velocity", "jit")
    assert PRESETS["v"] == Objective("gvp", "v", "none", "uniform")
    assert PRESETS["min-snr"] == replace(PRESETS["ddpm"], weighting="min-snr")
    assert all(preset.shift == 1 for name, preset in PRESETS.items() if name != "toy")


@pytest.mark.parametrize("part", ["path", "prediction", "weighting", "time"])
def test_unknown_names_are_refused_with_the_known_ones(part):
    with pytest.raises(ValueError, match=f"{part} 'wrong' is not one of .*{getattr(Objective(), part)}"):
        Objective(**{part: "wrong"})


@pytest.mark.parametrize("shift", [0, -1.0])
def test_shift_is_positive(shift):
    with pytest.raises(ValueError, match="above 0"):
        Objective(shift=shift)
