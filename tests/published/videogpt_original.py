"""What VideoGPT's VQVAE computes, written down a second time: plain functions over a state dict with its names. And
state dicts of random numbers with its names and shapes."""

import math

import torch
from torch.nn import functional as F


def videogpt_shapes(width=12, blocks=2, codes=40, code_width=6, halvings=2) -> dict[str, tuple[int, ...]]:
    shapes = {
        "codebook.embeddings": (codes, code_width),
        "codebook.N": (codes,),
        "codebook.z_avg": (codes, code_width),
        "pre_vq_conv.conv.weight": (code_width, width, 1, 1, 1),
        "pre_vq_conv.conv.bias": (code_width,),
        "post_vq_conv.conv.weight": (width, code_width, 1, 1, 1),
        "post_vq_conv.conv.bias": (width,),
        "encoder.conv_last.conv.weight": (width, width, 3, 3, 3),
        "encoder.conv_last.conv.bias": (width,),
    }
    for i in range(halvings):
        shapes[f"encoder.convs.{i}.conv.weight"] = (width, 3 if i == 0 else width, 4, 4, 4)
        shapes[f"encoder.convs.{i}.conv.bias"] = (width,)
        outputs = 3 if i == halvings - 1 else width
        shapes[f"decoder.convts.{i}.convt.weight"] = (width, outputs, 4, 4, 4)
        shapes[f"decoder.convts.{i}.convt.bias"] = (outputs,)
    for part in ("encoder", "decoder"):
        for i in range(blocks):
            block = f"{part}.res_stack.{i}.block"
            for layer, channels in ((0, width), (3, width // 2), (6, width)):
                shapes |= norm_shapes(f"{block}.{layer}", channels)
            shapes[f"{block}.2.conv.weight"] = (width // 2, width, 3, 3, 3)
            shapes[f"{block}.5.conv.weight"] = (width, width // 2, 1, 1, 1)
            for axis in "wht":
                for letter in "qkv":
                    shapes[f"{block}.8.attn_{axis}.w_{letter}s.weight"] = (width, width)
                shapes[f"{block}.8.attn_{axis}.fc.weight"] = (width, width)
                shapes[f"{block}.8.attn_{axis}.fc.bias"] = (width,)
        shapes |= norm_shapes(f"{part}.res_stack.{blocks}", width)
    return shapes


def norm_shapes(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (channels,) for part in parts} | {f"{name}.num_batches_tracked": ()}


def random_state(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, torch.Tensor]:
    """Numbers for which every layer's output varies from place to place, so that a mistake in any of them shows."""
    generator, state = torch.Generator().manual_seed(seed), {}
    for name, shape in shapes.items():
        numbers = torch.randn(shape, generator=generator)
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif name.endswith("running_var"):
            state[name] = 0.5 + numbers.abs()
        elif "block." in name and name.endswith(".weight") and len(shape) == 1:
            state[name] = 1 + 0.2 * numbers
        elif len(shape) > 1 and not name.startswith("codebook"):
            state[name] = numbers * math.sqrt(3 / math.prod(shape[1:]))
        else:
            state[name] = numbers if name.startswith("codebook") else 0.2 * numbers
    return state


def _convolution(state, name, h, stride=(1, 1, 1)):
    """Padded to n / stride places, the odd one of the padding in front."""
    weight = state[f"{name}.weight"]
    padding = []
    for kernel, step in list(zip(weight.shape[2:], stride, strict=True))[::-1]:
        total = kernel - step
        padding += [math.ceil(total / 2), math.floor(total / 2)]
    return F.conv3d(F.pad(h, padding), weight, state.get(f"{name}.bias"), stride=stride)


def _transposed(state, name, h, stride):
    """The input is padded as for a convolution, and three places are cut from each side of the output."""
    padding = []
    for step in stride[::-1]:
        padding += [math.ceil((4 - step) / 2), math.floor((4 - step) / 2)]
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    return F.conv_transpose3d(F.pad(h, padding), weight, bias, stride=stride, padding=3)


def _norm(state, name, h):
    numbers = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    mean, variance, gain, bias = (number.reshape(1, -1, 1, 1, 1) for number in numbers)
    return (h - mean) / torch.sqrt(variance + 1e-5) * gain + bias


def _attention(state, name, h):
    """h (B, T, H, W, D): attention along W ("w"), H ("h") or T ("t"), with two heads; one line of places at a time."""
    axis = {"t": 1, "h": 2, "w": 3}[name[-1]]
    q, k, v = (F.linear(h, state[f"{name}.w_{letter}s.weight"]) for letter in "qkv")
    size, mixed = h.shape[-1] // 2, []
    for part in (slice(0, size), slice(size, 2 * size)):
        a, b, c = (x[..., part].transpose(axis, 3) for x in (q, k, v))
        weights = (torch.einsum("bijnd,bijmd->bijnm", a, b) / math.sqrt(size)).softmax(-1)
        mixed.append(torch.einsum("bijnm,bijmd->bijnd", weights, c).transpose(axis, 3))
    return F.linear(torch.cat(mixed, -1), state[f"{name}.fc.weight"], state[f"{name}.fc.bias"])


def _blocks(state, name, h):
    count = sum(key.startswith(f"{name}.") and key.endswith(".block.2.conv.weight") for key in state)
    for i in range(count):
        block = f"{name}.{i}.block"
        inner = _convolution(state, f"{block}.2.conv", _norm(state, f"{block}.0", h).relu())
        inner = _convolution(state, f"{block}.5.conv", _norm(state, f"{block}.3", inner).relu())
        inner = _norm(state, f"{block}.6", inner).relu().permute(0, 2, 3, 4, 1)
        mixed = sum(_attention(state, f"{block}.8.attn_{axis}", inner) for axis in "wht")
        h = h + mixed.permute(0, 4, 1, 2, 3)
    return _norm(state, f"{name}.{count}", h).relu()


def _strides(downsample):
    left, steps = list(downsample), []
    while max(left) > 1:
        steps.append(tuple(2 if factor > 1 else 1 for factor in left))
        left = [max(1, factor // 2) for factor in left]
    return steps


def videogpt_latents(state, video, downsample):
    """video (B, 3, T, H, W) in [-0.5, 0.5] → what codes are chosen for, (B, T', H', W', D)."""
    h = video
    for i, stride in enumerate(_strides(downsample)):
        h = _convolution(state, f"encoder.convs.{i}.conv", h, stride).relu()
    h = _blocks(state, "encoder.res_stack", _convolution(state, "encoder.conv_last.conv", h))
    return _convolution(state, "pre_vq_conv.conv", h).permute(0, 2, 3, 4, 1)


def videogpt_codes(state, video, downsample):
    """video (B, 3, T, H, W) in [-0.5, 0.5] → codes (B, T', H', W')."""
    z, codebook = videogpt_latents(state, video, downsample), state["codebook.embeddings"]
    products = torch.einsum("bthwd,kd->bthwk", z, codebook)
    return ((z**2).sum(-1, keepdim=True) - 2 * products + (codebook**2).sum(-1)).argmin(-1)


def videogpt_decode(state, codes, downsample):
    """codes → video (B, 3, T, H, W)."""
    h = F.embedding(codes, state["codebook.embeddings"]).permute(0, 4, 1, 2, 3)
    h = _blocks(state, "decoder.res_stack", _convolution(state, "post_vq_conv.conv", h))
    steps = _strides(downsample)
    for i, stride in enumerate(steps):
        h = _transposed(state, f"decoder.convts.{i}.convt", h, stride)
        h = h.relu() if i < len(steps) - 1 else h
    return h
