"""Losses against what they are defined as."""

import sys
from functools import partial
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch

from lite_sora.autoencoders.discriminator import PatchDiscriminator
from lite_sora.autoencoders.losses import adaptive_weight, gradient, hinge, l1, make_perceptual, psnr, ssim


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def ssim_of_a_picture(x: np.ndarray, y: np.ndarray, size: int) -> float:
    """Wang et al. 2004, equation 13, window by window, on pictures (H, W) in [0, 1]."""
    distance = np.arange(size) - size // 2
    weights = np.exp(-(distance[:, None] ** 2 + distance**2) / (2 * 1.5**2))
    weights, values = weights / weights.sum(), []
    for i in range(x.shape[0] - size + 1):
        for j in range(x.shape[1] - size + 1):
            a, b = x[i : i + size, j : j + size], y[i : i + size, j : j + size]
            mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
            variance_a, variance_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
            together = (weights * (a - mean_a) * (b - mean_b)).sum()
            top = (2 * mean_a * mean_b + 0.01**2) * (2 * together + 0.03**2)
            values.append(top / ((mean_a**2 + mean_b**2 + 0.01**2) * (variance_a + variance_b + 0.03**2)))
    return float(np.mean(values))


@pytest.mark.parametrize("side, size", [(16, 11), (8, 7), (5, 5)])
def test_ssim_is_its_definition(side, size):
    x, y = random(2, 3, 2, side, side + 1), random(2, 3, 2, side, side + 1, seed=1)
    y = (x + 0.4 * y).clamp(-1, 1)
    pictures = [(v.double().numpy() + 1) / 2 for v in (x, y)]
    each = [
        np.mean([ssim_of_a_picture(*(p[b, c, t] for p in pictures), size) for c in range(3) for t in range(2)])
        for b in range(2)
    ]
    torch.testing.assert_close(ssim(x, y), torch.tensor(each).float(), rtol=0, atol=1e-4)
    torch.testing.assert_close(ssim(x, x), torch.ones(2))


def test_psnr_of_a_known_error():
    x = torch.zeros(2, 3, 2, 4, 4)
    y = torch.stack([x[0] + 0.2, x[1] + 5])  # what is out of range is clipped to 1
    torch.testing.assert_close(psnr(x, y), torch.tensor([20.0, 10 * np.log10(4)]).float())


def test_the_gradient_loss_sees_edges_and_not_brightness():
    x = random(2, 3, 2, 16, 16)
    assert gradient(x, x + 0.5).max() < 1e-5
    edge = torch.zeros_like(x)
    edge[..., 8:] = 1
    blurred = torch.nn.functional.avg_pool3d(edge, (1, 1, 5), 1, padding=(0, 0, 2))
    assert gradient(edge, blurred).min() > 0.05
    torch.testing.assert_close(gradient(x, torch.zeros_like(x), scales=1), _differences(x))


def _differences(x):
    across = (x[..., 1:] - x[..., :-1]).abs().mean((1, 2, 3, 4))
    return across + (x[..., 1:, :] - x[..., :-1, :]).abs().mean((1, 2, 3, 4))


def test_hinge_is_zero_where_the_discriminator_is_sure():
    sure, wrong = torch.full((2, 1, 2, 2, 2), 1.5), torch.full((2, 1, 2, 2, 2), -1.5)
    assert torch.equal(hinge(sure, wrong), torch.zeros(2))
    assert torch.equal(hinge(wrong, sure), torch.full((2,), 2.5))


def test_the_adaptive_weight_makes_both_losses_pull_alike():
    weight = torch.nn.Parameter(random(3, 4))
    x = random(4, 5, seed=1)
    one, other = (weight @ x).square().mean(), 100 * (weight @ x).abs().mean()
    balance = adaptive_weight(one, other, weight)
    (a,), (b,) = (torch.autograd.grad(loss, weight, retain_graph=True) for loss in (one, balance * other))
    torch.testing.assert_close(a.norm(), b.norm(), rtol=1e-3, atol=0)
    assert not balance.requires_grad


def test_the_discriminator_judges_patches_and_each_video_by_itself():
    network = PatchDiscriminator(channels=8)
    x = random(2, 3, 9, 32, 32)
    logits = network(x)
    assert logits.shape == (2, 1, 3, 4, 4)
    torch.testing.assert_close(network(x[:1]), logits[:1], rtol=0, atol=1e-5)
    assert network(x[:, :, :1]).shape == (2, 1, 1, 4, 4)  # images too


def test_perceptual_losses_by_name():
    x, y = random(2, 3, 2, 16, 16), random(2, 3, 2, 16, 16, seed=1)
    torch.testing.assert_close(make_perceptual("ssim")(x, y), 1 - ssim(x, y))
    assert torch.equal(make_perceptual("none")(x, y), torch.zeros(2))
    assert torch.equal(make_perceptual("gradient")(x, y), gradient(x, y))


def test_lpips_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(ValueError, match="pip install lpips"):
        make_perceptual("lpips")


def test_lpips_without_a_network_says_what_it_is_needed_for(monkeypatch):
    def offline(net, verbose):
        raise URLError("no connection")

    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=offline))
    with pytest.raises(ValueError, match="a network to fetch VGG's weights .*no connection"):
        make_perceptual("lpips")


def test_lpips_sees_frames_and_averages_over_them(monkeypatch):
    class Difference(torch.nn.Module):  # in its place: (N, 3, H, W) twice → (N, 1, 1, 1)
        def forward(self, x, y):
            return (x - y).abs().mean((1, 2, 3), keepdim=True)

    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=lambda net, verbose: Difference()))
    x, y = random(2, 3, 5, 8, 8), random(2, 3, 5, 8, 8, seed=1)
    torch.testing.assert_close(make_perceptual("lpips")(x, y), l1(x, y))


def test_lpips_itself(monkeypatch):
    lpips = pytest.importorskip("lpips", reason="needs lpips and torchvision, see tests/optional.txt")
    monkeypatch.setattr(lpips, "LPIPS", partial(lpips.LPIPS, pnet_rand=True))  # VGG's weights would be fetched
    x, y = random(2, 3, 3, 16, 16), random(2, 3, 3, 16, 16, seed=1)
    distance = make_perceptual("lpips")
    assert (distance(x, y) > 0).all() and distance(x, x).abs().max() == 0
    frames = torch.stack([distance(x[:, :, t : t + 1], y[:, :, t : t + 1]) for t in range(3)])
    torch.testing.assert_close(distance(x, y), frames.mean(0))
