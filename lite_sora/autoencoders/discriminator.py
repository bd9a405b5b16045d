"""A patch discriminator for videos: real or reconstructed, for each patch of space and time."""

from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """PatchGAN (1611.07004) in three dimensions: (B, 3, T, H, W) → logits (B, 1, T', H / 8, W / 8), high for real.
    Group normalisation, unlike batch normalisation, judges each video independently of the others in the batch."""

    def __init__(self, channels: int = 64):
        super().__init__()
        layers: list[nn.Module] = []
        for width, outputs, frames in ((3, channels, 1), (channels, 2 * channels, 2), (2 * channels, 4 * channels, 2)):
            layers.append(nn.Conv3d(width, outputs, (3, 4, 4), (frames, 2, 2), padding=1))
            if width != 3:
                layers.append(nn.GroupNorm(8, outputs))
            layers.append(nn.LeakyReLU(0.2))
        self.layers = nn.Sequential(*layers, nn.Conv3d(4 * channels, 1, 3, padding=1))

    def forward(self, video: Tensor) -> Tensor:
        return self.layers(video)
