"""Causal layers: an output frame does not depend on later input frames (MAGVIT-v2, 2310.05737).

So a video can be processed a few frames at a time. A layer keeps what it needs of earlier frames in a `Memory`, and the
result equals that of the whole video at once. Without a memory, a layer treats its input as the whole video.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Memory = dict[nn.Module, Tensor]  # what each layer keeps of earlier frames; empty at first


class CausalConv3d(nn.Conv3d):
    """A convolution over this frame and earlier ones: (B, C, T, H, W) → (B, C', T', H', W'). The first frame is padded
    with copies of itself, so an image is a still video. With a stride of t, 1 + k t frames become 1 + k."""

    def __init__(self, channels: int, outputs: int, stride: tuple[int, int, int] = (1, 1, 1)):
        super().__init__(channels, outputs, 3, stride, padding=(0, 1, 1))

    def forward(self, h: Tensor, memory: Memory | None = None) -> Tensor:
        copies = h[:, :, :1].expand(-1, -1, self.kernel_size[0] - 1, -1, -1)
        h = torch.cat([(memory or {}).get(self, copies), h], dim=2)
        outputs = super().forward(h)
        if memory is not None:
            memory[self] = h[:, :, outputs.shape[2] * self.stride[0] :].clone()  # the next window begins with these
        return outputs


class ChannelNorm(nn.Module):
    """RMSNorm (1910.07467) over the channels of each position. Statistics over time would look ahead, and statistics
    over space would differ from tile to tile."""

    def __init__(self, channels: int):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels, 1, 1, 1))

    def forward(self, h: Tensor) -> Tensor:
        return h * torch.rsqrt(h.square().mean(1, keepdim=True) + 1e-6) * self.gain


class ResNetBlock(nn.Module):
    """A residual block of two convolutions; it is the identity at initialisation."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm1, self.conv1 = ChannelNorm(channels), CausalConv3d(channels, channels)
        self.norm2, self.conv2 = ChannelNorm(channels), CausalConv3d(channels, channels)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, h: Tensor, memory: Memory | None = None) -> Tensor:
        inner = self.conv1(F.silu(self.norm1(h)), memory)
        return h + self.conv2(F.silu(self.norm2(inner)), memory)


class CausalUpsample(nn.Module):
    """Each position becomes t × h × w positions, each by its own channels (depth to space); 1 + k frames become
    1 + k t."""

    def __init__(self, channels: int, outputs: int, factors: tuple[int, int, int]):
        super().__init__()
        self.factors = factors
        self.spread = nn.Conv3d(channels, outputs * factors[0] * factors[1] * factors[2], 1)

    def forward(self, h: Tensor, memory: Memory | None = None) -> Tensor:
        h = unfold(self.spread(h), self.factors)
        begun = memory and self in memory
        if memory is not None:
            memory[self] = h[:, :, :0]  # empty: it only marks that frames came before
        return h if begun else h[:, :, self.factors[0] - 1 :]  # the first frame is not repeated


def fold(h: Tensor, factors: tuple[int, int, int]) -> Tensor:
    """Space to depth, blocks of positions → channels: (B, C, T t, H h, W w) → (B, C t h w, T, H, W)."""
    (t, height, width), size = factors, h.shape
    h = h.reshape(size[0], size[1], size[2] // t, t, size[3] // height, height, size[4] // width, width)
    return h.permute(0, 1, 3, 5, 7, 2, 4, 6).flatten(1, 4)


def unfold(h: Tensor, factors: tuple[int, int, int]) -> Tensor:
    """Depth to space, the inverse of `fold`: (B, C t h w, T, H, W) → (B, C, T t, H h, W w)."""
    h = h.unflatten(1, (-1, *factors)).permute(0, 1, 5, 2, 6, 3, 7, 4)  # (B, C, T, t, H, h, W, w)
    return h.flatten(6, 7).flatten(4, 5).flatten(2, 3)
