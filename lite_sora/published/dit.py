"""The published DiT (facebookresearch/DiT, 2212.09748) and SiT (willisma/SiT, 2401.08740): one network of our blocks.

It is `denoisers/dit.py` with a class label in place of a caption and a table of positions. DiT also outputs a variance.
"""

from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor, nn

from lite_sora.denoisers.dit import DenoiserConfig, DiTBlock
from lite_sora.layers.attention import make_norm
from lite_sora.layers.blocks import TimeEmbedding
from lite_sora.layers.patches import modulate, patchify, unpatchify
from lite_sora.published.state_dicts import TRANSFORMER, channels_first, count, fill, heads_of, take

HEADS = {384: 6, 768: 12, 1024: 16, 1152: 16}  # by width: table 1 of 2212.09748; SiT has the same


@dataclass
class PublishedDiTConfig(DenoiserConfig):
    """The defaults are those of DiT-XL/2 at 256 × 256, in the latents of Stable Diffusion."""

    channels: int = 4
    out_channels: int = 8  # the noise and a variance
    patch: tuple[int, int, int] = (1, 2, 2)
    width: int = 1152
    depth: int = 28
    heads: int = 16
    text_width: int = 0  # it reads no text
    classes: int = 1001  # with the one for "no class", the last
    positions: tuple[int, int, int] = (1, 16, 16)  # patches in time, height and width
    time_scale: float = 1.0
    mlp: str = "gelu-tanh"
    qk_norm: bool = False
    rope: bool = False


class PublishedDiT(nn.Module):
    """Its weights come from a checkpoint, by `convert`, or from a run folder."""

    def __init__(self, config: PublishedDiTConfig):
        super().__init__()
        self.config, width = config, config.width
        size = config.patch[0] * config.patch[1] * config.patch[2]
        self.embed = nn.Linear(config.channels * size, width)
        self.out = nn.Linear(width, config.out_channels * size)
        self.positions = nn.Parameter(torch.zeros(*config.positions, width))
        self.embed_class = nn.Embedding(config.classes, width)
        self.embed_time = TimeEmbedding(width, config.time_scale)
        self.blocks = nn.ModuleList(DiTBlock(config) for _ in range(config.depth))
        self.norm = make_norm(config.norm, width, affine=False)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """x (B, C, T, H, W), or images (B, C, H, W); t (B,) as the original counts it, DiT 0 to 999, SiT 0 (noise) to 1
        (data); labels (B,) → like x, with `out_channels` channels: of DiT the noise, then a variance."""
        if x.dim() == 4:  # an image is a video of one frame
            return self(x[:, :, None], t, labels)[:, :, 0]
        config, size = self.config, x.shape[2:]
        h = self.embed(patchify(x, config.patch)) + look_up(self.positions, size, config.patch)  # (B, N, D)
        condition = (self.embed_time(t) + self.embed_class(labels))[:, None]  # (B, 1, D)
        for block in self.blocks:
            h = block(h, condition, where=None, mask=None, rotation=None)
        shift, scale = self.modulation(condition).chunk(2, dim=-1)  # each (B, 1, D)
        return unpatchify(self.out(modulate(self.norm(h), shift, scale)), config.patch, size)


def look_up(table: Tensor, size: tuple[int, int, int], patch: tuple[int, int, int]) -> Tensor:
    """Positions (N, D) of the patches of a video (T, H, W), from a table (frames, rows, columns, D) of patches, of at
    least as many frames. Raises ValueError for another height or width, or more frames."""
    frames, rows, columns = (n // p for n, p in zip(size, patch, strict=True))
    if frames > len(table) or (rows, columns) != table.shape[1:3]:
        known = " × ".join(map(str, table.shape[:3]))
        raise ValueError(
            f"this model has positions for {known} patches (time, height, width), "
            f"not for {frames} × {rows} × {columns}; give it a video of that size"
        )
    return table[:frames].flatten(0, 2)


def convert(state: dict[str, Tensor], heads: int | None, variance: bool) -> PublishedDiT:
    """The module of a published state dict, whose tensors are taken out of `state`. heads: None for `HEADS`. variance:
    whether the module outputs it; SiT's checkpoints have one too, but its own forward drops it. Raises KeyError,
    RuntimeError or ValueError for another state dict."""
    width, channels, patch, _ = state["x_embedder.proj.weight"].shape
    side = isqrt(state["pos_embed"].shape[1])
    out = state["final_layer.linear.weight"].shape[0] // patch**2
    kept = out if variance else channels
    config = PublishedDiTConfig(
        channels=channels,
        out_channels=kept,
        patch=(1, patch, patch),
        width=width,
        depth=count(state, "blocks."),
        heads=heads_of(width, HEADS, heads),
        classes=len(state["y_embedder.embedding_table.weight"]),
        positions=(1, side, side),
    )
    layers = {"embed": "x_embedder.proj", "out": "final_layer.linear"}
    layers |= {f"embed_time.mlp.{i}": f"t_embedder.mlp.{i}" for i in (0, 2)}
    layers["modulation.1"] = "final_layer.adaLN_modulation.1"
    for i in range(config.depth):
        layers |= {f"blocks.{i}.{name}": f"blocks.{i}.{theirs}" for name, theirs in TRANSFORMER.items()}
        layers[f"blocks.{i}.modulation.1"] = f"blocks.{i}.adaLN_modulation.1"
    ours = take(state, layers)
    ours["positions"] = state.pop("pos_embed").unflatten(1, (side, side))
    ours["embed_class.weight"] = state.pop("y_embedder.embedding_table.weight")
    ours["embed.weight"] = ours["embed.weight"].flatten(1)
    for part in ("weight", "bias"):
        ours[f"out.{part}"] = channels_first(ours[f"out.{part}"], patch, out)[: kept * patch**2]
        for i in range(config.depth):
            # theirs: shift, scale and gate of attention, then of the feed-forward; ours: the gates at the end
            name = f"blocks.{i}.modulation.1.{part}"
            shift1, scale1, gate1, shift2, scale2, gate2 = ours[name].chunk(6)
            ours[name] = torch.cat([shift1, scale1, shift2, scale2, gate1, gate2])
    return fill(PublishedDiT(config), ours, state)
