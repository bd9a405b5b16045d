"""Autoencoders of the diffusers library: the image VAE of Stable Diffusion (2112.10752), a frame at a time."""

import json
from pathlib import Path

import torch
from torch import Tensor

from lite_sora.autoencoders.shapes import latent_shape


class PretrainedAutoencoder:
    """Any folder or hub id of an `AutoencoderKL`. Its weights stay where they are: a run refers to them by name."""

    def __init__(self, name: str):
        try:
            from diffusers import AutoencoderKL
        except ImportError:
            raise ValueError(f"the autoencoder {name} needs the diffusers package: pip install diffusers") from None
        config = Path(name) / "config.json"
        if config.is_file() and (kind := json.loads(config.read_text()).get("_class_name")) != "AutoencoderKL":
            raise ValueError(f"{config} describes a {kind}; only an AutoencoderKL can be used here")
        try:
            model = AutoencoderKL.from_pretrained(name, use_safetensors=True, low_cpu_mem_usage=False)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{name} is no autoencoder that can be loaded ({error}); without a network, name a folder with its "
                "config.json and .safetensors"
            ) from error
        self.model = model.eval().requires_grad_(False)
        halvings = len(self.model.config.block_out_channels) - 1
        self.downsample = (1, 2**halvings, 2**halvings)  # frames, height, width
        self.latent_channels = self.model.config.latent_channels
        self.scale = self.model.config.scaling_factor  # what latents are multiplied by to have unit variance
        self.shift = self.model.config.shift_factor or 0.0

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(C, T, H', W') of the latents of a video. Raises ValueError for a size that does not divide."""
        return latent_shape(self.latent_channels, self.downsample, frames, height, width)

    @torch.no_grad()
    def encode(self, video: Tensor) -> Tensor:
        """video (B, 3, T, H, W) in [-1, 1] → latents (B, C, T, H', W'), the means of their distributions."""
        frames = video.transpose(1, 2).flatten(0, 1)  # (B * T, 3, H, W)
        latents = self.model.to(video.device).encode(frames).latent_dist.mean
        return ((latents - self.shift) * self.scale).unflatten(0, (len(video), -1)).transpose(1, 2)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """latents (B, C, T, H', W') → video (B, 3, T, H, W) in about [-1, 1]."""
        frames = (latents / self.scale + self.shift).transpose(1, 2).flatten(0, 1)
        video = self.model.to(latents.device).decode(frames).sample
        return video.unflatten(0, (len(latents), -1)).transpose(1, 2)
