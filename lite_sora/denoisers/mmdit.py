"""MM-DiT's block: video and words, each with its own weights, in one attention (Esser et al., 2403.03206, figure 2).

Words are not pictures: in this block they have norms, projections and a feed-forward network of their own, and are
changed from block to block. Only in the attention do both meet, as one sequence.
"""

import torch
from torch import Tensor, nn

from lite_sora.layers.attention import Attention, attend, make_norm
from lite_sora.layers.blocks import FeedForward
from lite_sora.layers.levels import to_tokens
from lite_sora.layers.patches import modulate


class JointBlock(nn.Module):
    """`config` is a VariantConfig. The last block's words are only read, since nothing comes after them."""

    def __init__(self, config, last: bool):
        super().__init__()
        self.video, self.words = Stream(config), Stream(config, read_only=last)

    def forward(
        self, h: Tensor, words: Tensor, words_mask: Tensor, condition: Tensor, where: Tensor | None, rotation
    ) -> tuple[Tensor, Tensor]:
        """h (B, N, D), words (B, L, D), words_mask (B, L), condition (B, 1, D), or (B, R, D) where each token takes the
        row `where` (N + L,) → both, changed."""
        patches = h.shape[1]
        video_values = to_tokens(self.video.modulation(condition), where)[:, :patches]  # (B, 1, 6 D)
        words_values = to_tokens(self.words.modulation(condition), where)
        words_values = words_values if where is None else words_values[:, patches:]
        ours = self.video.before(h, video_values, rotation)
        theirs = self.words.before(words, words_values, None)
        q, k, v = (torch.cat(pair, dim=2) for pair in zip(ours, theirs, strict=True))  # (B, heads, N + L, D / heads)
        mask = torch.cat([words_mask.new_ones(h.shape[:2]), words_mask], dim=1)[:, None, None, :]
        mixed = attend(q, k, v, mask)  # (B, N + L, D)
        h = self.video.after(h, mixed[:, : h.shape[1]], video_values)
        return h, self.words.after(words, mixed[:, h.shape[1] :], words_values)


class Stream(nn.Module):
    """One of the two: what adaLN-zero does before and after the attention that they share."""

    def __init__(self, config, read_only: bool = False):
        super().__init__()
        self.norm1 = make_norm(config.norm, config.width, affine=False)
        self.attention = Attention(config.width, config.heads, config.qk_norm, config.norm)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(config.width, (2 if read_only else 6) * config.width))
        self.read_only = read_only
        if read_only:  # no queries, and nothing that comes out
            self.attention.q_norm, self.attention.out = nn.Identity(), nn.Identity()
        else:
            self.norm2 = make_norm(config.norm, config.width, affine=False)
            self.mlp = FeedForward(config.width, config.mlp)

    def before(self, h: Tensor, values: Tensor, rotation: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        shift, scale = values.chunk(2 if self.read_only else 6, dim=-1)[:2]  # each (B, 1, D)
        return self.attention.project(modulate(self.norm1(h), shift, scale), rotation)

    def after(self, h: Tensor, mixed: Tensor, values: Tensor) -> Tensor:
        if self.read_only:
            return h
        shift, scale, gate1, gate2 = values.chunk(6, dim=-1)[2:]
        h = h + gate1 * self.attention.out(mixed)
        return h + gate2 * self.mlp(modulate(self.norm2(h), shift, scale))
