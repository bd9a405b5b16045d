"""The identity as an autoencoder: latents are pixels, so that pixel space is one more latent space."""

from torch import Tensor

from lite_sora.autoencoders.shapes import latent_shape


class PixelAutoencoder:
    downsample = (1, 1, 1)  # frames, height, width
    latent_channels = 3
    scale = 1.0  # latents are multiplied by this to have unit variance

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(C, T, H, W) of the latents of a video."""
        return latent_shape(self.latent_channels, self.downsample, frames, height, width)

    def fingerprint(self) -> str:
        """The name of these latents in a cache: they depend on nothing but the video."""
        return "pixel"

    def encode(self, video: Tensor) -> Tensor:
        """video (B, 3, T, H, W) in [-1, 1] → latents (B, 3, T, H, W)."""
        return video

    def decode(self, latents: Tensor) -> Tensor:
        """latents (B, 3, T, H, W) → video (B, 3, T, H, W), in about [-1, 1] if they are."""
        return latents
