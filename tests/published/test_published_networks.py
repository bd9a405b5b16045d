"""The published networks as ours: the same function, to 1e-5, and the parameter counts of the papers."""

import originals
import pytest
import torch

from lite_sora.denoisers import DENOISERS
from lite_sora.published import OriginalError, from_original
from lite_sora.published.dit import PublishedDiT, PublishedDiTConfig
from lite_sora.published.uvit import PublishedUViT, PublishedUViTConfig


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


DIT_TIMES = torch.tensor([0.0, 500.0, 999.0])


@pytest.mark.parametrize("shapes", [{}, {"patch": 4, "side": 3, "channels": 3, "depth": 3, "classes": 5}])
def test_dit(shapes):
    state = originals.random_state(originals.dit_shapes(**shapes))
    module = from_original("dit", state, heads=3)
    channels, patch, side = (shapes.get(k, v) for k, v in {"channels": 4, "patch": 2, "side": 4}.items())
    x, y = random(3, channels, patch * side, patch * side), torch.tensor([0, 3, 4])
    output = module(x, DIT_TIMES, y)
    assert output.shape == (3, 2 * channels, patch * side, patch * side) and output.std() > 0.1
    close(output, originals.dit(state, x, DIT_TIMES, y, heads=3))
    close(module(x, DIT_TIMES.long(), y), output)  # as DiT's own sampler counts them


def test_sit():
    state = originals.random_state(originals.dit_shapes())
    x, t, y = random(3, 4, 8, 8), torch.tensor([0.0, 0.4, 1.0]), torch.tensor([0, 3, 10])
    output = from_original("sit", state, heads=3)(x, t, y)
    assert output.shape == x.shape and output.std() > 0.1
    close(output, originals.sit(state, x, t, y, heads=3))


@pytest.mark.parametrize(
    "shapes",
    [
        {},
        {"conv": False, "channels": 4, "half": 1, "classes": 11},
        {"classes": 0},
        {"skip": False},
        {"bias": True, "patch": 4},
        {"time_mlp": True},
        {"time_mlp": True, "classes": 0, "conv": False},
        {"text_width": 16},
        {"text_width": 16, "time_mlp": True, "channels": 4, "half": 3, "side": 5},
    ],
)
def test_uvit(shapes):
    state = originals.random_state(originals.uvit_shapes(**shapes))
    side = shapes.get("side", 4) * shapes.get("patch", 2)
    x, t = random(3, shapes.get("channels", 3), side, side), torch.tensor([0.0, 77.7, 1000.0])
    y = None if shapes.get("classes") == 0 else torch.tensor([0, 3, 9])
    if "text_width" in shapes:
        y = random(3, 77, shapes["text_width"], seed=1)
    module = from_original("uvit", state, heads=3)
    output = module(x, t, y)
    assert output.shape == x.shape and output.std() > 0.1
    close(output, originals.uvit(state, x, t, y, heads=3))
    if y is not None:
        assert not torch.allclose(module(x, t, y.flip(0)), output, atol=1e-3)


@pytest.mark.parametrize(("kind", "width", "heads"), [("dit", 384, 6), ("sit", 384, 6), ("uvit", 512, 8)])
def test_heads_of_the_published_sizes(kind, width, heads):
    shapes = originals.uvit_shapes(width, half=1) if kind == "uvit" else originals.dit_shapes(width, depth=1)
    assert from_original(kind, originals.random_state(shapes)).config.heads == heads


def test_names_as_ddp_saves_them():
    state = originals.random_state(originals.dit_shapes())
    x, y = random(3, 4, 8, 8), torch.tensor([0, 3, 10])
    prefixed = from_original("dit", {f"module.{name}": value for name, value in state.items()}, heads=3)
    assert torch.equal(prefixed(x, DIT_TIMES, y), from_original("dit", state, heads=3)(x, DIT_TIMES, y))


def test_another_state_dict_is_a_clear_error():
    state = originals.random_state(originals.dit_shapes())
    with pytest.raises(OriginalError, match="width 24 is not one of the published .* how many heads"):
        from_original("dit", state)
    with pytest.raises(OriginalError, match="kind 'vit' is not one of dit, sit, uvit"):
        from_original("vit", state)
    with pytest.raises(OriginalError, match="not a published U-ViT: tensor 'patch_embed.proj.weight' is missing"):
        from_original("uvit", state, heads=3)
    with pytest.raises(OriginalError, match="not a published DiT: tensor 'blocks.1.attn.qkv.weight' is missing"):
        from_original("dit", {k: v for k, v in state.items() if k != "blocks.1.attn.qkv.weight"}, heads=3)
    with pytest.raises(OriginalError, match="not a published DiT: tensor 'final_layer.linear.bias' is missing"):
        from_original("dit", {k: v for k, v in state.items() if k != "final_layer.linear.bias"}, heads=3)
    odd = state | {"t_embedder.mlp.0.weight": random(24, 128)}
    with pytest.raises(OriginalError, match=r"not a published DiT: [\s\S]*embed_time.mlp.0.weight"):
        from_original("dit", odd, heads=3)
    with pytest.raises(OriginalError, match="not a published SiT: tensor 'extra.weight' has no place in it"):
        from_original("sit", state | {"extra.weight": random(24)}, heads=3)
    with pytest.raises(OriginalError, match="not a published DiT: width 24 does not divide by 5 heads"):
        from_original("dit", state, heads=5)
    text = originals.random_state(originals.uvit_shapes(text_width=16))
    with pytest.raises(OriginalError, match="not a published U-ViT"):  # 76 tokens, or no square of patches
        from_original("uvit", text | {"pos_embed": text["pos_embed"][:, 1:]}, heads=3)


def test_the_state_dict_that_was_given_stays_as_it_is():
    state = originals.random_state(originals.uvit_shapes())
    names = set(state)
    from_original("uvit", state, heads=3)
    assert set(state) == names


@pytest.mark.parametrize("kind", ["dit", "uvit", "uvit of text"])
def test_an_image_is_a_video_of_one_frame(kind):
    if kind == "dit":
        module, y = from_original("dit", originals.random_state(originals.dit_shapes(channels=3)), heads=3), [1, 5]
    elif kind == "uvit":
        module, y = from_original("uvit", originals.random_state(originals.uvit_shapes()), heads=3), [1, 5]
    else:
        module = from_original("uvit", originals.random_state(originals.uvit_shapes(text_width=16)), heads=3)
        y = random(2, 77, 16).tolist()
    t, image, y = torch.tensor([20.0, 900.0]), random(2, 3, 8, 8), torch.tensor(y)
    assert torch.equal(module(image, t, y), module(image[:, :, None], t, y)[:, :, 0])


def test_another_size_is_a_clear_error():
    module = from_original("dit", originals.random_state(originals.dit_shapes()), heads=3)
    with pytest.raises(ValueError, match=r"positions for 1 × 4 × 4 patches .* not for 1 × 5 × 4"):
        module(random(1, 4, 10, 8), torch.tensor([1.0]), torch.tensor([1]))


# ---------------------------------------------------------------- parameter counts


@pytest.mark.parametrize(
    ("denoiser", "size", "millions"),
    [
        *((d, s, m) for d in ("dit", "sit") for s, m in {"S": 32.9, "B": 130.3, "L": 457.8, "XL": 674.8}.items()),
        ("uvit", "L", 286.8),
        ("uvit", "H", 500.8),
    ],
)
def test_parameters_are_those_of_the_papers(denoiser, size, millions):
    """At patch 2, for latents of ImageNet. Published counts leave out DiT's positions, which are not learned."""
    sizes = DENOISERS[denoiser][0].sizes[size]
    with torch.device("meta"):
        if denoiser == "uvit":
            model = PublishedUViT(PublishedUViTConfig(**sizes, convolution=False))
        else:
            model = PublishedDiT(PublishedDiTConfig(**sizes))
    count = sum(parameter.numel() for parameter in model.parameters())
    if denoiser != "uvit":
        count -= model.positions.numel()
    rounding = 0.05 / millions  # of the published figure
    assert count / 1e6 == pytest.approx(millions, rel=max(0.001, rounding))


@pytest.mark.parametrize(
    ("size", "parts", "millions", "rounding"),
    [
        ("S", {"channels": 3}, 44.3, 0.05),  # CIFAR-10: pixels, no classes
        ("S", {"text_width": 768}, 45, 0.5),  # MS-COCO
        ("S-deep", {"text_width": 768}, 58, 0.5),
    ],
)
def test_parameters_of_the_small_uvits(size, parts, millions, rounding):
    """U-ViT-S/2, with the convolution at the end; 2209.12152 has these counts beside its FIDs."""
    sizes = DENOISERS["uvit"][0].sizes[size]
    with torch.device("meta"):
        model = PublishedUViT(PublishedUViTConfig(**sizes, classes=None, **parts))
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(millions, abs=rounding)
