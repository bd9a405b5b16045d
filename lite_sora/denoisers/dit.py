"""DiT, the diffusion transformer with adaLN-zero (Peebles & Xie, 2212.09748, figure 3), over patches in space and time.

A video is cut into patches of pt frames × ph × pw pixels; each is one token, and every token attends to every other.
The time t and the pooled caption steer each block by adaLN-zero; the words of the caption stand in the sequence after
the patches. The paper's other ways to condition, and more, are in `variants.py`.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lite_sora.layers.attention import Attention, make_norm
from lite_sora.layers.blocks import MLPS, NORMS, FeedForward, TimeEmbedding
from lite_sora.layers.levels import FrameLevels, to_tokens
from lite_sora.layers.patches import modulate, patchify, positions_3d, rotations_3d, unpatchify
from lite_sora.layers.sequence import Mask, Told
from lite_sora.text.encoder import Text

SIZES = {  # S to XL as in table 1 of 2212.09748
    "toy": {"width": 128, "depth": 4, "heads": 4},
    "S": {"width": 384, "depth": 12, "heads": 6},
    "B": {"width": 768, "depth": 12, "heads": 12},
    "L": {"width": 1024, "depth": 24, "heads": 16},
    "XL": {"width": 1152, "depth": 28, "heads": 16},
}


@dataclass
class DenoiserConfig:
    """What a DiT is built of; the other denoisers add to it."""

    channels: int = 3  # of the video or latents
    patch: tuple[int, int, int] = (2, 8, 8)  # frames, height, width
    width: int = 128
    depth: int = 4
    heads: int = 4
    text_width: int = 128
    time_scale: float = 1000.0  # t is scaled by this before the sinusoidal embedding
    mlp: str = "gelu"
    norm: str = "layer"
    qk_norm: bool = True
    rope: bool = True  # rotary positions in attention, besides the fixed ones that are added to the patches
    frame_levels: bool = False  # whether t may be (B, T), a noise level for each frame: `levels.py`

    def __post_init__(self):
        self.check("mlp", MLPS)
        self.check("norm", NORMS)

    def check(self, name: str, known: tuple[str, ...]) -> None:
        if getattr(self, name) not in known:
            raise ValueError(f"{name} {getattr(self, name)!r} is not one of {', '.join(known)}")


class DiTBlock(nn.Module):
    """Attention and feed-forward, each with a shift, a scale and a gate that the condition sets."""

    def __init__(self, config: DenoiserConfig):
        super().__init__()
        width = config.width
        self.norm1 = make_norm(config.norm, width, affine=False)  # the condition's scale and shift take their place
        self.attention = Attention(width, config.heads, config.qk_norm, config.norm)
        self.norm2 = make_norm(config.norm, width, affine=False)
        self.mlp = FeedForward(width, config.mlp)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, h: Tensor, condition: Tensor, where: Tensor | None, mask: Mask, rotation) -> Tensor:
        """h (B, N, D), condition (B, 1, D), or rows and `where` of `FrameLevels` → (B, N, D); the rest: `Attention`."""
        shift1, scale1, shift2, scale2, gate1, gate2 = to_tokens(self.modulation(condition), where).chunk(6, dim=-1)
        h = h + gate1 * self.attention(modulate(self.norm1(h), shift1, scale1), mask, rotation)
        return h + gate2 * self.mlp(modulate(self.norm2(h), shift2, scale2))


class DiT(nn.Module):
    config_class, sizes = DenoiserConfig, SIZES

    def __init__(self, config: DenoiserConfig):
        super().__init__()
        self.config, width = config, config.width
        values = config.channels * config.patch[0] * config.patch[1] * config.patch[2]  # of a patch
        self.embed, self.out = nn.Linear(values, width), nn.Linear(width, values)
        self.embed_pooled = nn.Linear(config.text_width, width)
        self.embed_text = nn.Linear(config.text_width, width)
        self.embed_time = TimeEmbedding(width, config.time_scale)
        self.levels = FrameLevels(width, config.patch[0]) if config.frame_levels else None
        self.blocks = nn.ModuleList(DiTBlock(config) for _ in range(config.depth))
        self.norm = make_norm(config.norm, width, affine=False)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        initialize_weights(self)

    def forward(self, x: Tensor, t: Tensor, text: Text) -> Tensor:
        """x (B, C, T, H, W), t (B,) in [0, 1], Text of B captions → (B, C, T, H, W)."""
        h, given = self.sequence(x, t, text)
        return self.video(self.transform(h, given), given)

    def sequence(self, x: Tensor, t: Tensor, text: Text) -> tuple[Tensor, Told]:
        """Patches, then words, as tokens (B, N + L, D)."""
        config, size = self.config, x.shape[2:]
        grid = tuple(n // p for n, p in zip(size, config.patch, strict=True))  # (T', H', W')
        h = self.embed(patchify(x, config.patch))  # (B, N, D)
        mask = torch.cat([text.mask.new_ones(h.shape[:2]), text.mask], dim=1)[:, None, None]  # (B, 1, 1, N + L)
        h = h + positions_3d(grid, config.width, h.device).to(h.dtype)  # residual stream: bf16 under autocast
        h = torch.cat([h, self.embed_text(text.tokens)], dim=1)  # (B, N + L, D)
        words = text.mask.shape[1]
        rotation = rotations_3d(grid, config.width // config.heads, words, h.device) if config.rope else None

        time, where = self.embed_time(t.reshape(len(h), -1)), None  # (B, 1, D)
        if t.dim() == 2:  # each frame has its own
            time, where = self.levels(time, grid, words)
        return h, Told(time + self.embed_pooled(text.pooled)[:, None], where, mask, rotation, size)

    def transform(self, h: Tensor, given: Told) -> Tensor:
        condition, where, mask, rotation, _ = given
        for block in self.blocks:
            h = block(h, condition, where, mask, rotation)
        return h

    def video(self, h: Tensor, given: Told) -> Tensor:
        """The patches (B, N, D) among the tokens → (B, C, T, H, W)."""
        patches = math.prod(given.size) // math.prod(self.config.patch)
        shift, scale = to_tokens(self.modulation(given.condition), given.where)[:, :patches].chunk(2, dim=-1)
        h = modulate(self.norm(h[:, :patches]), shift, scale)
        return unpatchify(self.out(h), self.config.patch, given.size)

    def on_tokens(self) -> list[nn.Module]:
        """The layers that every token passes through."""
        return [self.embed, self.out, *(part for block in self.blocks for part in (block.attention, block.mlp))]


def initialize_weights(model: nn.Module, zero: tuple[str, ...] = ("modulation.1",)) -> None:
    """As in DiT, section 3.2: the layers that give shifts, scales and gates start at 0, so that each block starts as
    the identity; and so does the output. zero: the ends of these layers' names."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    for layer in (model.embed_time.mlp[0], model.embed_time.mlp[2]):
        nn.init.normal_(layer.weight, std=0.02)
    for name, module in model.named_modules():
        if name.endswith(zero):
            nn.init.zeros_(module.weight)
    nn.init.zeros_(model.out.weight)
