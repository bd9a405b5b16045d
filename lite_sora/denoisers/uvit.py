"""U-ViT (Bao et al., 2209.12152): all are words. Patches, the words of the caption and the time are tokens of one
sequence, in plain transformer blocks; and as in a U-Net, long skip connections lead from the first half of the blocks
to the second, so that what a patch looked like need not be carried through the middle. A 3×3 convolution at the end
smooths the seams between patches.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lite_sora.denoisers.dit import DenoiserConfig
from lite_sora.layers.blocks import Block
from lite_sora.layers.levels import level_tokens
from lite_sora.layers.patches import patchify, positions_3d, rotations_3d, sincos, unpatchify
from lite_sora.layers.sequence import Mask, Told
from lite_sora.text.encoder import Text

SIZES = {  # S to H as in table 1 of 2209.12152
    "toy": {"width": 128, "depth": 5, "heads": 4},
    "S": {"width": 512, "depth": 13, "heads": 8},
    "S-deep": {"width": 512, "depth": 17, "heads": 8},
    "M": {"width": 768, "depth": 17, "heads": 12},
    "L": {"width": 1024, "depth": 21, "heads": 16},
    "H": {"width": 1152, "depth": 29, "heads": 16},
}
SKIPS = ("concat", "add", "none")


@dataclass
class UViTConfig(DenoiserConfig):
    depth: int = 5
    skip: str = "concat"  # then a linear layer; or add, or none: figure 2a of the paper
    convolution: bool = True
    attention_bias: bool = True  # on queries, keys and values; the published ones have none

    def __post_init__(self):
        super().__post_init__()
        self.check("skip", SKIPS)
        if self.depth % 2 == 0:
            raise ValueError(
                f"a U-ViT has as many blocks before the middle one as after it: depth {self.depth} is even"
            )


class LongSkipBlocks(nn.Module):
    """The U: blocks of the first half, one in the middle, and blocks of the second half, each of which also receives
    the output of its mirror image in the first."""

    def __init__(self, config: UViTConfig):
        super().__init__()
        self.skip, self.half, width = config.skip, config.depth // 2, config.width
        self.blocks = nn.ModuleList(
            Block(width, config.heads, config.mlp, config.norm, config.qk_norm, config.attention_bias)
            for _ in range(config.depth)
        )
        if config.skip == "concat":
            self.skip_blocks = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(self.half))

    def through_blocks(self, h: Tensor, mask: Mask, rotation: Tensor | None) -> Tensor:
        """h (B, N, D) → (B, N, D); mask and rotation as in `Attention`."""
        kept = []  # outputs of the first half
        for number, block in enumerate(self.blocks):
            if number > self.half and self.skip == "concat":
                h = self.skip_blocks[number - self.half - 1](torch.cat([h, kept.pop()], dim=-1))
            elif number > self.half and self.skip == "add":
                h = h + kept.pop()
            h = block(h, mask, rotation)
            if number < self.half:
                kept.append(h)
        return h


class UViT(LongSkipBlocks):
    config_class, sizes = UViTConfig, SIZES

    def __init__(self, config: UViTConfig):
        super().__init__(config)
        self.config, width = config, config.width
        values = config.channels * config.patch[0] * config.patch[1] * config.patch[2]  # of a patch
        self.embed, self.out = nn.Linear(values, width), nn.Linear(width, values)
        self.embed_text = nn.Linear(config.text_width, width)
        self.kinds = nn.Parameter(torch.zeros(2, width))  # marks a token as the time, or as a word of the caption
        self.norm = nn.LayerNorm(width)
        if config.convolution:
            self.convolution = nn.Conv3d(config.channels, config.channels, (1, 3, 3), padding=(0, 1, 1))
        initialize_weights(self)

    def forward(self, x: Tensor, t: Tensor, text: Text) -> Tensor:
        """x (B, C, T, H, W), t (B,) or, with frame_levels, (B, T) in [0, 1], Text of B captions → (B, C, T, H, W)."""
        h, given = self.sequence(x, t, text)
        return self.video(self.transform(h, given), given)

    def sequence(self, x: Tensor, t: Tensor, text: Text) -> tuple[Tensor, Told]:
        """Patches, times and words as tokens (B, N + 1 + L, D)."""
        config, size = self.config, x.shape[2:]
        grid = tuple(n // p for n, p in zip(size, config.patch, strict=True))  # (T', H', W')
        h = self.embed(patchify(x, config.patch))  # (B, N, D)
        patches = h.shape[1]
        h = h + positions_3d(grid, config.width, h.device)
        levels = sincos(config.time_scale * t.reshape(len(h), -1), config.width)  # (B, 1, D), or (B, T, D) of frames
        time = level_tokens(levels) + self.kinds[0]
        words = self.embed_text(text.tokens) + self.kinds[1]  # (B, L, D)
        h = torch.cat([h, time, words], dim=1)  # (B, N + 1 + L, D)
        mask = torch.cat([text.mask.new_ones(len(h), patches + time.shape[1]), text.mask], dim=1)[:, None, None]
        others = h.shape[1] - patches
        rotation = rotations_3d(grid, config.width // config.heads, others, h.device) if config.rope else None
        return h, Told(None, None, mask, rotation, size)

    def transform(self, h: Tensor, given: Told) -> Tensor:
        return self.through_blocks(h, given.mask, given.rotation)

    def video(self, h: Tensor, given: Told) -> Tensor:
        """The patches (B, N, D) among the tokens → (B, C, T, H, W)."""
        patches = math.prod(given.size) // math.prod(self.config.patch)
        video = unpatchify(self.out(self.norm(h[:, :patches])), self.config.patch, given.size)
        return self.convolution(video) if self.config.convolution else video

    def on_tokens(self) -> list[nn.Module]:
        """The layers that every token passes through."""
        return [self.embed, self.out, self.blocks, *([self.skip_blocks] if self.skip == "concat" else [])]


def initialize_weights(model: nn.Module) -> None:
    """As in the paper's code: normal with a standard deviation of 0.02, biases 0."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.trunc_normal_(model.kinds, std=0.02)
