"""What comes with a sequence of tokens: where its queries may look, and what else blocks are told."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Pattern:
    """Takes the place of a mask in `attention.attend`, where a mask would compute much that it then hides."""

    compiles = True  # whether --compile may trace it

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q, k, v (B, heads, N, d) → (B, heads, N, d)."""
        raise NotImplementedError


class Segments(Pattern):
    """One sequence of several clips, each of which attends to itself (Patch n' Pack, 2307.06304): of N tokens in clips
    of n each, N * n pairs instead of N * N."""

    compiles = False  # the lengths are others at each step

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
        from torch.nn.attention.varlen import varlen_attn  # takes a second to import

        ends = torch.tensor([0, *self.lengths], device=q.device).cumsum(0).to(torch.int32)
        longest = max(self.lengths)
        q, k, v = (values[0].transpose(0, 1) for values in (q, k, v))  # (N, heads, d)
        return varlen_attn(q, k, v, ends, ends, longest, longest).transpose(0, 1)[None]


class Windows(Pattern):
    """Patches attend to the patches of their window of the grid, and to all other tokens, such as words; these attend
    to everything. So the cost grows with the number of patches, not with its square. Every second block shifts the
    windows by half of their size, so that neighbours meet (Swin, 2103.14030, with time as a third axis)."""

    def __init__(self, grid: tuple[int, int, int], window: tuple[int, int, int], shifted: bool, mask: Tensor | None):
        """grid: patches (T, H, W); window: how many of them along each axis; mask: (B, 1, 1, N) of all tokens, the
        patches first, of which none is hidden; None for no more tokens than these."""
        halves = [size // 2 if shifted else 0 for size in window]
        axes = [(torch.arange(n) + half) // size for n, size, half in zip(grid, window, halves, strict=True)]
        t, h, w = torch.meshgrid(*axes, indexing="ij")
        number = ((t * (h.max() + 1) + h) * (w.max() + 1) + w).flatten()  # of each patch's window
        sizes = number.bincount()
        self.patches, self.mask = len(number), mask
        # windows of one size are computed together: those at the edges may be smaller
        order, groups = number.argsort(stable=True), {}
        for places in order.split(sizes[sizes > 0].tolist()):
            groups.setdefault(len(places), []).append(places)
        self.groups = [torch.stack(windows) for windows in groups.values()]  # (G, n) each

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = torch.empty_like(q)
        others = slice(self.patches, None)
        count = q.shape[2] - self.patches
        if count:
            out[:, :, others] = F.scaled_dot_product_attention(q[:, :, others], k, v, attn_mask=self.mask)
        for places in self.groups:
            windows, size = places.shape
            inside = [values[:, :, places].transpose(1, 2).flatten(0, 1) for values in (q, k, v)]  # (B G, heads, n, d)
            mask = None
            if count:
                more = [values[:, None, :, others].expand(-1, windows, -1, -1, -1).flatten(0, 1) for values in (k, v)]
                inside[1:] = [torch.cat(pair, dim=2) for pair in zip(inside[1:], more, strict=True)]
                hidden = self.mask[..., others].repeat_interleave(windows, 0)  # (B G, 1, 1, L)
                mask = F.pad(hidden, (size, 0), value=True)
            one = F.scaled_dot_product_attention(*inside, attn_mask=mask)
            out[:, :, places] = one.unflatten(0, (-1, windows)).transpose(1, 2)
        return out


Mask = Tensor | Pattern | None


class Told(NamedTuple):
    """What blocks are told besides the tokens, and the size of the video that these will be again."""

    condition: Tensor | None  # (B, 1, D), the time and the pooled caption; or rows of them, (B, R, D)
    where: Tensor | None  # the row that each token takes, (N,), if there are several
    mask: Mask
    rotation: Tensor | None  # (N, D / heads)
    size: tuple[int, int, int]  # (T, H, W)
