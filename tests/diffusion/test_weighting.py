"""Effective weightings: what is claimed of them by formula is found by drawing times, and by real losses."""

import itertools
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lite_sora.diffusion.objective import TIME_DENSITIES, Objective
from lite_sora.diffusion.path import PATHS
from lite_sora.diffusion.prediction import target
from lite_sora.diffusion.presets import PRESETS
from lite_sora.diffusion.weighting import effective_weight, effective_weighting, main, plot

EDGES = torch.linspace(-18, 18, 73, dtype=torch.float64)  # all that the clamps leave, in cells of 0.5
OTHERS = {
    f"{path}, {time}": Objective(path, "noise", "sigmoid", time, shift=2.0)
    for path, time in itertools.product(PATHS, TIME_DENSITIES)
}
EVERY = pytest.mark.parametrize("objective", [*PRESETS.values(), *OTHERS.values()], ids=[*PRESETS, *OTHERS])


def drawn_times(objective: Objective, count: int) -> torch.Tensor:
    u = torch.rand(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return objective.draw_times(u)


@EVERY
def test_it_is_the_weight_of_drawn_times(objective):
    """Monte Carlo: the weights of drawn times, summed by the cell of log-SNR that they fall into."""
    count = 100_000
    t = drawn_times(objective, count)
    cell = torch.bucketize(PATHS[objective.path].log_snr(t), EDGES) - 1
    assert cell.min() >= 0 and cell.max() < len(EDGES) - 1
    hits = torch.bincount(cell, minlength=len(EDGES) - 1)
    summed = torch.zeros(len(EDGES) - 1, dtype=torch.float64).index_add(0, cell, effective_weight(objective, t))
    fine = torch.linspace(-18, 18, 72 * 40 + 1, dtype=torch.float64)
    _, weight = effective_weighting(objective, fine)
    weight = weight.reshape(-1, 40).mean(1)  # over each cell
    enough = hits > 500
    assert enough.sum() > 8
    ratio = (summed / count / 0.5)[enough] / weight[enough]
    # 5 standard deviations of a count, and what the fine cells leave of the clamped times' exact place
    assert ((ratio - 1).abs() < 5 / hits[enough].sqrt() + 0.02).all()


@EVERY
def test_the_density_of_log_snr_is_one_in_all(objective):
    middles, weight = effective_weighting(objective, EDGES)
    density = weight / effective_weight(objective, PATHS[objective.path].time_at(middles))
    assert float((density * EDGES.diff()).sum()) == pytest.approx(1, abs=1e-9)


@EVERY
def test_it_predicts_the_loss_of_a_denoiser_whose_error_is_known(objective):
    """A denoiser whose clean video is off by 1 / sqrt(1 + SNR) everywhere, as the best one's is for normal data."""
    path = PATHS[objective.path]
    t = drawn_times(objective, 50_000)
    generator = torch.Generator().manual_seed(1)
    x, noise = torch.randn(2, len(t), 2, generator=generator, dtype=torch.float64)
    squared_error = torch.sigmoid(-path.log_snr(t))
    x_t = objective.noisy(x, noise, t)
    alpha, sigma = (value[:, None] for value in path.alpha_sigma(t))
    estimate = x + squared_error.sqrt()[:, None]
    output = target(path, objective.prediction, estimate, (x_t - alpha * estimate) / sigma, t)
    loss = objective.loss(lambda x_t, t: output, x, noise, t)

    edges = torch.linspace(-18, 18, 36 * 40 + 1, dtype=torch.float64)
    log_snr, weight = effective_weighting(objective, edges)
    expected = float((weight * torch.sigmoid(-log_snr) * edges.diff()).sum())
    chance = float(loss.std() / loss.mean()) / math.sqrt(len(t))
    assert float(loss.mean()) == pytest.approx(expected, rel=4 * chance + 0.005)


def assert_proportional(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one / one.mean(), other / other.mean(), rtol=2e-3, atol=0)


def test_known_forms():
    """The table of 2303.00848, of weights of the noise's error, and the density that it begins from."""
    edges = torch.linspace(-6, 6, 241, dtype=torch.float64)
    log_snr, _ = effective_weighting(Objective(), edges)

    def of_noise(objective):
        return effective_weighting(objective, edges)[1] / log_snr.exp()

    # flow matching: exp(-log_snr / 2)
    assert_proportional(of_noise(PRESETS["sit"]), (-log_snr / 2).exp())
    # the cosine schedule and the noise's plain loss: sech(log_snr / 2)
    assert_proportional(of_noise(Objective("gvp", "noise")), 1 / (log_snr / 2).cosh())
    # EDM: N(log_snr; 2.4, 2.4^2) (exp(-log_snr) + 0.5^2)
    normal = (-((log_snr - 2.4) ** 2) / (2 * 2.4**2)).exp()
    assert_proportional(of_noise(PRESETS["edm"]), normal * ((-log_snr).exp() + 0.25))
    # and whatever the path, as EDM's is the density of a noise level
    assert_proportional(of_noise(Objective("gvp", "edm", "edm", "edm")), of_noise(PRESETS["edm"]))


BELOW_THE_CLAMP = torch.linspace(-6, 5, 101, dtype=torch.float64)  # log-SNR below 5.9, where 1 / t^2 is 400


def test_objectives_that_differ_in_the_clamp_alone_have_one_curve():
    jit_at_sd3s_times = replace(PRESETS["jit"], time="logit-normal")
    (_, one), (_, other) = (effective_weighting(each, BELOW_THE_CLAMP) for each in (jit_at_sd3s_times, PRESETS["sd3"]))
    torch.testing.assert_close(one, other, rtol=1e-3, atol=0)


def test_jit_weighs_more_noise_than_sd3():
    """JiT draws log-SNR from N(-1.6, 1.6^2), SD3 from N(0, 2^2); both give 1 / t^2 to the clean video's error."""
    for name, mean, spread in (("jit", -1.6, 1.6), ("sd3", 0.0, 2.0)):
        log_snr, weight = effective_weighting(PRESETS[name], BELOW_THE_CLAMP)
        density = (-(((log_snr - mean) / spread) ** 2) / 2).exp() / (spread * math.sqrt(2 * math.pi))
        torch.testing.assert_close(weight, density * (1 + (log_snr / 2).exp()) ** 2, rtol=4e-3, atol=0)


def test_sigmoid_leaves_the_density_of_log_snr_in_the_weight():
    """2303.00848's w(log-SNR) is the whole weight of the noise's error. Here w is sigmoid(2 - log-SNR) times the
    density of log-SNR, so it has the paper's shape only where that density is even."""
    edges = torch.linspace(-6, 6, 241, dtype=torch.float64)
    for path in PATHS:
        log_snr, weight = effective_weighting(Objective(path, "noise", "sigmoid"), edges)
        times = PATHS[path].time_at(edges)
        density = -times.diff() / edges.diff()  # of uniform t
        shape = weight / log_snr.exp() / density
        torch.testing.assert_close(shape, torch.sigmoid(2 - log_snr), rtol=1e-3, atol=0)
        assert float(density.max() / density.min()) > 2


def test_picture(tmp_path):
    plot(tmp_path / "weighting.png")
    assert (tmp_path / "weighting.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_leaves_the_folder_that_it_is_run_in_as_it_was(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["weighting"])
    main()
    assert [str(path) for path in Path().rglob("*")] == ["out", "out/weighting.png"]
    assert capsys.readouterr().out == "out/weighting.png\n"
    monkeypatch.setattr(sys, "argv", ["weighting", "--out", "out/weighting.png/x.png"])
    with pytest.raises(SystemExit):
        main()
    assert "--out out/weighting.png/x.png: the folder out/weighting.png cannot be made" in capsys.readouterr().err
