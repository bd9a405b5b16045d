"""VideoGPT's VQ-VAE (Yan et al., 2104.10157): video ↔ codes, an integer for each block of, say, 4 × 4 × 4 pixels.

It has 3D convolutions and axial attention, and is not causal: every frame sees every other. A diffusion model works on
the vectors before quantisation; `decode` quantises them first (as VQ-regularised autoencoders do in 2112.10752,
section 3.1).
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lite_sora.autoencoders.quantizers import FSQ, EMACodebook, check_levels
from lite_sora.autoencoders.shapes import AutoencoderOutput, check_downsample, latent_shape
from lite_sora.layers.attention import attend

QUANTIZERS = ("ema", "fsq")


@dataclass
class VQConfig:
    downsample: tuple[int, int, int] = (4, 4, 4)  # frames, height, width: powers of two
    channels: int = 240
    blocks: int = 4  # residual blocks, in the encoder and in the decoder
    heads: int = 2
    quantizer: str = "ema"
    codes: int = 2048
    code_width: int = 256  # the width of a code's vector
    levels: list[int] = field(default_factory=lambda: [8, 5, 5, 5])  # FSQ only: levels of each channel, here 1000 codes
    amplitude: float = 1.0  # the network sees videos in [-amplitude, amplitude]; VideoGPT: 0.5

    def __post_init__(self):
        self.downsample = check_downsample(self.downsample)
        if max(self.downsample) == 1:
            raise ValueError("downsample is 1 1 1, so a VQ-VAE would not compress; one of its factors must be above 1")
        if self.quantizer not in QUANTIZERS:
            raise ValueError(f"quantizer {self.quantizer!r} is not one of {', '.join(QUANTIZERS)}")
        if self.quantizer == "fsq":
            check_levels(self.levels)
        if self.channels % (2 * self.heads):
            multiple = 2 * self.heads
            raise ValueError(f"channels {self.channels} must be a multiple of twice the number of heads, {multiple}")

    @property
    def latent_channels(self) -> int:
        return self.code_width if self.quantizer == "ema" else len(self.levels)

    @property
    def strides(self) -> list[tuple[int, int, int]]:
        """Strides of the downsampling convolutions, in VideoGPT's order: (2, 4, 4) → [(2, 2, 2), (1, 2, 2)]."""
        halvings = [factor.bit_length() - 1 for factor in self.downsample]
        return [tuple(2 if step < halving else 1 for halving in halvings) for step in range(max(halvings))]


PRESETS = {"toy": VQConfig(channels=64, blocks=1, codes=256, code_width=32), "videogpt": VQConfig()}


class SameConv3d(nn.Conv3d):
    """A convolution padded so that T frames become T / stride, and height and width likewise."""

    def __init__(self, channels: int, outputs: int, kernel: int, stride=(1, 1, 1), bias: bool = True):
        super().__init__(channels, outputs, kernel, stride, bias=bias)
        around = [kernel - step for step in reversed(stride)]  # F.pad begins with the last axis
        self.around = [side for total in around for side in (total - total // 2, total // 2)]

    def forward(self, h: Tensor) -> Tensor:
        return super().forward(F.pad(h, self.around))


class SameConvTranspose3d(nn.ConvTranspose3d):
    """A transposed convolution, cropped so that T frames become T * stride, and height and width likewise. One position
    is cropped at the front, the rest of the surplus at the end."""

    def __init__(self, channels: int, outputs: int, stride: tuple[int, int, int]):
        super().__init__(channels, outputs, 4, stride)

    def forward(self, h: Tensor) -> Tensor:
        t, height, width = (1 + n * step for n, step in zip(h.shape[2:], self.stride, strict=True))
        return super().forward(h)[:, :, 1:t, 1:height, 1:width]


class AxisAttention(nn.Module):
    """Self-attention along one axis of (B, T, H, W, D)."""

    def __init__(self, width: int, heads: int, axis: int):
        super().__init__()
        self.heads, self.axis = heads, axis
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, h: Tensor) -> Tensor:
        h = h.movedim(self.axis, -2)
        q, k, v = self.qkv(h).unflatten(-1, (3, self.heads, -1)).movedim((-3, -2), (0, -3))  # (…, heads, N, D / heads)
        return self.out(attend(q, k, v)).movedim(-2, self.axis)


class AxialAttention(nn.Module):
    """Axial attention (1912.12180): the sum of attention along width, height and time, (B, D, T, H, W) → the same."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.axes = nn.ModuleList([AxisAttention(width, heads, axis) for axis in (3, 2, 1)])

    def forward(self, h: Tensor) -> Tensor:
        h = h.movedim(1, -1)  # (B, T, H, W, D)
        return sum(attention(h) for attention in self.axes).movedim(-1, 1)


class AttentionBlock(nn.Module):
    """A residual block of two convolutions and axial attention."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.inner = nn.Sequential(
            nn.BatchNorm3d(width),
            nn.ReLU(),
            SameConv3d(width, width // 2, 3, bias=False),
            nn.BatchNorm3d(width // 2),
            nn.ReLU(),
            SameConv3d(width // 2, width, 1, bias=False),
            nn.BatchNorm3d(width),
            nn.ReLU(),
            AxialAttention(width, heads),
        )

    def forward(self, h: Tensor) -> Tensor:
        return h + self.inner(h)


def attention_blocks(config: VQConfig) -> nn.Sequential:
    blocks = [AttentionBlock(config.channels, config.heads) for _ in range(config.blocks)]
    return nn.Sequential(*blocks, nn.BatchNorm3d(config.channels), nn.ReLU())


class VQAutoencoder(nn.Module):
    """`codes` and `decode_codes` work with codes; `encode` and `decode` with latents, which have mean 0 and variance 1
    once `shift` and `scale` have been measured on training data."""

    def __init__(self, config: VQConfig):
        super().__init__()
        self.config = config
        self.downsample, self.latent_channels = config.downsample, config.latent_channels
        down, up, width = [], [], config.channels
        for number, stride in enumerate(config.strides):
            down += [SameConv3d(width if number else 3, width, 4, stride), nn.ReLU()]
            last = number == len(config.strides) - 1
            up += [SameConvTranspose3d(width, 3 if last else width, stride)] + ([] if last else [nn.ReLU()])
        self.encoder = nn.Sequential(
            *down, SameConv3d(width, width, 3), attention_blocks(config), nn.Conv3d(width, config.latent_channels, 1)
        )
        ema = config.quantizer == "ema"
        self.quantizer = EMACodebook(config.codes, config.code_width) if ema else FSQ(config.levels)
        self.decoder = nn.Sequential(nn.Conv3d(config.latent_channels, width, 1), attention_blocks(config), *up)
        self.register_buffer("shift", torch.zeros(config.latent_channels, 1, 1, 1))  # each channel's mean
        self.register_buffer("scale", torch.ones(()))  # 1 / the standard deviation over all channels

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(C, T', H', W') of a video. Raises ValueError for a size that is not a multiple of its factor."""
        return latent_shape(self.latent_channels, self.downsample, frames, height, width)

    def forward(self, video: Tensor, noise: Tensor | None = None) -> AutoencoderOutput:
        """For training: video (B, 3, T, H, W) in [-1, 1]. noise is ignored: only `KLAutoencoder` samples its latents.
        The penalty is the commitment of latents to their codes."""
        z = self.encoder(video * self.config.amplitude)
        vectors, codes, commitment = self.quantizer(z)
        return AutoencoderOutput(self.decoder(vectors) / self.config.amplitude, commitment, z, codes)

    @torch.no_grad()
    def codes(self, video: Tensor) -> Tensor:
        """video (B, 3, T, H, W) in [-amplitude, amplitude] → codes (B, T', H', W')."""
        self.latent_shape(*video.shape[2:])
        return self.quantizer.choose(self.encoder(video))

    @torch.no_grad()
    def decode_codes(self, codes: Tensor) -> Tensor:
        """codes (B, T', H', W') → video (B, 3, T, H, W) in about [-amplitude, amplitude]."""
        return self.decoder(self.quantizer.look_up(codes))

    @torch.no_grad()
    def encode(self, video: Tensor) -> Tensor:
        """video (B, 3, T, H, W) in [-1, 1] → latents (B, C, T', H', W')."""
        self.latent_shape(*video.shape[2:])
        return (self.encoder(video * self.config.amplitude) - self.shift) * self.scale

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """latents (B, C, T', H', W') → video (B, 3, T, H, W) in about [-1, 1]."""
        codes = self.quantizer.choose(latents / self.scale + self.shift)
        return self.decode_codes(codes) / self.config.amplitude

    @property
    def last_layer(self) -> Tensor:
        """The weight of the output layer, where the adversarial loss is balanced (`losses.adaptive_weight`)."""
        return self.decoder[-1].weight
