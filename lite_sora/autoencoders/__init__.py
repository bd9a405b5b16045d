"""Video ↔ latents."""

from lite_sora.autoencoders.pixel import PixelAutoencoder
from lite_sora.autoencoders.pretrained import PretrainedAutoencoder


def load_autoencoder(name: str) -> PixelAutoencoder | PretrainedAutoencoder:
    """ "pixel", or the folder or hub id of a pretrained one. Raises ValueError if it cannot be loaded."""
    return PixelAutoencoder() if name == "pixel" else PretrainedAutoencoder(name)
