"""How published networks count time: our t, their t, and the same noise level on both sides."""

import pytest
import torch

from lite_sora.diffusion.path import PATHS
from lite_sora.published.conventions import discrete_log_snr, network_time, speaking


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
