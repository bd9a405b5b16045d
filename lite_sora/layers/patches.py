"""Videos ↔ tokens, and where tokens are: patches, fixed positions, rotary positions."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def patchify(video: Tensor, patch: tuple[int, int, int]) -> Tensor:
    """(B, C, T, H, W) → (B, N, C * pt * ph * pw), tokens ordered by time, then row, then column."""
    b, c, t, h, w = video.shape
    pt, ph, pw = patch
    if t % pt or h % ph or w % pw:
        raise ValueError(
            f"a video (or its latents) of {t} frames, {h}×{w}, does not divide into patches of {pt}×{ph}×{pw}; "
            "choose --frames, --height and --width that do"
        )
    video = video.reshape(b, c, t // pt, pt, h // ph, ph, w // pw, pw)
    return video.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(b, -1, c * pt * ph * pw)


def unpatchify(tokens: Tensor, patch: tuple[int, int, int], shape: tuple[int, int, int]) -> Tensor:
    """(B, N, C * pt * ph * pw) → (B, C, T, H, W), with shape = (T, H, W)."""
    (t, h, w), (pt, ph, pw) = shape, patch
    video = tokens.reshape(len(tokens), t // pt, h // ph, w // pw, -1, pt, ph, pw)
    return video.permute(0, 4, 1, 5, 2, 6, 3, 7).reshape(len(tokens), -1, t, h, w)


def sincos(values: Tensor, width: int, longest: float = 10_000.0) -> Tensor:
    """Sines and cosines of values (...) at width / 2 frequencies, (..., width); 1706.03762, section 3.5."""
    half = width // 2
    frequencies = torch.exp(-math.log(longest) * torch.arange(half, device=values.device) / half)
    angles = values[..., None].float() * frequencies
    return F.pad(torch.cat([angles.cos(), angles.sin()], dim=-1), (0, width % 2))


def positions_3d(grid: tuple[int, int, int], width: int, device=None) -> Tensor:
    """Fixed positions (N, width) of a grid of tokens (T, H, W): a third of the width for each axis. Computed from
    coordinates, so that they exist for any size and length. The longest wave is 125 tokens: the 10,000 times longer one
    of text models would leave neighbours in a small grid nearly the same."""
    part = width // 3 // 2 * 2
    widths = (width - 2 * part, part, part)
    axes = torch.meshgrid(*(torch.arange(n, device=device) for n in grid), indexing="ij")
    return torch.cat([sincos(axis.flatten(), w, longest=20.0) for axis, w in zip(axes, widths, strict=True)], dim=-1)


def rotations_3d(grid: tuple[int, int, int], width: int, others: int = 0, device=None) -> Tensor:
    """Rotary positions (RoPE, 2104.09864) of a grid of tokens (T, H, W), for heads of `width`: (N + others, width), the
    cosines of its width / 2 angles, then the sines. A part of the angles turns with each axis, so a query and a key
    see how far apart they are in time, height and width; `others` tokens at the end (words) are not turned."""
    part = width // 6
    widths = (width // 2 - 2 * part, part, part)
    axes = torch.meshgrid(*(torch.arange(n, device=device) for n in grid), indexing="ij")
    both = [sincos(axis.flatten(), 2 * w, longest=100.0).chunk(2, dim=-1) for axis, w in zip(axes, widths, strict=True)]
    cosines, sines = (torch.cat(parts, dim=-1) for parts in zip(*both, strict=True))
    return torch.cat([F.pad(cosines, (0, 0, 0, others), value=1.0), F.pad(sines, (0, 0, 0, others))], dim=-1)


def rotate(h: Tensor, rotation: Tensor) -> Tensor:
    """Turns each pair (h[i], h[i + width / 2]) of h (..., N, width) by its angle."""
    (a, b), (cosine, sine) = h.chunk(2, dim=-1), rotation.to(h.dtype).chunk(2, dim=-1)
    return torch.cat([a * cosine - b * sine, a * sine + b * cosine], dim=-1)


def modulate(h: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """adaLN: h (B, N, D) times 1 + scale plus shift, both (B, 1, D)."""
    return torch.addcmul(shift, h, 1 + scale)
