"""Clips of different shapes in one sequence: each comes out, and teaches, as if it had been alone."""

import pytest
import torch
from torch import nn

from lite_sora.denoisers.dit import DenoiserConfig, DiT
from lite_sora.denoisers.packed import packed, packed_loss
from lite_sora.denoisers.sit import SiT, SiTConfig
from lite_sora.denoisers.uvit import UViT, UViTConfig
from lite_sora.diffusion.presets import PRESETS
from lite_sora.text.encoder import Text

SHAPES = [(4, 16, 16), (2, 24, 8), (6, 8, 16), (4, 16, 16), (2, 8, 8)]
WORDS = [5, 2, 3, 1, 4]
DENOISERS = {
    "dit": (DiT, DenoiserConfig),
    "sit": (SiT, SiTConfig),
    "uvit": (UViT, UViTConfig),
}


def built(name: str, **options) -> nn.Module:
    torch.manual_seed(0)
    kind, config = DENOISERS[name]
    denoiser = kind(config(patch=(2, 8, 8), width=24, heads=2, text_width=16, **options))
    for weight in denoiser.parameters():  # none at zero: what is closed at first would hide a mistake
        nn.init.normal_(weight, std=0.1)
    return denoiser


def clips(levels: bool) -> tuple[list, list, list, Text]:
    torch.manual_seed(1)
    videos, noise = ([torch.randn(3, *shape) for shape in SHAPES] for _ in range(2))
    times = [torch.rand(()) for _ in SHAPES]
    if levels:
        times[1], times[2] = torch.rand(SHAPES[1][0]), torch.rand(SHAPES[2][0])
    mask = torch.arange(max(WORDS)) < torch.tensor(WORDS)[:, None]
    return videos, noise, times, Text(torch.randn(len(SHAPES), max(WORDS), 16), mask, torch.randn(len(SHAPES), 16))


def alone(text: Text, index: int) -> Text:
    """One caption, with its padding."""
    return Text(*(part[index : index + 1] for part in (text.tokens, text.mask, text.pooled)))


@pytest.mark.parametrize("levels", [False, True], ids=["one level", "by the frame"])
@pytest.mark.parametrize("rope", [True, False])
@pytest.mark.parametrize("name", DENOISERS)
def test_each_clip_comes_out_as_if_it_were_alone(name, rope, levels):
    denoiser, (videos, _, times, text) = built(name, rope=rope, frame_levels=True), clips(levels)
    together = packed(denoiser, videos, times, text)
    for index, (x, t) in enumerate(zip(videos, times, strict=True)):
        expected = denoiser(x[None], t[None], alone(text, index))[0]
        assert together[index].shape == x.shape and expected.std() > 0.01
        torch.testing.assert_close(together[index], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("objective", ["toy", "edm"])
@pytest.mark.parametrize("name", DENOISERS)
def test_losses_and_gradients_are_those_of_each_clip(name, objective):
    denoiser, objective = built(name, frame_levels=True), PRESETS[objective]
    videos, noise, times, text = clips(levels=True)
    losses = packed_loss(objective, denoiser, videos, noise, times, text)
    losses.sum().backward()
    together = [weight.grad.clone() for weight in denoiser.parameters() if weight.grad is not None]
    denoiser.zero_grad()
    for index, (x, e, t) in enumerate(zip(videos, noise, times, strict=True)):
        words = alone(text, index)
        loss = objective.loss(lambda x_t, t, words=words: denoiser(x_t, t, words), x[None], e[None], t[None])
        torch.testing.assert_close(losses[index], loss[0], rtol=1e-5, atol=1e-5)
        loss.sum().backward()
    apart = [weight.grad for weight in denoiser.parameters() if weight.grad is not None]
    for one, other in zip(together, apart, strict=True):
        assert (one - other).abs().max() <= 1e-5 * max(1, other.abs().max())


def test_a_clip_sees_nothing_of_the_others():
    denoiser, (videos, _, times, text) = built("dit"), clips(levels=False)
    before = packed(denoiser, videos, times, text)
    text.tokens[1:], text.pooled[1:] = 0, 0
    after = packed(denoiser, [videos[0], *(torch.zeros_like(x) for x in videos[1:])], times, text)
    torch.testing.assert_close(after[0], before[0])
    assert not torch.allclose(after[1], before[1])
