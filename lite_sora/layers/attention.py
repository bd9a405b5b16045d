"""Attention (1706.03762): the one function that every transformer here calls, and self-attention as a layer."""

import torch.nn.functional as F
from torch import Tensor, nn

from lite_sora.layers.patches import rotate
from lite_sora.layers.sequence import Mask, Pattern


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Mask = None) -> Tensor:
    """softmax(q k^T / sqrt(d)) v, with the heads' outputs side by side.

    q (..., heads, N, d), k and v (..., heads, M, d) → (..., N, heads * d). mask: broadcastable to (..., heads, N, M),
    true where a query may attend to a key, or numbers that are added to the scores; None for everywhere."""
    if isinstance(mask, Pattern):  # of several clips in one sequence
        return mask.attend(q, k, v).transpose(-2, -3).flatten(-2)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(-2, -3).flatten(-2)


class Attention(nn.Module):
    """Multi-head self-attention. A norm of each head's queries and keys keeps it from saturating at high learning
    rates (2302.05442); rotary positions tell a query how far away a key is."""

    def __init__(self, width: int, heads: int, qk_norm: bool = False, norm: str = "layer", bias: bool = True):
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} does not divide by {heads} heads")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.out = nn.Linear(width, width)
        self.q_norm = make_norm(norm, width // heads, eps=1e-5, bias=False) if qk_norm else nn.Identity()
        self.k_norm = make_norm(norm, width // heads, eps=1e-5, bias=False) if qk_norm else nn.Identity()

    def project(self, h: Tensor, rotation: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of h (B, N, D), each (B, heads, N, D / heads)."""
        q, k, v = self.qkv(h).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = self.q_norm(q), self.k_norm(k)
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        return q, k, v

    def forward(self, h: Tensor, mask: Mask = None, rotation: Tensor | None = None) -> Tensor:
        """h (B, N, D) → (B, N, D); mask as in `attend`; rotation (N, D / heads) from `rotations_3d`, or None."""
        return self.out(attend(*self.project(h, rotation), mask))


def make_norm(kind: str, width: int, affine: bool = True, eps: float = 1e-6, bias: bool = True) -> nn.Module:
    """LayerNorm (1607.06450), or RMSNorm (1910.07467), which only divides by the root mean square."""
    if kind == "rms":
        return nn.RMSNorm(width, eps=eps, elementwise_affine=affine)
    return nn.LayerNorm(width, eps=eps, elementwise_affine=affine, bias=bias)
