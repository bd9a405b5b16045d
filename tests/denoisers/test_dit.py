"""DiT and its layers: patches, positions, any size, and captions that are padded."""

import pytest
import torch
from torch.nn import functional as F

from lite_sora.denoisers.dit import SIZES, DenoiserConfig, DiT
from lite_sora.layers.attention import Attention
from lite_sora.layers.blocks import TimeEmbedding
from lite_sora.layers.patches import modulate, patchify, positions_3d, rotate, rotations_3d, sincos, unpatchify
from lite_sora.text.encoder import Text


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def text(batch: int, words: int, width: int = 24, seed: int = 0) -> Text:
    return Text(
        random(batch, words, width, seed=seed),
        torch.ones(batch, words, dtype=torch.bool),
        random(batch, width, seed=seed),
    )


def trained(**changes) -> DiT:
    """A tiny DiT in which nothing is zero any more, as after training."""
    torch.manual_seed(0)
    model = DiT(
        DenoiserConfig(**({"patch": (2, 8, 8), "width": 48, "depth": 2, "heads": 2, "text_width": 24} | changes))
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


# ---------------------------------------------------------------- patches


@pytest.mark.parametrize("patch", [(1, 1, 1), (2, 8, 8), (4, 4, 8), (1, 16, 2), (4, 16, 24)])
def test_unpatchify_inverts_patchify(patch):
    video = random(2, 3, 4, 16, 24)
    tokens = patchify(video, patch)
    assert tokens.shape == (
        2,
        3 * 4 * 16 * 24 // (3 * patch[0] * patch[1] * patch[2]),
        3 * patch[0] * patch[1] * patch[2],
    )
    assert torch.equal(unpatchify(tokens, patch, video.shape[2:]), video)


def test_tokens_are_ordered_by_time_then_row_then_column():
    t, y, x = torch.meshgrid(torch.arange(4), torch.arange(6), torch.arange(8), indexing="ij")
    video = torch.stack([t, y, x])[None].float()  # each pixel says where it is
    tokens = patchify(video, (2, 3, 4)).reshape(8, 3, 2, 3, 4)
    corners = tokens[:, :, 0, 0, 0].int().tolist()  # where each patch begins
    assert corners == [[t, y, x] for t in (0, 2) for y in (0, 3) for x in (0, 4)]
    assert torch.equal(
        tokens[7], video[0, :, 2:, 3:, 4:]
    )  # and a patch keeps its own order: channel, time, row, column


@pytest.mark.parametrize("shape", [(3, 16, 16), (4, 20, 16), (4, 16, 20)])
def test_patches_that_do_not_divide_are_a_clear_error(shape):
    t, h, w = shape
    with pytest.raises(ValueError, match=rf"{t} frames, {h}×{w}, .* 2×8×8; choose --frames, .* that do$"):
        trained()(random(1, 3, *shape), torch.tensor([0.5]), text(1, 3))


# ---------------------------------------------------------------- positions


def test_every_token_has_a_position_of_its_own():
    for positions in (positions_3d((4, 8, 8), 128), rotations_3d((4, 8, 8), 32)):
        distance = torch.cdist(positions, positions) + 9 * torch.eye(len(positions))
        assert distance.min() > 0.1


def test_positions_of_a_larger_grid_contain_those_of_a_smaller():
    small, large = (positions_3d(grid, 60).reshape(*grid, 60) for grid in ((2, 3, 4), (8, 5, 9)))
    assert torch.equal(large[:2, :3, :4], small)
    small, large = (rotations_3d(grid, 32).reshape(*grid, 32) for grid in ((2, 3, 4), (8, 5, 9)))
    assert torch.equal(large[:2, :3, :4], small)


@pytest.mark.parametrize("width", [48, 64, 72, 128, 130, 384, 1152])
def test_positions_fill_any_width(width):
    assert positions_3d((2, 2, 2), width).shape == (8, width)
    assert rotations_3d((2, 2, 2), width, others=3).shape == (11, width)


def test_rotary_attention_sees_how_far_apart_tokens_are_and_nothing_else():
    grid = (3, 4, 5)
    rotation = rotations_3d(grid, 32).reshape(*grid, 32)
    query, key = random(2, 32)

    def score(one, other):
        return float(rotate(query[None], rotation[one][None])[0] @ rotate(key[None], rotation[other][None])[0])

    assert score((0, 0, 0), (1, 2, 3)) == pytest.approx(score((1, 1, 1), (2, 3, 4)), abs=1e-4)
    assert score((2, 0, 4), (2, 3, 0)) == pytest.approx(score((0, 0, 4), (0, 3, 0)), abs=1e-4)
    scores = [score((0, 0, 0), place) for place in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2, 0, 0))]
    assert min(abs(a - b) for i, a in enumerate(scores) for b in scores[:i]) > 1e-3


def test_rotations_leave_words_and_lengths_alone():
    rotation = rotations_3d((2, 2, 2), 32, others=5)
    h = random(13, 32)
    turned = rotate(h, rotation)
    assert torch.equal(turned[8:], h[8:])
    torch.testing.assert_close(turned.norm(dim=-1), h.norm(dim=-1))
    assert (turned[1:8] - h[1:8]).abs().amax(1).min() > 0.1


def test_sincos():
    values = torch.tensor([0.0, 1.0, 5.0])
    embedded = sincos(values, 6, longest=100.0)
    frequencies = [1, 100 ** (-1 / 3), 100 ** (-2 / 3)]
    for row, value in zip(embedded, values, strict=True):
        angles = torch.tensor([float(value) * frequency for frequency in frequencies])
        torch.testing.assert_close(row, torch.cat([angles.cos(), angles.sin()]))
    assert sincos(values, 7).shape == (3, 7)


def test_times_that_differ_are_told_apart():
    times = TimeEmbedding(32).mlp[0]
    embedded = sincos(1000 * torch.tensor([0.0, 0.001, 0.5, 0.501, 1.0]), times.in_features)
    distance = torch.cdist(embedded, embedded) + 9 * torch.eye(5)
    assert distance.min() > 1


# ---------------------------------------------------------------- attention


@pytest.mark.parametrize("qk_norm", [False, True])
def test_attention_is_the_textbooks(qk_norm):
    torch.manual_seed(0)
    layer, h = Attention(12, heads=3, qk_norm=qk_norm), random(2, 5, 12)
    mask = torch.tensor([[True] * 5, [True, True, False, True, False]])
    q, k, v = layer.qkv(h).chunk(3, dim=-1)
    heads = []
    for part in range(3):
        one = slice(4 * part, 4 * part + 4)
        score = layer.q_norm(q[..., one]) @ layer.k_norm(k[..., one]).transpose(1, 2) / 2  # / sqrt(4)
        heads.append(score.masked_fill(~mask[:, None], -torch.inf).softmax(-1) @ v[..., one])
    torch.testing.assert_close(layer(h, mask[:, None, None]), layer.out(torch.cat(heads, dim=-1)), rtol=1e-4, atol=1e-6)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="width 50 does not divide by 4 heads"):
        Attention(50, 4)


def test_modulate():
    h, shift, scale = random(2, 3, 4), random(2, 1, 4, seed=1), random(2, 1, 4, seed=2)
    torch.testing.assert_close(modulate(h, shift, scale), h * (1 + scale) + shift)


# ---------------------------------------------------------------- the whole


@pytest.mark.parametrize("rope", [False, True])
def test_output_is_zero_at_first_and_every_block_the_identity(rope):
    torch.manual_seed(0)
    model = DiT(DenoiserConfig(rope=rope))
    x, words = random(2, 3, 4, 16, 16), text(2, 5, 128)
    assert torch.equal(model(x, torch.tensor([0.2, 0.9]), words), torch.zeros_like(x))
    h = random(2, 7, 128)
    for block in model.blocks:
        assert torch.equal(block(h, random(2, 1, 128), None, None, None), h)


def test_everything_learns():
    """After the first steps, that is: at first only the last layer has a gradient, the rest waits behind its zeros."""
    model = trained()
    x, noise = random(2, 3, 4, 16, 16), random(2, 3, 4, 16, 16, seed=1)
    words = text(2, 5)
    for tensor in (words.tokens, words.pooled):
        tensor.requires_grad_()
    F.mse_loss(model(x, torch.tensor([0.2, 0.9]), words), noise).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
    assert words.tokens.grad.abs().max() > 0 and words.pooled.grad.abs().max() > 0


@pytest.mark.parametrize("rope", [False, True])
@pytest.mark.parametrize("size", [(2, 8, 8), (4, 16, 16), (8, 32, 32), (4, 16, 48), (16, 24, 8)])
def test_any_size_and_length(size, rope):
    """One model: no parameter knows the size or the length of a video, or of a caption."""
    model = trained(rope=rope)
    x = random(2, 3, *size)
    for words in (1, 9):
        y = model(x, torch.tensor([0.2, 0.9]), text(2, words))
        assert y.shape == x.shape and y.isfinite().all() and y.std() > 0.01


@pytest.mark.parametrize("rope", [False, True])
def test_padding_of_captions_changes_nothing(rope):
    model, x, t = trained(rope=rope), random(2, 3, 4, 16, 16), torch.tensor([0.2, 0.9])
    plain = text(2, 5)
    padding = 100 * random(2, 4, 24, seed=5)  # whatever stands there
    padded = Text(torch.cat([plain.tokens, padding], 1), F.pad(plain.mask, (0, 4), value=False), plain.pooled)
    torch.testing.assert_close(model(x, t, padded), model(x, t, plain), rtol=0, atol=1e-5)
    seen = Text(padded.tokens, torch.ones_like(padded.mask), plain.pooled)  # the same where it is no padding
    assert not torch.allclose(model(x, t, seen), model(x, t, plain), atol=1e-3)


def test_every_input_counts():
    """Each of video, time, words and pooled caption changes the output, and each token sees every other."""
    model = trained()
    x, t, words = random(1, 3, 4, 16, 16), torch.tensor([0.5]), text(1, 5)
    y = model(x, t, words)
    other = text(1, 5, seed=3)
    assert not torch.allclose(model(x, t + 0.01, words), y, atol=1e-4)
    assert not torch.allclose(model(x, t, Text(other.tokens, words.mask, words.pooled)), y, atol=1e-4)
    assert not torch.allclose(model(x, t, Text(words.tokens, words.mask, other.pooled)), y, atol=1e-4)
    changed = x.clone()
    changed[:, :, :2, :8, :8] += 1  # the first patch
    difference = patchify(model(changed, t, words) - y, (2, 8, 8)).abs().amax(-1)  # (1, N)
    assert difference.min() > 1e-5


def test_order_of_the_patches_counts():
    """Without positions a transformer could not tell a video from the same patches in another order."""
    for rope in (False, True):
        model, x, t, words = trained(rope=rope), random(1, 3, 4, 16, 16), torch.tensor([0.5]), text(1, 5)
        for axis in (2, 3, 4):
            half = x.shape[axis] // 2
            swapped = model(x.roll(half, axis), t, words).roll(half, axis)
            assert not torch.allclose(swapped, model(x, t, words), atol=1e-3)


def test_samples_of_a_batch_know_nothing_of_one_another():
    model, x, t, words = trained(), random(3, 3, 4, 16, 16), torch.tensor([0.1, 0.5, 0.9]), text(3, 5)
    together = model(x, t, words)
    for i in range(3):
        one = slice(i, i + 1)
        alone = model(x[one], t[one], Text(words.tokens[one], words.mask[one], words.pooled[one]))
        torch.testing.assert_close(together[one], alone, rtol=0, atol=1e-5)


def test_sizes_of_the_paper():
    """Table 1 of 2212.09748; the block is 18 width^2 large: attention 4, feed-forward 8, modulation 6."""
    assert {name: tuple(SIZES[name].values()) for name in ("S", "B", "L", "XL")} == {
        "S": (384, 12, 6),
        "B": (768, 12, 12),
        "L": (1024, 24, 16),
        "XL": (1152, 28, 16),
    }
    for name, size in SIZES.items():
        with torch.device("meta"):
            model = DiT(DenoiserConfig(**size))
        width, depth = size["width"], size["depth"]
        assert len(model.blocks) == depth
        weights = sum(parameter.numel() for parameter in model.blocks.parameters())
        assert weights == pytest.approx(18 * width**2 * depth, rel=0.01), name
