"""Video ↔ latents: `encode`, `decode`, `downsample`, `latent_channels`, `latent_shape`, `scale` and `fingerprint`."""

import json
from pathlib import Path

from lite_sora.autoencoders.pixel import PixelAutoencoder
from lite_sora.autoencoders.pretrained import PretrainedAutoencoder
from lite_sora.autoencoders.saved import AUTOENCODERS, TrainedAutoencoder

__all__ = ["AUTOENCODERS", "load_autoencoder"]


def load_autoencoder(name: str | Path) -> PixelAutoencoder | TrainedAutoencoder | PretrainedAutoencoder:
    """name: "pixel", the run folder of an autoencoder, or the folder or hub id of a pretrained one of the diffusers
    library. Raises ValueError if it cannot be loaded."""
    if name == "pixel":
        return PixelAutoencoder()
    if Path(name).is_file():
        raise ValueError(f"{name} is a file; name the folder of an autoencoder's run")
    if Path(name).is_dir() and not _of_diffusers(Path(name)):
        return TrainedAutoencoder(name)
    return PretrainedAutoencoder(str(name))


def _of_diffusers(folder: Path) -> bool:
    """Whether the folder's config.json is one of the diffusers library."""
    try:
        return "_class_name" in json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
