"""Attention: the one function that every transformer here calls, so that back ends can be swapped in one place."""

import torch.nn.functional as F
from torch import Tensor


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention (1706.03762, eq. 1), with the heads merged in its output.

    q (..., heads, N, D / heads), k and v (..., heads, M, D / heads) → (..., N, D). mask: bool, broadcastable to
    (..., heads, N, M), true where a query may attend to a key; None where it may attend to all.
    """
    h = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # (..., heads, N, D / heads)
    return h.transpose(-2, -3).flatten(-2)
