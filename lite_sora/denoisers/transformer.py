"""What every denoiser here is: patches in, a transformer, patches out. And what it is told: a caption, or a class."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lite_sora.layers.blocks import MLPS, NORMS
from lite_sora.layers.patches import patchify, positions_3d, rotations_3d, unpatchify
from lite_sora.text.encoder import Text


@dataclass
class TransformerConfig:
    """The fields that DiT and U-ViT share."""

    channels: int = 3  # of the video or latents
    out_channels: int | None = None  # None: as many; the published DiT also puts out a variance
    patch: tuple[int, int, int] = (2, 8, 8)  # frames, height, width
    width: int = 128
    depth: int = 4
    heads: int = 4
    text_width: int = 128
    classes: int | None = None  # labels instead of captions: how many there are, with the one for "none"
    time_scale: float = 1000.0  # what t is multiplied by before its sines and cosines
    positions: tuple[int, int, int] | None = None  # grid of a learned table of positions; None: computed ones
    mlp: str = "gelu"
    norm: str = "layer"
    qk_norm: bool = True
    rope: bool = True  # rotary positions in attention, beside the fixed ones that are added to the patches

    def __post_init__(self):
        self.check("mlp", MLPS)
        self.check("norm", NORMS)

    def check(self, name: str, known: tuple[str, ...]) -> None:
        if getattr(self, name) not in known:
            raise ValueError(f"{name} {getattr(self, name)!r} is not one of {', '.join(known)}")


class VideoTransformer(nn.Module):
    """Patches, positions, and images as videos of one frame. What happens between is each network's `transform`."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.config = config
        size = config.patch[0] * config.patch[1] * config.patch[2]
        self.embed = nn.Linear(config.channels * size, config.width)
        self.out = nn.Linear(config.width, (config.out_channels or config.channels) * size)
        if config.positions:
            self.positions = nn.Parameter(torch.zeros(*config.positions, config.width))

    def forward(self, x: Tensor, t: Tensor, condition: Text | Tensor | None = None) -> Tensor:
        """x (B, C, T, H, W), or images (B, C, H, W); t (B,) in [0, 1]; condition: Text of B captions, or labels (B,)
        of a model of classes. → like x, with `out_channels`."""
        if x.dim() == 4:
            return self(x[:, :, None], t, condition)[:, :, 0]
        patch = self.config.patch
        h = self.embed(patchify(x, patch))  # (B, N, D)
        grid = tuple(size // p for size, p in zip(x.shape[2:], patch, strict=True))  # (T', H', W')
        h = h + self.positions_of(grid, h.device).to(h.dtype)
        h = self.transform(h, t, condition, grid)  # (B, N, D)
        return unpatchify(self.out(h), patch, x.shape[2:])

    def transform(self, h: Tensor, t: Tensor, condition: Text | Tensor | None, grid: tuple[int, int, int]) -> Tensor:
        """Patches (B, N, D) of a grid (T', H', W') → patches (B, N, D)."""
        raise NotImplementedError

    def positions_of(self, grid: tuple[int, int, int], device) -> Tensor:
        """(N, D)."""
        if self.config.positions is None:
            return positions_3d(grid, self.config.width, device)
        table = tuple(self.config.positions)
        if grid[0] > table[0] or grid[1:] != table[1:]:
            raise ValueError(
                f"this model has positions for {table[0]} × {table[1]} × {table[2]} patches (time, height, width), "
                f"not for {grid[0]} × {grid[1]} × {grid[2]}; give it a video of that size"
            )
        return self.positions[: grid[0]].flatten(0, 2)

    def rotation_of(self, grid: tuple[int, int, int], others: int, device) -> Tensor | None:
        if not self.config.rope:
            return None
        return rotations_3d(grid, self.config.width // self.config.heads, others, device)
