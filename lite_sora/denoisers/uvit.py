"""U-ViT (Bao et al., 2209.12152): all are words. Patches, the words of the caption and the time are tokens of one
sequence, in plain transformer blocks; and as in a U-Net, long skip connections lead from the first half of the blocks
to the second, so that what a patch looked like need not be carried through the middle. A 3×3 convolution at the end
smooths the seams between patches.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lite_sora.denoisers.transformer import TransformerConfig, VideoTransformer
from lite_sora.layers.blocks import Block
from lite_sora.layers.patches import sincos
from lite_sora.text.encoder import Text

SIZES = {  # name: (width, depth, heads); S to H as in table 1 of 2209.12152
    "toy": (128, 5, 4),
    "S": (512, 13, 8),
    "S-deep": (512, 17, 8),
    "M": (768, 17, 12),
    "L": (1024, 21, 16),
    "H": (1152, 29, 16),
}
SKIPS = ("concat", "add", "none")


@dataclass
class UViTConfig(TransformerConfig):
    depth: int = 5
    skip: str = "concat"  # then a linear layer; or add, or none: figure 2a of the paper
    convolution: bool = True
    attention_bias: bool = True
    balance_frames: bool = False  # the tokens beside the patches count once for each frame, as in the image model

    def __post_init__(self):
        super().__post_init__()
        self.check("skip", SKIPS)
        if self.depth % 2 == 0:
            raise ValueError(
                f"a U-ViT has as many blocks before the middle one as after it: depth {self.depth} is even"
            )


class UViT(VideoTransformer):
    def __init__(self, config: UViTConfig):
        super().__init__(config)
        width = config.width
        if config.classes:
            self.embed_class = nn.Embedding(config.classes, width)
        elif config.text_width:
            self.embed_text = nn.Linear(config.text_width, width)
        # what kind of token it is: the time, or the caption's; the positions of those that have no place
        self.kinds = nn.Parameter(torch.zeros(2, width))
        self.blocks = nn.ModuleList(
            Block(width, config.heads, config.mlp, config.norm, config.qk_norm, config.attention_bias)
            for _ in range(config.depth)
        )
        if config.skip == "concat":
            self.skip_blocks = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(config.depth // 2))
        self.norm = nn.LayerNorm(width)
        if config.convolution:
            channels = config.out_channels or config.channels
            self.convolution = nn.Conv3d(channels, channels, (1, 3, 3), padding=(0, 1, 1))
        self.initialize_weights()

    def initialize_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.kinds, std=0.02)
        if self.config.positions:
            nn.init.trunc_normal_(self.positions, std=0.02)

    def forward(self, x: Tensor, t: Tensor, condition: Text | Tensor | None = None) -> Tensor:
        """As `VideoTransformer`; condition may be None for a model that knows neither captions nor classes."""
        if x.dim() == 4:
            return self(x[:, :, None], t, condition)[:, :, 0]
        video = super().forward(x, t, condition)
        return self.convolution(video) if self.config.convolution else video

    def transform(self, h: Tensor, t: Tensor, condition: Text | Tensor | None, grid: tuple[int, int, int]) -> Tensor:
        config, patches = self.config, h.shape[1]
        time = sincos(config.time_scale * t, config.width).to(h.dtype)  # (B, D)
        tokens, mask = [time[:, None] + self.kinds[0]], None  # (B, 1, D)
        if config.classes:
            tokens.append(self.embed_class(condition)[:, None] + self.kinds[1])
        elif config.text_width:
            tokens.append(self.embed_text(condition.tokens) + self.kinds[1])  # (B, L, D)
            mask = torch.cat([condition.mask.new_ones(len(h), patches + 1), condition.mask], dim=1)
        h = torch.cat([h, *tokens], dim=1)  # (B, N + 1 + L, D)
        if config.balance_frames:  # log T more on a score is T times the weight
            scores = h.new_zeros(h.shape[:2])
            scores[:, patches:] = math.log(grid[0])
            mask = scores if mask is None else scores.masked_fill(~mask, -torch.inf)

        rotation = self.rotation_of(grid, h.shape[1] - patches, h.device)
        half, kept = config.depth // 2, []
        for number, block in enumerate(self.blocks):
            if number > half and config.skip == "concat":
                h = self.skip_blocks[number - half - 1](torch.cat([h, kept.pop()], dim=-1))
            elif number > half and config.skip == "add":
                h = h + kept.pop()
            h = block(h, mask, rotation)
            if number < half:
                kept.append(h)
        return self.norm(h[:, :patches])
