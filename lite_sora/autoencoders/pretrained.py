"""Autoencoders of the diffusers library: image VAEs such as Stable Diffusion's (2112.10752), a frame at a time, and
video VAEs such as CogVideoX's, HunyuanVideo's, Wan's, LTX's, Mochi's and Cosmos's, as they are.

They count frames in many ways, and their settings have many names. So a network is asked itself what it makes of a
video, on torch's "meta" device, where tensors have shapes and no values.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn

from lite_sora.autoencoders.shapes import latent_shape
from lite_sora.storage.hub import check_name, offline
from lite_sora.storage.tensors import digest, digest_of_weights

IMAGES = ("AutoencoderKL", "AutoencoderKLHunyuanImage", "AutoencoderKLKVAE", "AutoencoderKLTemporalDecoder")
UNFIT = {
    "AutoencoderKLAllegro": "it works in tiles of one fixed size",
    "AutoencoderKLFlux2": "it normalises its latents in patches",
    "AutoencoderKLHunyuanImageRefiner": "its latents of an image are ordered in a way of their own",
    "AutoencoderKLMiniMaxH3": "its pixels are not between -1 and 1",
}
SIDE = 256  # of the frames that a network is asked about


class PretrainedAutoencoder:
    """Any folder or hub id of an `AutoencoderKL…`. Its weights stay where they are: a run refers to them by name."""

    def __init__(self, name: str):
        self.name, self.model = name, _load(name)
        self._asked = lru_cache(None)(lambda frames: dry_run(self.model, frames))
        images = _of_images(self.model)
        # 1 + 24 frames fit, whatever frames are divided by
        still, video = self._asked(1), self._asked(1 if images else 25)
        if still is None or video is None:
            raise ValueError(f"{name}, an {type(self.model).__name__}, takes no videos of three colours")
        self.latent_channels, _, side, _ = still[0]
        frames = 1 if images else 24 // max(1, video[0][1] - 1)
        self.downsample = (frames, SIDE // side, SIDE // side)  # frames, height, width
        self.shift, self.scale = statistics(self.model, self.latent_channels)

    def __deepcopy__(self, memo: dict) -> "PretrainedAutoencoder":
        return self  # frozen: a copy of the denoiser, such as its average, shares it

    def fingerprint(self) -> str:
        """A digest of all that latents depend on: weights, shift, scale and configuration. It names them in a cache."""
        weights = self.model.state_dict() | {"applied shift": self.shift, "applied scale": self.scale}
        settings = {name: value for name, value in self.model.config.items() if not name.startswith("_")}  # no paths
        return digest(digest_of_weights(weights), type(self.model).__name__, sorted(settings.items()))

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(C, T', H', W') of the latents of a video. Raises ValueError, with the flag, for a size that does not fit."""
        *_, h, w = latent_shape(self.latent_channels, (1, *self.downsample[1:]), 1, height, width)
        if _of_images(self.model):
            return self.latent_channels, frames, h, w
        if not self._fits(frames):
            near = (n for step in range(1, 100) for n in (frames - step, frames + step) if n > 0 and self._fits(n))
            raise ValueError(
                f"--frames {frames} is no number that {self.name} gives back as it was given; try {next(near, 1)}"
            )
        return self.latent_channels, self._asked(frames)[0][1], h, w

    def _fits(self, frames: int) -> bool:
        latents, decoded = self._asked(frames) or ((0, 0), 0)
        known = self.scale.shape[1]  # statistics of so many frames of latents, or one for all
        return decoded == frames and (known == 1 or latents[1] <= known)

    @torch.no_grad()
    def encode(self, video: Tensor) -> Tensor:
        """video (B, 3, T, H, W) in [-1, 1] → latents (B, C, T', H', W'), the means of their distributions."""
        self.latent_shape(*video.shape[2:])  # a network may leave out frames that do not fit, without a word
        latents = encode(self.model.to(video.device), video)
        return (latents - _first(self.shift, latents)) * _first(self.scale, latents)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """latents (B, C, T', H', W') → video (B, 3, T, H, W) in about [-1, 1]."""
        latents = latents / _first(self.scale, latents) + _first(self.shift, latents)
        return decode(self.model.to(latents.device), latents)


def _load(name: str) -> nn.Module:
    try:
        import diffusers
    except ImportError:
        raise ValueError(f"the autoencoder {name} needs the diffusers package: pip install diffusers") from None
    try:
        local = {"local_files_only": offline(check_name(name))}
        kind = diffusers.AutoencoderKL.load_config(name, **local).get("_class_name", "model of no class")
        if not kind.startswith("AutoencoderKL") or not hasattr(diffusers, kind):
            raise ValueError(f"it is a {kind}, and no AutoencoderKL… of diffusers {diffusers.__version__}")
        if kind in UNFIT:
            raise ValueError(f"an {kind} does not fit here, since {UNFIT[kind]}")
        # Weights are drawn first, then loaded over; on the CPU even where torch's device is "meta", as in compute.py
        with torch.random.fork_rng([]), torch.device("cpu"):
            model, report = getattr(diffusers, kind).from_pretrained(
                name, use_safetensors=True, low_cpu_mem_usage=False, output_loading_info=True, **local
            )
        if missing := report["missing_keys"]:
            raise ValueError(f"its weights are not those of an {kind}; {min(missing)} is missing")
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"{name} is no autoencoder that can be loaded ({str(error).strip()}); without a network, name a folder "
            "with its config.json and .safetensors"
        ) from error
    return model.eval().requires_grad_(False)


def _of_images(model: nn.Module) -> bool:
    return type(model).__name__ in IMAGES


def encode(model: nn.Module, video: Tensor) -> Tensor:
    """video (B, 3, T, H, W) → the network's own latents (B, C, T', H', W')."""
    if not _of_images(model):
        # one at a time saves memory; and some, of HunyuanVideo 1.5, take no more
        return torch.cat([model.encode(one).latent_dist.mode() for one in video.split(1)])
    frames = video.transpose(1, 2).flatten(0, 1)  # (B * T, 3, H, W)
    return model.encode(frames).latent_dist.mode().unflatten(0, (len(video), -1)).transpose(1, 2)


def decode(model: nn.Module, latents: Tensor) -> Tensor:
    """The network's own latents (B, C, T', H', W') → video (B, 3, T, H, W)."""
    if not _of_images(model):
        # LTX's decoder can be told how much noise is left in its latents: none
        told = {"temb": latents.new_zeros(1)} if model.config.get("timestep_conditioning") else {}
        return torch.cat([model.decode(one, **told).sample for one in latents.split(1)])
    # Stable Video Diffusion's sees images, and decodes them as one video
    told = {"num_frames": latents.shape[2]} if type(model).__name__ == "AutoencoderKLTemporalDecoder" else {}
    frames = latents.transpose(1, 2).flatten(0, 1)  # (B * T, C, H', W')
    return model.decode(frames, **told).sample.unflatten(0, (len(latents), -1)).transpose(1, 2)


@torch.no_grad()
def dry_run(model: nn.Module, frames: int) -> tuple[torch.Size, int] | None:
    """The latents' shape (C, T', H', W') of a video of so many frames, and how many are decoded from them; None where
    the network takes no such video."""
    with torch.device("meta"):  # and made anew each time, for some remember a video that they failed at
        model = type(model).from_config(model.config).to("meta").eval()
        try:
            latents = encode(model, torch.empty(1, 3, frames, SIDE, SIDE))
            return latents.shape[1:], decode(model, latents).shape[2]
        except Exception:  # whatever a network makes of a video that it is not for
            return None


def statistics(model: nn.Module, channels: int) -> tuple[Tensor, Tensor]:
    """(shift, scale) with which (latents - shift) * scale has about unit variance, each (C, 1, 1, 1), or (C, T', 1, 1)
    where they differ in time (Cosmos). As in diffusers' pipelines: a mean and deviation of each channel, or one number
    for all; 0 and 1 where a model names none."""
    known = dict(model.config) | dict(model.named_buffers())  # LTX has them beside its weights
    mean, deviation = known.get("latents_mean"), known.get("latents_std")
    if mean is None or deviation is None:
        mean, deviation = [known.get("shift_factor") or 0.0] * channels, [1.0] * channels
    mean, deviation = (
        torch.as_tensor(values, dtype=torch.float32).reshape(channels, -1, 1, 1) for values in (mean, deviation)
    )
    return mean, (known.get("scaling_factor") or 1.0) / deviation


def _first(values: Tensor, latents: Tensor) -> Tensor:
    """Statistics (C, 1 or more, 1, 1) of as many frames as there are latents (B, C, T', H', W')."""
    return values[:, : latents.shape[2]].to(latents)
