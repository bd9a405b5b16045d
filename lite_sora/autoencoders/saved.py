"""Autoencoders as run folders: config.json and model.safetensors. Nothing in them is ever executed."""

from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from lite_sora.autoencoders import kl, vq
from lite_sora.autoencoders.kl import KLAutoencoder, KLConfig
from lite_sora.autoencoders.vq import VQAutoencoder, VQConfig
from lite_sora.storage.runs import described_by, load_weights, need, read_json, write_run
from lite_sora.storage.tensors import digest, digest_of_weights

AUTOENCODERS = {  # kind: (network, its configuration, its presets)
    "kl": (KLAutoencoder, KLConfig, kl.PRESETS),
    "vq": (VQAutoencoder, VQConfig, vq.PRESETS),
}


class TrainedAutoencoder:
    """An autoencoder trained by `python train.py autoencoder`. It is frozen, and a plain object, so that a denoiser
    that works on its latents does not train it or save it among its own weights."""

    def __init__(self, folder: Path | str):
        self.model = open_folder(Path(folder)).eval().requires_grad_(False)
        self.training = read_config(Path(folder))["training"]  # the settings of its run
        self.downsample, self.latent_channels = self.model.downsample, self.model.latent_channels
        self.scale = float(self.model.scale)  # latents, less their mean, are multiplied by this to have unit variance

    def __deepcopy__(self, memo: dict) -> "TrainedAutoencoder":
        return self  # frozen: a copy of the denoiser, such as its average, shares it

    def fingerprint(self) -> str:
        """A digest of all that latents depend on: weights, shift, scale and configuration. It names them in a cache."""
        weights = self.model.state_dict() | {"applied scale": torch.as_tensor(self.scale)}  # shift is a buffer
        return digest(digest_of_weights(weights), self.model.config)

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(C, T', H', W') of the latents of a video. Raises ValueError for an invalid size."""
        return self.model.latent_shape(frames, height, width)

    def encode(self, video: Tensor) -> Tensor:
        """video (B, 3, T, H, W) in [-1, 1] → latents (B, C, T', H', W')."""
        return self.model.to(video.device).encode(video)

    def decode(self, latents: Tensor) -> Tensor:
        """latents (B, C, T', H', W') → video (B, 3, T, H, W) in about [-1, 1]."""
        return self.model.to(latents.device).decode(latents)

    def save_pretrained(self, folder: Path) -> None:
        """Writes a copy: a denoiser is of use only with the weights whose latents it was trained on."""
        save_folder(self.model, folder, self.training)


def save_folder(model: KLAutoencoder | VQAutoencoder, folder: Path, training: dict | None = None) -> None:
    """Writes config.json and model.safetensors, each atomically. training: the settings of the run."""
    kind = next(kind for kind, (network, _, _) in AUTOENCODERS.items() if isinstance(model, network))
    config = {"kind": kind, "network": asdict(model.config), "training": training or {}}
    write_run(folder, config, model.state_dict())


def read_config(folder: Path) -> dict:
    """The config.json of an autoencoder's run. Raises ValueError if it is missing or describes something else."""
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder}/config.json does not exist: this is not the run folder of an autoencoder")
    config = read_json(folder / "config.json")
    if config.get("kind") not in AUTOENCODERS:
        others = {"denoiser": "a text-to-video model", "transformer": "a prior"}  # by a key that only they have
        what = next((name for part, name in others.items() if part in config), "something else")
        raise ValueError(
            f"{folder}/config.json describes {what}, not an autoencoder; train one with `python train.py autoencoder`"
        )
    return config


def open_folder(folder: Path) -> KLAutoencoder | VQAutoencoder:
    """The network in a run folder, on the CPU. Raises ValueError."""
    config = read_config(folder)
    network, network_config, _ = AUTOENCODERS[config["kind"]]
    with described_by(folder, "an autoencoder"), torch.random.fork_rng([]):  # random weights, soon replaced
        model = network(network_config(**config["network"]))
    need(folder, "model.safetensors")
    load_weights(model, folder)
    return model
