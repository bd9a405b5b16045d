"""The published U-ViT (baofff/U-ViT, 2209.12152) of our blocks: of classes, of text, and unconditional.

It is `denoisers/uvit.py` with a table of positions, also for the tokens that are not patches: the time, and a class
label or the 77 tokens of CLIP. Each of these has a place of its own in the sequence, so none is masked.
"""

import math
from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor, nn

from lite_sora.denoisers.uvit import LongSkipBlocks, UViTConfig
from lite_sora.layers.patches import patchify, sincos, unpatchify
from lite_sora.published.dit import look_up
from lite_sora.published.state_dicts import TRANSFORMER, channels_first, count, fill, heads_of, take

HEADS = {512: 8, 768: 12, 1024: 16, 1152: 16}  # by width: table 1 of 2209.12152
CONTEXT = 77  # tokens of a caption, with CLIP's padding


@dataclass
class PublishedUViTConfig(UViTConfig):
    """The defaults are those of U-ViT-L/2 at 256 × 256, in the latents of Stable Diffusion."""

    channels: int = 4
    patch: tuple[int, int, int] = (1, 2, 2)
    width: int = 1024
    depth: int = 21
    heads: int = 16
    classes: int | None = 1001  # with the one for "no class", the last, if there is one; None: not of classes
    text_width: int = 0  # of CLIP's tokens; 0: it reads no text
    positions: tuple[int, int, int] = (1, 16, 16)  # patches in time, height and width
    time_mlp: bool = False  # between the sines and cosines of t and their token
    time_scale: float = 1.0
    qk_norm: bool = False
    rope: bool = False
    attention_bias: bool = False
    balance_frames: bool = False  # tokens that are not patches count once for each frame, as in the image model

    @property
    def others(self) -> int:
        """How many tokens of a label or a caption there are."""
        return 1 if self.classes else CONTEXT if self.text_width else 0


class PublishedUViT(LongSkipBlocks):
    """Its weights come from a checkpoint, by `convert`, or from a run folder."""

    def __init__(self, config: PublishedUViTConfig):
        super().__init__(config)
        self.config, width = config, config.width
        size = config.patch[0] * config.patch[1] * config.patch[2]
        self.embed, self.out = nn.Linear(config.channels * size, width), nn.Linear(width, config.channels * size)
        self.positions = nn.Parameter(torch.zeros(*config.positions, width))
        self.kinds = nn.Parameter(torch.zeros(1 + config.others, width))  # positions of the time and the others
        if config.classes:
            self.embed_class = nn.Embedding(config.classes, width)
        elif config.text_width:
            self.embed_text = nn.Linear(config.text_width, width)
        if config.time_mlp:
            self.embed_time = nn.Sequential(nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, width))
        self.norm = nn.LayerNorm(width)
        if config.convolution:
            self.convolution = nn.Conv3d(config.channels, config.channels, (1, 3, 3), padding=(0, 1, 1))

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """x (B, C, T, H, W), or images (B, C, H, W); t (B,) from 0 to 1000, or 999 in pixel space; condition: labels
        (B,), CLIP's tokens (B, 77, D), or None for an unconditional one → like x."""
        if x.dim() == 4:  # an image is a video of one frame
            return self(x[:, :, None], t, condition)[:, :, 0]
        config, size = self.config, x.shape[2:]
        h = self.embed(patchify(x, config.patch)) + look_up(self.positions, size, config.patch)  # (B, N, D)
        patches = h.shape[1]
        h = torch.cat([h, self.other_tokens(t, condition) + self.kinds], dim=1)  # (B, N + 1 + L, D)
        mask = None
        if config.balance_frames:  # log n more on a score is n times the weight
            mask = h.new_zeros(len(h), 1, 1, h.shape[1])
            mask[..., patches:] = math.log(size[0] // config.patch[0])
        h = self.through_blocks(h, mask, rotation=None)
        video = unpatchify(self.out(self.norm(h[:, :patches])), config.patch, size)
        return self.convolution(video) if config.convolution else video

    def other_tokens(self, t: Tensor, condition: Tensor | None) -> Tensor:
        """The time, and the label or the caption's tokens: (B, 1 + L, D)."""
        config = self.config
        time = sincos(config.time_scale * t, config.width).to(self.kinds.dtype)  # (B, D)
        tokens = [(self.embed_time(time) if config.time_mlp else time)[:, None]]
        if config.classes:
            tokens.append(self.embed_class(condition)[:, None])
        elif config.text_width:
            tokens.append(self.embed_text(condition))
        return torch.cat(tokens, dim=1)


def convert(state: dict[str, Tensor], heads: int | None) -> PublishedUViT:
    """The module of a published state dict, whose tensors are taken out of `state`. heads: None for `HEADS`. Raises
    KeyError, RuntimeError or ValueError for another state dict."""
    width, channels, patch, _ = state["patch_embed.proj.weight"].shape
    classes = len(state["label_emb.weight"]) if "label_emb.weight" in state else None
    text_width = state["context_embed.weight"].shape[1] if "context_embed.weight" in state else 0
    others = 1 if classes else CONTEXT if text_width else 0
    side = isqrt(max(0, state["pos_embed"].shape[1] - 1 - others))
    half = count(state, "in_blocks.")
    config = PublishedUViTConfig(
        channels=channels,
        patch=(1, patch, patch),
        width=width,
        depth=2 * half + 1,
        heads=heads_of(width, HEADS, heads),
        classes=classes,
        text_width=text_width,
        positions=(1, side, side),
        time_mlp="time_embed.0.weight" in state,
        skip="concat" if "out_blocks.0.skip_linear.weight" in state else "none",
        convolution="final_layer.weight" in state,
        attention_bias="mid_block.attn.qkv.bias" in state,
    )
    layers = {"embed": "patch_embed.proj", "norm": "norm", "out": "decoder_pred"}
    layers |= {"embed_text": "context_embed"} if text_width else {}
    layers |= {f"embed_time.{i}": f"time_embed.{i}" for i in (0, 2)} if config.time_mlp else {}
    layers |= {"convolution": "final_layer"} if config.convolution else {}
    names = [f"in_blocks.{i}" for i in range(half)] + ["mid_block"] + [f"out_blocks.{i}" for i in range(half)]
    for i, block in enumerate(names):
        for name, theirs in (TRANSFORMER | {"norm1": "norm1", "norm2": "norm2"}).items():
            layers[f"blocks.{i}.{name}"] = f"{block}.{theirs}"
    if config.skip == "concat":
        layers |= {f"skip_blocks.{i}": f"out_blocks.{i}.skip_linear" for i in range(half)}
    ours = take(state, layers)
    if classes:
        ours["embed_class.weight"] = state.pop("label_emb.weight")
    positions = state.pop("pos_embed")[0]  # (1 + L + N, D): the label before the time, captions after it
    kinds, ours["positions"] = positions[: 1 + others], positions[1 + others :].unflatten(0, (1, side, side))
    ours["kinds"] = kinds.flip(0) if classes else kinds
    ours["embed.weight"] = ours["embed.weight"].flatten(1)
    for part in ("weight", "bias"):
        ours[f"out.{part}"] = channels_first(ours[f"out.{part}"], patch, channels)
    if config.convolution:
        ours["convolution.weight"] = ours["convolution.weight"][:, :, None]
    return fill(PublishedUViT(config), ours, state)
