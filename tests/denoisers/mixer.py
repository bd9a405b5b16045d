"""A denoiser of one's own, as small as one can be: an MLP-Mixer (Tolstikhin et al., 2105.01601). Patches are mixed by a
layer over all their positions, so that it fits one size of video, which it is told; the caption is added to each."""

from dataclasses import dataclass
from math import prod

from torch import Tensor, nn

from lite_sora.layers.blocks import FeedForward, TimeEmbedding
from lite_sora.layers.patches import patchify, unpatchify
from lite_sora.text.encoder import Text


@dataclass
class MixerConfig:
    channels: int
    size: tuple[int, int, int]  # frames, height, width
    patch: tuple[int, int, int]
    text_width: int
    width: int
    depth: int


class Mixer(nn.Module):
    config_class, sizes = MixerConfig, {"toy": {"width": 32, "depth": 2}}

    def __init__(self, config: MixerConfig):
        super().__init__()
        self.config, width = config, config.width
        patches = prod(n // p for n, p in zip(config.size, config.patch, strict=True))
        values = config.channels * prod(config.patch)
        self.enter, self.leave = nn.Linear(values, width), nn.Linear(width, values)
        self.steer = nn.Linear(config.text_width, width)
        self.time = TimeEmbedding(width)
        self.across = nn.ModuleList(nn.Linear(patches, patches) for _ in range(config.depth))
        self.within = nn.ModuleList(FeedForward(width) for _ in range(config.depth))

    def forward(self, x: Tensor, t: Tensor, text: Text) -> Tensor:
        """x (B, C, T, H, W), t (B,), Text of B captions → (B, C, T, H, W)."""
        h = self.enter(patchify(x, self.config.patch))  # (B, N, D)
        h = h + (self.time(t) + self.steer(text.pooled))[:, None]
        for across, within in zip(self.across, self.within, strict=True):
            h = h + across(h.mT).mT
            h = h + within(h)
        return unpatchify(self.leave(h), self.config.patch, x.shape[2:])

    def on_tokens(self) -> list[nn.Module]:
        return [self.enter, self.leave, self.within]
