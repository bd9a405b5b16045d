"""Layers that the transformers share: norms, attention, the feed-forward network, the embedding of t."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lite_sora.layers.patches import regroup, rotate, sincos, ungroup

NORMS = ("layer", "rms")
MLPS = ("gelu", "gelu-tanh", "swiglu")


def make_norm(kind: str, width: int, affine: bool = True, eps: float = 1e-6, bias: bool = True) -> nn.Module:
    """LayerNorm (1607.06450), or RMSNorm (1910.07467), which only divides by the root mean square."""
    if kind == "rms":
        return nn.RMSNorm(width, eps=eps, elementwise_affine=affine)
    return nn.LayerNorm(width, eps=eps, elementwise_affine=affine, bias=bias)


class Attention(nn.Module):
    """Multi-head self-attention, through torch's `scaled_dot_product_attention`.

    With within="space" tokens attend to those of their own frame only, with within="time" to those at their own place
    in other frames: for T frames of S tokens that is T * S * S or S * T * T pairs instead of (T * S)^2.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        qk_norm: bool = False,
        norm: str = "layer",
        bias: bool = True,
        within: str | None = None,
    ):
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} does not divide by {heads} heads")
        self.heads, self.within = heads, within
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.out = nn.Linear(width, width)
        # A norm of each head's queries and keys keeps attention from saturating at high learning rates (2302.05442)
        self.q_norm = make_norm(norm, width // heads, eps=1e-5, bias=False) if qk_norm else nn.Identity()
        self.k_norm = make_norm(norm, width // heads, eps=1e-5, bias=False) if qk_norm else nn.Identity()

    def project(self, h: Tensor, rotation: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of h (B, N, D), each (B, heads, N, D / heads)."""
        q, k, v = self.qkv(h).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = self.q_norm(q), self.k_norm(k)
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        return q, k, v

    def forward(
        self,
        h: Tensor,
        mask: Tensor | None = None,
        rotation: Tensor | None = None,
        grid: tuple[int, int, int] | None = None,
    ) -> Tensor:
        """h (B, N, D); mask (B, N), true for the tokens that may be attended to (or numbers that are added to the
        scores), None for all; rotation (N, D / heads) from `rotations_3d`, or None; grid (T, H, W) of the tokens, for
        `within`."""
        if self.within:
            h = regroup(h, grid, self.within)
            rotation = None if rotation is None else regroup(rotation[None], grid, self.within)[0]  # all groups' alike
        q, k, v = self.project(h, rotation)
        if mask is not None:
            mask = mask[:, None, None, :]  # (B, 1, 1, N)
        h = self.out(F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2))  # (B, N, D)
        return ungroup(h, grid, self.within) if self.within else h


class CrossAttention(nn.Module):
    """Tokens (B, N, D) read a context (B, L, D), such as a caption's words."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q, self.kv, self.out = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)

    def forward(self, h: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """mask (B, L), true for what may be read."""
        q = self.q(h).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, N, D / heads)
        k, v = self.kv(context).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        return self.out(h.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two layers with a GELU between, or SwiGLU (2002.05202): three, one of which gates; of the same size in all."""

    def __init__(self, width: int, kind: str = "gelu", ratio: float = 4.0):
        super().__init__()
        self.gated = kind == "swiglu"
        hidden = int(width * ratio * 2 / 3) // 8 * 8 if self.gated else int(width * ratio)
        self.up = nn.Linear(width, 2 * hidden if self.gated else hidden)
        self.activation = nn.SiLU() if self.gated else nn.GELU("tanh" if kind == "gelu-tanh" else "none")
        self.down = nn.Linear(hidden, width)

    def forward(self, h: Tensor) -> Tensor:
        if self.gated:
            gate, h = self.up(h).chunk(2, dim=-1)
            return self.down(self.activation(gate) * h)
        return self.down(self.activation(self.up(h)))


class Block(nn.Module):
    """A pre-norm transformer block, without conditioning."""

    def __init__(
        self,
        width: int,
        heads: int,
        mlp: str = "gelu",
        norm: str = "layer",
        qk_norm: bool = False,
        bias: bool = True,
    ):
        super().__init__()
        self.norm1, self.attention = make_norm(norm, width, eps=1e-5), Attention(width, heads, qk_norm, norm, bias)
        self.norm2, self.mlp = make_norm(norm, width, eps=1e-5), FeedForward(width, mlp)

    def forward(self, h: Tensor, mask: Tensor | None = None, rotation: Tensor | None = None) -> Tensor:
        """h (B, N, D) → (B, N, D); mask and rotation as in `Attention`."""
        h = h + self.attention(self.norm1(h), mask, rotation)
        return h + self.mlp(self.norm2(h))


class TimeEmbedding(nn.Module):
    """t (B,) → (B, D): sines and cosines of `scale` times t, then two layers, as in DiT (2212.09748)."""

    def __init__(self, width: int, scale: float = 1000.0, frequencies: int = 256):
        super().__init__()
        self.scale, self.frequencies = scale, frequencies
        self.mlp = nn.Sequential(nn.Linear(frequencies, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        return self.mlp(sincos(self.scale * t, self.frequencies).to(self.mlp[0].weight.dtype))


def modulate(h: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """h (B, N, D) times 1 + scale plus shift, both (B, 1, D)."""
    return torch.addcmul(shift, h, 1 + scale)
