"""All denoisers and all their parts, one by one: what must hold for each of them."""

import pytest
import torch
from torch.nn import functional as F

from lite_sora.denoisers import find_denoiser
from lite_sora.denoisers.dit import DenoiserConfig, DiT
from lite_sora.denoisers.sit import SiT, SiTConfig, SiTVariant, SiTVariantConfig
from lite_sora.denoisers.variants import (
    CrossAttention,
    DiTVariant,
    VariantConfig,
    regroup,
    ungroup,
)
from lite_sora.layers.blocks import FeedForward
from lite_sora.layers.patches import patchify, positions_3d
from lite_sora.text.encoder import Text

VARIANTS = {
    "dit": ("dit", {}),
    "in-context": ("dit", {"conditioning": "in-context"}),
    "in-context, words read": ("dit", {"conditioning": "in-context", "words": "cross-attention"}),
    "cross-attention": ("dit", {"conditioning": "cross-attention", "words": "cross-attention"}),
    "adaln": ("dit", {"conditioning": "adaln"}),
    "words read": ("dit", {"words": "cross-attention"}),
    "no words": ("dit", {"words": "none"}),
    "mm-dit": ("dit", {"conditioning": "mm-dit"}),
    "factorised": ("dit", {"attention": "factorised", "words": "cross-attention"}),
    "windows": ("dit", {"attention": "windows", "window": (1, 2, 1)}),
    "shared adaln": ("dit", {"shared_adaln": True}),
    "swiglu": ("dit", {"mlp": "swiglu"}),
    "gelu-tanh": ("dit", {"mlp": "gelu-tanh"}),
    "rms": ("dit", {"norm": "rms"}),
    "no qk-norm": ("dit", {"qk_norm": False}),
    "no rope": ("dit", {"rope": False}),
    "sit": ("sit", {}),
    "uvit": ("uvit", {}),
    "uvit, add": ("uvit", {"skip": "add"}),
    "uvit, no skip": ("uvit", {"skip": "none"}),
    "uvit, no convolution": ("uvit", {"convolution": False}),
    "uvit, modern": ("uvit", {"mlp": "swiglu", "norm": "rms"}),
    "uvit, plain": ("uvit", {"qk_norm": False, "rope": False}),
}
each = pytest.mark.parametrize("name", list(VARIANTS))


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def text(batch: int, words: int, seed: int = 0) -> Text:
    return Text(
        random(batch, words, 24, seed=seed),
        torch.ones(batch, words, dtype=torch.bool),
        random(batch, 24, seed=seed),
    )


def tiny(name: str, **changes):
    """A tiny one, fresh."""
    kind, parts = VARIANTS[name]
    depth = 3 if kind == "uvit" else 2
    sizes = {"patch": (2, 8, 8), "width": 48, "depth": depth, "heads": 2, "text_width": 24}
    network, config = find_denoiser(kind, sizes | parts | changes)
    torch.manual_seed(0)
    return network(config)


def trained(name: str, **changes):
    """A tiny one in which nothing is zero any more, as after training."""
    model = tiny(name, **changes)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


@each
def test_everything_learns(name):
    model, words = trained(name), text(2, 5)
    for tensor in (words.tokens, words.pooled):
        tensor.requires_grad_()
    output = model(random(2, 3, 4, 16, 16), torch.tensor([0.2, 0.9]), words)
    F.mse_loss(output, random(2, 3, 4, 16, 16, seed=1)).backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, parameter_name
    assert name == "no words" or words.tokens.grad.abs().max() > 0
    assert name.startswith("uvit") or words.pooled.grad.abs().max() > 0


@each
def test_any_size_and_length(name):
    model = trained(name)
    for size in ((2, 8, 8), (4, 16, 48), (8, 24, 8)):
        x = random(2, 3, *size)
        y = model(x, torch.tensor([0.2, 0.9]), text(2, 7))
        assert y.shape == x.shape and y.isfinite().all() and y.std() > 0.01


@each
def test_padding_of_captions_changes_nothing(name):
    model, x, t, plain = trained(name), random(2, 3, 4, 16, 16), torch.tensor([0.2, 0.9]), text(2, 5)
    padding = 100 * random(2, 4, 24, seed=5)  # whatever stands there
    padded = Text(torch.cat([plain.tokens, padding], 1), F.pad(plain.mask, (0, 4), value=False), plain.pooled)
    torch.testing.assert_close(model(x, t, padded), model(x, t, plain), rtol=0, atol=1e-5)


@each
def test_every_input_counts_and_every_token_sees_every_other(name):
    model, x, t, words = trained(name), random(1, 3, 4, 16, 16), torch.tensor([0.5]), text(1, 5)
    y, other = model(x, t, words), text(1, 5, seed=3)
    assert not torch.allclose(model(x, t + 0.1, words), y, atol=1e-4)
    words_count = not torch.allclose(model(x, t, Text(other.tokens, words.mask, words.pooled)), y, atol=1e-4)
    pooled_counts = not torch.allclose(model(x, t, Text(words.tokens, words.mask, other.pooled)), y, atol=1e-4)
    assert words_count == (name != "no words") and pooled_counts == (not name.startswith("uvit"))
    changed = x.clone()
    changed[:, :, :2, :8, :8] += 1  # the first patch
    difference = patchify(model(changed, t, words) - y, (2, 8, 8)).abs().amax(-1)  # (1, N)
    assert difference.min() > 1e-6


@each
def test_samples_of_a_batch_know_nothing_of_one_another(name):
    model, x, t, words = trained(name), random(3, 3, 4, 16, 16), torch.tensor([0.1, 0.5, 0.9]), text(3, 5)
    alone = model(x[1:2], t[1:2], Text(words.tokens[1:2], words.mask[1:2], words.pooled[1:2]))
    torch.testing.assert_close(model(x, t, words)[1:2], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["dit", "words read", "no words", "mm-dit", "factorised", "shared adaln", "sit"])
def test_adaln_zero_starts_as_the_identity(name):
    """The gates are closed, so at first what comes out of the blocks is what went in; and the output is zero."""
    model, x = tiny(name), random(2, 3, 4, 16, 16)
    seen = []
    model.out.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    assert torch.equal(model(x, torch.tensor([0.2, 0.9]), text(2, 5)), torch.zeros_like(x))
    before = model.embed(patchify(x, (2, 8, 8))) + positions_3d((2, 2, 2), 48)
    torch.testing.assert_close(seen[0], model.norm(before))


def test_adaln_without_zero_does_not():
    model, seen = tiny("adaln"), []
    model.out.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = random(2, 3, 4, 16, 16)
    model(x, torch.tensor([0.2, 0.9]), text(2, 5))
    assert not torch.allclose(seen[0], model.norm(model.embed(patchify(x, (2, 8, 8)))), atol=0.1)


def test_factorised_blocks_attend_within_a_frame_and_within_a_place_in_turn():
    changed = random(1, 3, 4, 16, 16)
    x = changed.clone()
    changed[:, :, :2, :8, :8] += 1  # the patch at time 0, row 0, column 0
    reached = {}
    for depth in (1, 2):
        model = trained("factorised", depth=depth)
        y, z = (model(video, torch.tensor([0.5]), text(1, 5)) for video in (x, changed))
        reached[depth] = (patchify(y - z, (2, 8, 8)).abs().amax(-1) > 1e-6).reshape(2, 2, 2)  # (T', H', W')
    assert reached[1][0].all() and not reached[1][1].any()  # the first block: its own frame
    assert reached[2].all()


def test_windows_reach_their_neighbours_in_the_second_block():
    changed = random(1, 3, 2, 8, 48)
    x = changed.clone()
    changed[..., :8] += 1  # the first of six patches in a row
    reached = {}
    for depth in (1, 2):
        model = trained("windows", depth=depth, window=(1, 1, 2), words="none")
        y, z = (model(video, torch.tensor([0.5]), text(1, 5)) for video in (x, changed))
        reached[depth] = (patchify(y - z, (2, 8, 8)).abs().amax(-1) > 1e-6)[0].tolist()
    assert reached[1] == [True, True, False, False, False, False]
    assert reached[2] == [True, True, True, False, False, False]


@pytest.mark.parametrize("within", ["space", "time"])
def test_groups(within):
    h = random(2, 3 * 4 * 5, 6)
    groups = regroup(h, (3, 4, 5), within)
    assert groups.shape == ((6, 20, 6) if within == "space" else (40, 3, 6))
    video = h.reshape(2, 3, 4, 5, 6)
    expected = video[1, 2].flatten(0, 1) if within == "space" else video[1, :, 3, 4]
    assert torch.equal(groups[-1], expected)
    assert torch.equal(ungroup(groups, (3, 4, 5), within), h)


def test_cross_attention_is_the_textbooks():
    torch.manual_seed(0)
    layer, h, context = CrossAttention(12, heads=3), random(2, 5, 12), random(2, 4, 12, seed=1)
    mask = torch.tensor([[True] * 4, [True, False, True, False]])
    q, (k, v) = layer.q(h), layer.kv(context).chunk(2, dim=-1)
    heads = []
    for one in (slice(0, 4), slice(4, 8), slice(8, 12)):
        score = (q[..., one] @ k[..., one].transpose(1, 2) / 2).masked_fill(~mask[:, None], -torch.inf)
        heads.append(score.softmax(-1) @ v[..., one])
    torch.testing.assert_close(layer(h, context, mask), layer.out(torch.cat(heads, dim=-1)), rtol=1e-4, atol=1e-6)


def test_swiglu_is_as_large_as_the_plain_network():
    plain, gated = FeedForward(192), FeedForward(192, "swiglu")
    sizes = [sum(parameter.numel() for parameter in layer.parameters()) for layer in (plain, gated)]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.01)
    h = random(3, 192)
    gate, value = gated.up(h).chunk(2, dim=-1)
    torch.testing.assert_close(gated(h), gated.down(gate * gate.sigmoid() * value))


def test_shared_adaln_saves_what_it_promises():
    """PixArt-alpha: 27 % of DiT-XL's weights are modulations of single blocks."""
    counts = {}
    for shared in (False, True):
        with torch.device("meta"):
            model = DiTVariant(VariantConfig(width=1152, depth=28, heads=16, shared_adaln=shared))
        counts[shared] = sum(parameter.numel() for parameter in model.parameters())
    assert 1 - counts[True] / counts[False] == pytest.approx(0.31, abs=0.05)


def test_uvit_hands_over_from_first_to_last():
    """With closed middle blocks, what the first block saw reaches the end by the skip connection alone."""
    x, t, words = random(1, 3, 4, 16, 16), torch.tensor([0.5]), text(1, 5)
    for skip, reaches in (("add", True), ("none", False)):
        model = trained("uvit", skip=skip)
        for layer in (model.blocks[1].attention.out, model.blocks[1].mlp.down):
            torch.nn.init.zeros_(layer.weight)
        model.blocks[1].register_forward_hook(lambda *_: torch.zeros(1, 8 + 1 + 5, 48))  # the middle forgets everything
        difference = model(x, t, words) - model(x + random(*x.shape, seed=4), t, words)
        assert (difference.abs().max() > 1e-3) == reaches


# ---------------------------------------------------------------- which network has which parts


@pytest.mark.parametrize(
    ("kind", "parts", "network", "config"),
    [
        ("dit", {"rope": False}, DiT, DenoiserConfig),
        ("dit", {"words": "sequence"}, DiTVariant, VariantConfig),
        ("sit", {"mlp": "swiglu"}, SiT, SiTConfig),
        ("sit", {"shared_adaln": True}, SiTVariant, SiTVariantConfig),
    ],
)
def test_the_plainest_network_with_all_parts_is_taken(kind, parts, network, config):
    found, found_config = find_denoiser(kind, parts)
    assert found is network and type(found_config) is config
    assert found_config.time_scale == (1 if kind == "sit" else 1000)


def test_a_dit_variant_of_the_default_parts_is_the_dit():
    """Weight by weight, and output by output: from the same seed, and with the same weights after training."""
    parts = {"conditioning": "adaln-zero", "words": "sequence", "attention": "full", "shared_adaln": False}
    plain, variant = tiny("dit"), tiny("dit", **parts)
    assert isinstance(plain, DiT) and isinstance(variant, DiTVariant)
    assert list(plain.state_dict()) == list(variant.state_dict())
    for name, value in plain.state_dict().items():
        assert torch.equal(variant.state_dict()[name], value), name
    plain = trained("dit")
    variant.load_state_dict(plain.state_dict())
    x, t, words = random(2, 3, 4, 16, 16), torch.tensor([0.2, 0.9]), text(2, 5)
    words.mask[0, 3:] = False
    assert torch.equal(variant(x, t, words), plain(x, t, words))


def test_sit_is_a_dit_that_counts_time_from_0_to_1():
    x, words = random(1, 3, 4, 16, 16), text(1, 5)
    ours, theirs = trained("sit"), trained("dit")
    assert isinstance(ours, SiT) and SiTConfig().time_scale == 1
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    torch.testing.assert_close(ours(x, torch.tensor([0.5]), words), theirs(x, torch.tensor([0.0005]), words))


# ---------------------------------------------------------------- what does not fit


@pytest.mark.parametrize(
    ("kind", "parts", "message"),
    [
        ("dit", {"conditioning": "film"}, "conditioning 'film' is not one of in-context, cross-attention"),
        ("dit", {"mlp": "relu"}, "mlp 'relu' is not one of gelu"),
        ("dit", {"norm": "batch"}, "norm 'batch' is not one of layer, rms"),
        ("dit", {"conditioning": "mm-dit", "words": "none"}, "mm-dit is a sequence of patches and words"),
        ("dit", {"conditioning": "in-context", "shared_adaln": True}, "'in-context' has no adaLN"),
        ("dit", {"attention": "factorised"}, "factorised attention choose words cross-attention"),
        ("dit", {"attention": "windows", "conditioning": "mm-dit"}, "mm-dit has full attention, not windows"),
        ("dit", {"attention": "windows", "window": (2, 0, 4)}, r"a window has at least one patch .* not \(2, 0, 4\)"),
        ("uvit", {"depth": 4}, "depth 4 is even"),
        ("uvit", {"skip": "multiply"}, "skip 'multiply' is not one of concat, add, none"),
        ("uvit", {"shared_adaln": True, "words": "none"}, "--shared-adaln, --words: --denoiser uvit has no such part"),
    ],
)
def test_parts_that_do_not_fit_are_a_clear_error(kind, parts, message):
    with pytest.raises(ValueError, match=message):
        find_denoiser(kind, parts)


ONE_TOKEN = ("in-context", "in-context, words read", "cross-attention")  # these and U-ViT see a level as a token


@each
def test_it_is_told_the_level_of_each_frame(name):
    network = trained(name, frame_levels=True)
    x, words = random(2, 3, 4, 16, 16), text(2, 3)
    t = torch.tensor([0.3, 0.8])
    one, equal = network(x, t, words), network(x, t[:, None].repeat(1, 4), words)
    if not name.startswith("uvit") and name not in ONE_TOKEN:
        assert torch.allclose(equal, one, atol=1e-5)
    levels = t[:, None].repeat(1, 4)
    levels[:, 0] = 0  # the first frame is known, the second, in the same patch, is not
    other = levels.flip(1)
    outputs = [network(x, each, words) for each in (levels, other)]
    assert not torch.allclose(outputs[0], equal, atol=1e-6) and not torch.allclose(*outputs, atol=1e-6)


def test_a_patch_is_told_which_of_its_frames_is_known():
    network, x = trained("dit", frame_levels=True), random(1, 3, 4, 16, 16)
    first, second = torch.tensor([[0.0, 0.5, 0.5, 0.5]]), torch.tensor([[0.5, 0.0, 0.5, 0.5]])
    assert network.config.patch[0] == 2
    outputs = [network(x, levels, text(1, 3)) for levels in (first, second)]
    assert not torch.allclose(*outputs, atol=1e-6)
    torch.nn.init.zeros_(network.levels.within)  # as a new one starts: the mean alone
    outputs = [network(x, levels, text(1, 3)) for levels in (first, second)]
    assert torch.allclose(*outputs, atol=1e-6)
