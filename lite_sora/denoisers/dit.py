"""DiT, the diffusion transformer (Peebles & Xie, 2212.09748), over patches in space and time.

A video is cut into patches of pt frames × ph × pw pixels; each is one token; every token attends to every other. The
time t and the pooled caption steer each block through adaLN-zero: they set the scale and shift after each LayerNorm and
a gate before each residual, and the gates start at zero, so that at first every block is the identity. The caption's
words stand in the sequence beside the patches, where attention can read them one by one.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lite_sora.denoisers.layers import (
    Attention,
    FeedForward,
    TimeEmbedding,
    modulate,
    patchify,
    positions_3d,
    rotations_3d,
    unpatchify,
)
from lite_sora.text import Text

SIZES = {  # name: (width, depth, heads); S to XL as in table 1 of 2212.09748
    "toy": (128, 4, 4),
    "S": (384, 12, 6),
    "B": (768, 12, 12),
    "L": (1024, 24, 16),
    "XL": (1152, 28, 16),
}


@dataclass
class DiTConfig:
    channels: int = 3  # of the video or latents
    patch: tuple[int, int, int] = (2, 8, 8)  # frames, height, width
    width: int = 128
    depth: int = 4
    heads: int = 4
    text_width: int = 128
    qk_norm: bool = True
    rope: bool = True  # rotary positions in attention, beside the fixed ones that are added to the patches


class DiTBlock(nn.Module):
    """Attention and feed-forward, each with its shift, scale and gate from the condition (adaLN-zero)."""

    def __init__(self, width: int, heads: int, qk_norm: bool):
        super().__init__()
        # The norms have no weights of their own: the condition's scale and shift take their place.
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.attention = Attention(width, heads, qk_norm)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.mlp = FeedForward(width)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, h: Tensor, condition: Tensor, mask: Tensor | None, rotation: Tensor | None) -> Tensor:
        """h (B, N, D), condition (B, D), mask (B, N), rotation (N, D / heads) → (B, N, D)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(condition)[:, None].chunk(6, dim=-1)  # (B, 1, D)
        h = torch.addcmul(h, gate1, self.attention(modulate(self.norm1(h), shift1, scale1), mask, rotation))
        return torch.addcmul(h, gate2, self.mlp(modulate(self.norm2(h), shift2, scale2)))


class DiT(nn.Module):
    def __init__(self, config: DiTConfig):
        super().__init__()
        self.config = config
        width = config.width
        pixels = config.channels * config.patch[0] * config.patch[1] * config.patch[2]
        self.embed = nn.Linear(pixels, width)
        self.embed_text = nn.Linear(config.text_width, width)
        self.embed_pooled = nn.Linear(config.text_width, width)
        self.embed_time = TimeEmbedding(width)
        self.blocks = nn.ModuleList(DiTBlock(width, config.heads, config.qk_norm) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.out = nn.Linear(width, pixels)
        self.initialize_weights()

    def initialize_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for layer in (self.embed_time.mlp[0], self.embed_time.mlp[2]):
            nn.init.normal_(layer.weight, std=0.02)
        # adaLN-zero: all gates, shifts and scales start at 0, so each block starts as the identity ...
        for module in (*self.blocks, self):
            nn.init.zeros_(module.modulation[-1].weight)
        # ... and the network starts by saying 0.
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor, t: Tensor, text: Text) -> Tensor:
        """x (B, C, T, H, W), t (B,) in [0, 1], text of B captions → (B, C, T, H, W)."""
        patch = self.config.patch
        grid = tuple(size // p for size, p in zip(x.shape[2:], patch, strict=True))  # (T', H', W')
        h = self.embed(patchify(x, patch))  # (B, N, D)
        h = h + positions_3d(grid, h.shape[-1], h.device).to(h.dtype)
        patches = h.shape[1]
        h = torch.cat([h, self.embed_text(text.tokens)], dim=1)  # (B, N + L, D)
        mask = torch.cat([text.mask.new_ones(len(x), patches), text.mask], dim=1)  # (B, N + L)
        condition = self.embed_time(t) + self.embed_pooled(text.pooled)  # (B, D)
        rotation = None
        if self.config.rope:
            rotation = rotations_3d(grid, h.shape[-1] // self.config.heads, text.tokens.shape[1], h.device)
        for block in self.blocks:
            h = block(h, condition, mask, rotation)
        shift, scale = self.modulation(condition)[:, None].chunk(2, dim=-1)
        h = self.out(modulate(self.norm(h[:, :patches]), shift, scale))  # (B, N, C * pt * ph * pw)
        return unpatchify(h, patch, x.shape[2:])
