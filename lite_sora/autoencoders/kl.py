"""A causal video VAE: video ↔ latents that are nearly normal (KL), for a diffusion model to work in.

It is a ResNet of causal convolutions, without attention (after MAGVIT-v2 2310.05737 and CogVideoX 2408.06072). 1 + k t
frames become 1 + k latent frames. The first frame is encoded on its own, so an image is a video of one frame. Every
layer is local, so long and large videos are processed in pieces (`streaming.py`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lite_sora.autoencoders.layers import CausalConv3d, CausalUpsample, ChannelNorm, Memory, ResNetBlock, fold, unfold
from lite_sora.autoencoders.shapes import AutoencoderOutput, causal_latent_shape, check_downsample, strides
from lite_sora.autoencoders.streaming import chunks, in_tiles


@dataclass
class KLConfig:
    downsample: tuple[int, int, int] = (2, 4, 4)  # frames, height, width: powers of two
    latent_channels: int = 8
    channels: int = 32  # at the finest resolution; each coarser one has twice as many, up to four times
    blocks: int = 1  # residual blocks at each resolution
    patch: int = 2  # squares of patch × patch pixels are folded into channels first: cheaper, a little less sharp

    def __post_init__(self):
        self.downsample = check_downsample(self.downsample)
        if self.patch not in (1, 2, 4) or any(side % self.patch for side in self.downsample[1:]):
            raise ValueError(f"patch {self.patch} is not 1, 2 or 4, or does not divide {self.downsample[1:]}")

    @property
    def strides(self) -> list[tuple[int, int, int]]:
        """The stride of each downsampling convolution, the finest resolution first."""
        frames, height, width = self.downsample
        return strides((frames, height // self.patch, width // self.patch))

    @property
    def widths(self) -> list[int]:
        """Channels at each resolution, the finest first."""
        return [self.channels * min(2**level, 4) for level in range(len(self.strides) + 1)]


PRESETS = {
    "toy": KLConfig(),
    "2x4x4": KLConfig((2, 4, 4), latent_channels=8, channels=64, blocks=2, patch=1),
    "4x8x8": KLConfig((4, 8, 8), latent_channels=16, channels=128, blocks=2, patch=1),
}


class Encoder(nn.Module):
    def __init__(self, config: KLConfig):
        super().__init__()
        self.patch, widths = (1, config.patch, config.patch), config.widths
        layers: list[nn.Module] = [CausalConv3d(3 * config.patch**2, widths[0])]
        for level, width in enumerate(widths):
            layers += [ResNetBlock(width) for _ in range(config.blocks)]
            if level < len(config.strides):
                layers.append(CausalConv3d(width, widths[level + 1], config.strides[level]))
        self.layers = nn.ModuleList(layers)
        self.norm = ChannelNorm(widths[-1])
        self.out = CausalConv3d(widths[-1], 2 * config.latent_channels)
        # a small variance at first, since a decoder learns nothing from latents that noise hides
        nn.init.zeros_(self.out.weight.data[config.latent_channels :])
        nn.init.constant_(self.out.bias.data[config.latent_channels :], -6)

    def forward(self, video: Tensor, memory: Memory | None = None) -> Tensor:
        """video (B, 3, 1 + k t, H, W) → mean and log variance of the latents, (B, 2 C, 1 + k, H', W')."""
        h = fold(video, self.patch)
        for layer in self.layers:
            h = layer(h, memory)
        return self.out(F.silu(self.norm(h)), memory)


class Decoder(nn.Module):
    def __init__(self, config: KLConfig):
        super().__init__()
        self.patch, widths = (1, config.patch, config.patch), config.widths
        layers: list[nn.Module] = [CausalConv3d(config.latent_channels, widths[-1])]
        for level in reversed(range(len(widths))):
            layers += [ResNetBlock(widths[level]) for _ in range(config.blocks)]
            if level:
                layers.append(CausalUpsample(widths[level], widths[level - 1], config.strides[level - 1]))
        self.layers = nn.ModuleList(layers)
        self.norm = ChannelNorm(widths[0])
        self.out = CausalConv3d(widths[0], 3 * config.patch**2)

    def forward(self, latents: Tensor, memory: Memory | None = None) -> Tensor:
        """latents (B, C, 1 + k, H', W') → video (B, 3, 1 + k t, H, W)."""
        for layer in self.layers:
            latents = layer(latents, memory)
        return unfold(self.out(F.silu(self.norm(latents)), memory), self.patch)


class KLAutoencoder(nn.Module):
    """`encode` returns latents of mean 0 and variance 1, once `shift` and `scale` were measured on training data."""

    def __init__(self, config: KLConfig):
        super().__init__()
        self.config = config
        self.downsample, self.latent_channels = config.downsample, config.latent_channels
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.register_buffer("shift", torch.zeros(config.latent_channels, 1, 1, 1))  # each channel's mean
        self.register_buffer("scale", torch.ones(()))  # 1 / the standard deviation over all channels
        self.chunk = 4  # latent frames per chunk
        self.tile, self.overlap = 32, 8  # side of a tile and its overlap with the next, in latents

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(C, 1 + k, H', W') of 1 + k t frames. Raises ValueError for an invalid size."""
        return causal_latent_shape(self.latent_channels, self.downsample, frames, height, width)

    def forward(self, video: Tensor, noise: Tensor) -> AutoencoderOutput:
        """For training: video (B, 3, T, H, W), noise (B, C, T', H', W'). The penalty is the KL divergence of the
        latents' distribution from a standard normal one, in nats per value (1312.6114, appendix B)."""
        mean, log_variance = self.encoder(video).float().chunk(2, dim=1)
        log_variance = log_variance.clamp(-20, 10)  # an untrained encoder may output anything
        latents = mean + (log_variance / 2).exp() * noise
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance) / 2
        return AutoencoderOutput(self.decoder(latents), divergence.flatten(1).mean(1), mean)

    @torch.no_grad()
    def encode_stream(self, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
        """Pieces of a video (B, 3, T, H, W) in [-1, 1] → pieces of its latents. The first piece has 1 + k t frames, the
        others k t. Memory depends only on the largest piece."""
        memory: Memory = {}
        for piece in pieces:
            yield (self.encoder(piece, memory).chunk(2, dim=1)[0] - self.shift) * self.scale

    @torch.no_grad()
    def decode_stream(self, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
        """Pieces of latents, of any number of frames, → pieces of the video."""
        memory: Memory = {}
        for piece in pieces:
            yield self.decoder(piece / self.scale + self.shift, memory)

    def encode(self, video: Tensor) -> Tensor:
        """video (B, 3, 1 + k t, H, W) in [-1, 1] → latents (B, C, 1 + k, H', W'), the means of their distributions."""
        self.latent_shape(*video.shape[2:])

        def encode(tile: Tensor) -> Tensor:
            return torch.cat([*self.encode_stream(chunks(tile, self.chunk * self.downsample[0]))], dim=2)

        return in_tiles(encode, video, self.tile, self.overlap, read=self.downsample[1:], write=(1, 1))

    def decode(self, latents: Tensor) -> Tensor:
        """latents (B, C, 1 + k, H', W') → video (B, 3, 1 + k t, H, W) in about [-1, 1]."""

        def decode(tile: Tensor) -> Tensor:
            return torch.cat(list(self.decode_stream(chunks(tile, self.chunk))), dim=2)

        return in_tiles(decode, latents, self.tile, self.overlap, read=(1, 1), write=self.downsample[1:])

    @property
    def last_layer(self) -> Tensor:
        """The weight of the output layer, where the adversarial loss is balanced (`losses.adaptive_weight`)."""
        return self.decoder.out.weight
