"""What the published DiT, SiT and U-ViT compute, written down a second time: plain functions over a state dict with
their names. And state dicts of random numbers with their names and shapes."""

import math

import torch
from torch.nn import functional as F


def random_state(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) * 0.2 for name, shape in shapes.items()}


def linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def dit_shapes(width=24, depth=2, patch=2, channels=4, side=4, classes=11) -> dict[str, tuple[int, ...]]:
    """side: patches in a row; classes with the one for none; twice the channels come out."""
    shapes = {
        "pos_embed": (1, side**2, width),
        "x_embedder.proj.weight": (width, channels, patch, patch),
        "x_embedder.proj.bias": (width,),
        "y_embedder.embedding_table.weight": (classes, width),
    }
    shapes |= linear("t_embedder.mlp.0", 256, width) | linear("t_embedder.mlp.2", width, width)
    for i in range(depth):
        shapes |= linear(f"blocks.{i}.attn.qkv", width, 3 * width) | linear(f"blocks.{i}.attn.proj", width, width)
        shapes |= linear(f"blocks.{i}.mlp.fc1", width, 4 * width) | linear(f"blocks.{i}.mlp.fc2", 4 * width, width)
        shapes |= linear(f"blocks.{i}.adaLN_modulation.1", width, 6 * width)
    shapes |= linear("final_layer.linear", width, patch**2 * 2 * channels)
    return shapes | linear("final_layer.adaLN_modulation.1", width, 2 * width)


def uvit_shapes(
    width=24,
    half=2,
    patch=2,
    channels=3,
    side=4,
    classes=10,
    conv=True,
    skip=True,
    bias=False,
    time_mlp=False,
    text_width=0,
) -> dict[str, tuple[int, ...]]:
    """text_width: that of the 77 tokens of a text-to-image one, which has no classes."""
    classes = 0 if text_width else classes
    extras = 78 if text_width else 2 if classes else 1
    shapes = {
        "pos_embed": (1, extras + side**2, width),
        "patch_embed.proj.weight": (width, channels, patch, patch),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    if classes:
        shapes["label_emb.weight"] = (classes, width)
    if text_width:
        shapes |= linear("context_embed", text_width, width)
    if time_mlp:
        shapes |= linear("time_embed.0", width, 4 * width) | linear("time_embed.2", 4 * width, width)
    names = [f"in_blocks.{i}" for i in range(half)] + ["mid_block"] + [f"out_blocks.{i}" for i in range(half)]
    for name in names:
        for norm in ("norm1", "norm2"):
            shapes |= {f"{name}.{norm}.weight": (width,), f"{name}.{norm}.bias": (width,)}
        shapes |= linear(f"{name}.attn.qkv", width, 3 * width) | linear(f"{name}.attn.proj", width, width)
        if not bias:
            del shapes[f"{name}.attn.qkv.bias"]
        shapes |= linear(f"{name}.mlp.fc1", width, 4 * width) | linear(f"{name}.mlp.fc2", 4 * width, width)
        if skip and name.startswith("out"):
            shapes |= linear(f"{name}.skip_linear", 2 * width, width)
    shapes |= linear("decoder_pred", width, patch**2 * channels)
    if conv:
        shapes |= {"final_layer.weight": (channels, channels, 3, 3), "final_layer.bias": (channels,)}
    return shapes


# ---------------------------------------------------------------- what they compute


def _linear(state, name, h):
    return F.linear(h, state[f"{name}.weight"], state.get(f"{name}.bias"))


def _waves(t, width):
    frequencies = torch.exp(-math.log(10000) * torch.arange(0, width // 2, dtype=torch.float32) / (width // 2))
    angles = t.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def _attention(state, name, h, heads):
    q, k, v = _linear(state, f"{name}.qkv", h).chunk(3, dim=2)
    size, mixed = h.shape[2] // heads, []
    for part in (slice(i * size, i * size + size) for i in range(heads)):
        weights = (q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(size)).softmax(-1)
        mixed.append(weights @ v[..., part])
    return _linear(state, f"{name}.proj", torch.cat(mixed, dim=2))


def _picture(h, patch, channels):
    """Tokens whose values are ordered by row, column, channel → (B, C, H, W)."""
    side = math.isqrt(h.shape[1])
    rows = [torch.cat([_tile(h[:, i * side + j], patch, channels) for j in range(side)], 3) for i in range(side)]
    return torch.cat(rows, dim=2)


def _tile(values, patch, channels):
    return values.reshape(len(values), patch, patch, channels).permute(0, 3, 1, 2)


def dit(state, x, t, y, heads):
    """facebookresearch/DiT: (B, 2 C, H, W)."""
    width, channels, patch, _ = state["x_embedder.proj.weight"].shape
    h = F.conv2d(x, state["x_embedder.proj.weight"], state["x_embedder.proj.bias"], stride=patch)
    h = h.flatten(2).transpose(1, 2) + state["pos_embed"]
    time = _linear(state, "t_embedder.mlp.2", F.silu(_linear(state, "t_embedder.mlp.0", _waves(t, 256))))
    c = F.silu(time + state["y_embedder.embedding_table.weight"][y])

    def norm(h, shift, scale):
        return F.layer_norm(h, (width,), eps=1e-6) * (1 + scale[:, None]) + shift[:, None]

    for i in range(sum(name.endswith("attn.qkv.weight") for name in state)):
        block = f"blocks.{i}"
        s1, c1, g1, s2, c2, g2 = _linear(state, f"{block}.adaLN_modulation.1", c).chunk(6, dim=1)
        h = h + g1[:, None] * _attention(state, f"{block}.attn", norm(h, s1, c1), heads)
        hidden = F.gelu(_linear(state, f"{block}.mlp.fc1", norm(h, s2, c2)), approximate="tanh")
        h = h + g2[:, None] * _linear(state, f"{block}.mlp.fc2", hidden)
    shift, scale = _linear(state, "final_layer.adaLN_modulation.1", c).chunk(2, dim=1)
    return _picture(_linear(state, "final_layer.linear", norm(h, shift, scale)), patch, 2 * channels)


def sit(state, x, t, y, heads):
    """willisma/SiT: the same, without the second half of the channels."""
    return dit(state, x, t, y, heads).chunk(2, dim=1)[0]


def uvit(state, x, t, y, heads):
    """baofff/U-ViT: (B, C, H, W). y: labels (B,), None, or CLIP's tokens (B, 77, D) for libs/uvit_t2i.py."""
    width, channels, patch, _ = state["patch_embed.proj.weight"].shape
    h = F.conv2d(x, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=patch)
    time = _waves(t, width)
    if "time_embed.0.weight" in state:
        time = _linear(state, "time_embed.2", F.silu(_linear(state, "time_embed.0", time)))
    before = [time[:, None]]
    if "context_embed.weight" in state:
        before.append(_linear(state, "context_embed", y))
    elif y is not None:
        before.insert(0, state["label_emb.weight"][y][:, None])
    h = torch.cat([*before, h.flatten(2).transpose(1, 2)], dim=1) + state["pos_embed"]
    extras = sum(tokens.shape[1] for tokens in before)

    def block(name, h):
        def norm(which):
            return F.layer_norm(h, (width,), state[f"{name}.{which}.weight"], state[f"{name}.{which}.bias"])

        h = h + _attention(state, f"{name}.attn", norm("norm1"), heads)
        return h + _linear(state, f"{name}.mlp.fc2", F.gelu(_linear(state, f"{name}.mlp.fc1", norm("norm2"))))

    half, kept = sum(name.startswith("in_blocks") and name.endswith("qkv.weight") for name in state), []
    for i in range(half):
        h = block(f"in_blocks.{i}", h)
        kept.append(h)
    h = block("mid_block", h)
    for i in range(half):
        if f"out_blocks.{i}.skip_linear.weight" in state:
            h = _linear(state, f"out_blocks.{i}.skip_linear", torch.cat([h, kept.pop()], dim=2))
        h = block(f"out_blocks.{i}", h)
    h = F.layer_norm(h, (width,), state["norm.weight"], state["norm.bias"])
    picture = _picture(_linear(state, "decoder_pred", h)[:, extras:], patch, channels)
    if "final_layer.weight" in state:
        picture = F.conv2d(picture, state["final_layer.weight"], state["final_layer.bias"], padding=1)
    return picture
