"""How published networks count time: our t, their t, and the same noise level on both sides."""

import math
from functools import partial

import pytest
import torch
from devices import mps_without_values

from lite_sora.diffusion.choices import GRIDS, SAMPLERS
from lite_sora.diffusion.objective import Objective
from lite_sora.diffusion.path import PATHS
from lite_sora.published.conventions import discrete_log_snr, first_time, network_time, speaking


def test_discrete_noise_levels_are_the_papers():
    """DDPM ends at alpha^2 = 4.04e-5; latent diffusion at a log-SNR that its users know: alpha^2 = 0.0047."""
    last = {name: discrete_log_snr(name)[-1].sigmoid().item() for name in ("ddpm", "latent-diffusion")}
    assert last["ddpm"] == pytest.approx(4.04e-5, rel=0.01)
    assert last["latent-diffusion"] == pytest.approx(0.0047, rel=0.02)
    for name in last:
        assert (discrete_log_snr(name).diff() < 0).all()


@pytest.mark.parametrize(("convention", "first"), [("ddpm", 0), ("latent-diffusion", 1)])
def test_steps_are_found_at_their_noise_levels(convention, first):
    known = discrete_log_snr(convention)
    steps = torch.arange(1000, dtype=torch.float64)
    torch.testing.assert_close(network_time(convention, known), steps + first, rtol=0, atol=1e-6)
    between = network_time(convention, (known[:-1] + known[1:]) / 2)
    assert (between > steps[:-1] + first).all() and (between < steps[1:] + first).all()
    beyond = network_time(convention, torch.tensor([99.0, -99.0]))
    assert beyond.tolist() == [first, 999 + first]


def test_the_continuous_ddpm_is_nearly_the_discrete_one():
    """Our vp at t and DDPM's step 1000 t - 1 are the same to a few steps of a thousand (2011.13456, appendix C)."""
    t = torch.linspace(0.05, 0.95, 10)
    torch.testing.assert_close(network_time("ddpm", PATHS["vp"].log_snr(t)), 1000 * t - 1, rtol=0, atol=4)
    torch.testing.assert_close(network_time("vp", PATHS["vp"].log_snr(t)), 999 * t, rtol=0, atol=0.01)


@pytest.mark.parametrize("path", list(PATHS))
@pytest.mark.parametrize("convention", ["ddpm", "latent-diffusion", "vp"])
def test_on_any_path_the_network_sees_the_x_t_that_it_knows(convention, path):
    """A network that knows the clean video finds the noise, if what it is shown is of its own size and level."""
    x, noise = torch.randn(2, 4, 1, 2, 2), torch.randn(2, 4, 1, 2, 2)
    seen = []

    def network(x_t, t):
        seen.append((x_t, t))
        return torch.cat([noise, noise], dim=1)  # the second half is a variance

    t = torch.tensor([0.3, 0.7])
    found = speaking(convention, network, PATHS[path])(PATHS[path].mix(x, noise, t), t)
    assert torch.equal(found, noise)
    log_snr = PATHS[path].log_snr(t)
    alpha, sigma = log_snr.sigmoid().sqrt(), (-log_snr).sigmoid().sqrt()
    torch.testing.assert_close(seen[0][0], alpha.view(2, 1, 1, 1, 1) * x + sigma.view(2, 1, 1, 1, 1) * noise)
    torch.testing.assert_close(seen[0][1], network_time(convention, log_snr))


def test_sit_runs_backwards():
    x, noise, t = torch.ones(1, 2, 1, 2, 2), torch.zeros(1, 2, 1, 2, 2), torch.tensor([0.25])
    times = []

    def network(x_t, t):
        times.append(t.item())
        return x - noise  # SiT's velocity: towards data

    assert torch.equal(speaking("sit", network, PATHS["linear"])(x, t), noise - x)
    assert times == [0.75]
    with pytest.raises(ValueError, match="path linear, not of vp"):
        speaking("sit", network, PATHS["vp"])


# ---------------------------------------------------------------- the first time of a sampler

MEAN, SPREAD = 1.0, 0.5


def exact_network(convention: str, times: list[float]):
    """The expected noise of data N(MEAN, SPREAD^2), by the network's own steps, which it appends to `times`."""
    known = discrete_log_snr(convention)

    def network(x_t, t):
        times.append(float(t[0]))
        step = t.double() - (1 if convention == "latent-diffusion" else 0)
        low = step.floor().long().clamp(max=998)
        log_snr = known[low] + (step - low) * (known[low + 1] - known[low])
        alpha, sigma = (value.sqrt().float()[:, None] for value in (log_snr.sigmoid(), (-log_snr).sigmoid()))
        return sigma * (x_t - alpha * MEAN) / (alpha**2 * SPREAD**2 + sigma**2)

    return network


def sampled_mean(sampler: str, grid: str, steps: int, start: float, times: list[float]) -> float:
    path = PATHS["vp"]
    quantiles = (torch.arange(1000) + 0.5) / 1000
    x = math.sqrt(2) * torch.erfinv(2 * quantiles - 1)[:, None]
    network = speaking("latent-diffusion", exact_network("latent-diffusion", times), path)
    denoise = partial(Objective("vp", "noise").x_and_noise, network)
    return float(SAMPLERS[sampler](denoise, x, start * GRIDS[grid](steps, path, 1.0), path, None).mean())


@pytest.mark.parametrize(
    ("sampler", "grid", "steps"), [("ddim", "uniform", 50), ("heun", "uniform", 50), ("dpm++2m", "karras", 20)]
)
def test_a_grid_that_starts_at_the_last_level_wastes_no_step(sampler, grid, steps):
    """From t = 1 the network is evaluated at its last step again and again, and the mean comes out 1.04 to 1.06.
    From its own last level it is 0.965: N(0, 1) lacks the signal, alpha = 0.068, that is left in x_t there."""
    from_noise, from_last = [], []
    error_from_noise = abs(sampled_mean(sampler, grid, steps, 1.0, from_noise) - MEAN)
    error = abs(sampled_mean(sampler, grid, steps, first_time("latent-diffusion", PATHS["vp"]), from_last) - MEAN)
    assert error < 0.04 < error_from_noise
    assert from_last[0] == pytest.approx(1000, abs=0.01) and sum(time > 999.9 for time in from_last) == 1
    assert sum(time > 999.9 for time in from_noise) > steps / 6


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_the_first_time_has_the_log_snr_of_the_last_level(path):
    for convention in ("ddpm", "latent-diffusion"):
        last, first = discrete_log_snr(convention)[-1], first_time(convention, path)
        end = torch.ones((), dtype=torch.float64)
        reached = path.log_snr(end) < last
        assert (first < 1) == reached
        if reached:
            torch.testing.assert_close(path.log_snr(first * end), last)
    assert first_time("latent-diffusion", PATHS["vp"]) == pytest.approx(0.73, abs=0.001)
    assert first_time("ddpm", PATHS["vp"]) == first_time("vp", PATHS["vp"]) == first_time("sit", path) == 1
    assert first_time("vp", PATHS["linear"]) == pytest.approx(0.9935, abs=0.001)


# ---------------------------------------------------------------- what it costs, and where


@pytest.mark.parametrize("convention", ["ddpm", "latent-diffusion"])
def test_the_table_of_noise_levels_is_built_once(convention, monkeypatch):
    built, linspace = [], torch.linspace
    monkeypatch.setattr(torch, "linspace", lambda *args, **kwargs: built.append(args) or linspace(*args, **kwargs))
    for _ in range(3):
        network_time(convention, torch.tensor([0.0]))
    assert len(built) <= 1


@pytest.mark.parametrize("convention", ["ddpm", "latent-diffusion", "vp"])
def test_devices_without_float64(convention):
    discrete_log_snr("ddpm"), discrete_log_snr("latent-diffusion")  # real tables, whatever runs first
    with mps_without_values():
        log_snr = torch.empty(3, device="mps")
        t = network_time(convention, log_snr)
        assert t.device == log_snr.device and t.dtype == torch.float32 and t.shape == (3,)
