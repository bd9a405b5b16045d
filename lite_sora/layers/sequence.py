"""What comes with a sequence of tokens: where its queries may look, and what else blocks are told."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn


class Pattern:
    """Takes the place of a mask in `attention.attend`, where a mask would compute much that it then hides."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q, k, v (B, heads, N, d) → (B, heads, N, d)."""
        raise NotImplementedError


class Segments(Pattern):
    """One sequence of several clips, each of which attends to itself (Patch n' Pack, 2307.06304): of N tokens in clips
    of n each, N * n pairs instead of N * N."""

    def __init__(self, lengths: list[int]):
        """lengths: how many tokens each clip has, in order."""
        self.lengths = lengths

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if q.is_cuda and q.dtype in (torch.bfloat16, torch.float16) and len(q) == 1:
            return self.in_one_kernel(q, k, v)
        clips = zip(*(values.split(self.lengths, dim=-2) for values in (q, k, v)), strict=True)
        return torch.cat([F.scaled_dot_product_attention(*clip) for clip in clips], dim=-2)

    def in_one_kernel(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The same on a GPU: FlashAttention (2205.14135) takes the clips' ends, in half precision."""
        ends = torch.tensor([0, *self.lengths], device=q.device).cumsum(0).to(torch.int32)
        longest = max(self.lengths)
        q, k, v = (values[0].transpose(0, 1) for values in (q, k, v))  # (N, heads, d)
        return varlen_attn(q, k, v, ends, ends, longest, longest).transpose(0, 1)[None]


Mask = Tensor | Pattern | None


class Given(NamedTuple):
    """What blocks are told besides the tokens, and the size of the video that these will be again."""

    condition: Tensor | None  # (B, 1, D), the time and the pooled caption; or rows of them, (B, R, D)
    where: Tensor | None  # the row that each token takes, (N,), if there are several
    mask: Mask
    rotation: Tensor | None  # (N, D / heads)
    size: tuple[int, int, int]  # (T, H, W)
