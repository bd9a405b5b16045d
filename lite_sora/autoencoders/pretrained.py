"""Autoencoders of the diffusers library: image VAEs such as Stable Diffusion's (2112.10752), applied frame by frame,
and video VAEs such as CogVideoX's, HunyuanVideo's, Wan's, LTX's, Mochi's and Cosmos's.

They count frames in many ways, and their settings have many names. So latent shapes are found by running the network on
torch's "meta" device, where tensors have shapes and no values.
"""

from functools import lru_cache
from pathlib import Path

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
SIDE = 256  # height and width of the frames in a dry run


class PretrainedAutoencoder:
    """An `AutoencoderKL…` by folder or hub id. It is frozen, and a plain object, so that a denoiser does not train or
    save its weights; a run refers to it by name. Raises ValueError if it cannot be loaded."""

    def __init__(self, name: str):
        self.name, self.model = name, _load(name)
        self._dry_run = lru_cache(None)(lambda frames: dry_run(self.model, frames))
        images = _of_images(self.model)
        # 1 + 24 frames fit whatever the downsampling factor of time is
        still, video = self._dry_run(1), self._dry_run(1 if images else 25)
        if still is None or video is None:
            raise ValueError(f"{name} is an {type(self.model).__name__}, which does not take videos of three channels")
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
        """(C, T', H', W') of the latents of a video. Raises ValueError, with the flag, for an invalid size."""
        *_, h, w = latent_shape(self.latent_channels, (1, *self.downsample[1:]), 1, height, width)
        if _of_images(self.model):
            return self.latent_channels, frames, h, w
        if not self._fits(frames):
            near = (n for step in range(1, 100) for n in (frames - step, frames + step) if n > 0 and self._fits(n))
            raise ValueError(
                f"--frames {frames}: {self.name} does not decode as many frames as it encodes; try {next(near, 1)}"
            )
        return self.latent_channels, self._dry_run(frames)[0][1], h, w

    def _fits(self, frames: int) -> bool:
        latents, decoded = self._dry_run(frames) or ((0, 0), 0)
        known = self.scale.shape[1]  # latent frames that have statistics of their own, or 1 if all share theirs
        return decoded == frames and (known == 1 or latents[1] <= known)

    @torch.no_grad()
    def encode(self, video: Tensor) -> Tensor:
        """video (B, 3, T, H, W) in [-1, 1] → latents (B, C, T', H', W'), the means of their distributions."""
        self.latent_shape(*video.shape[2:])  # some networks silently drop frames that do not fit
        latents = encode(self.model.to(video.device), video)
        return (latents - _first(self.shift, latents)) * _first(self.scale, latents)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """latents (B, C, T', H', W') → video (B, 3, T, H, W) in about [-1, 1]."""
        latents = latents / _first(self.scale, latents) + _first(self.shift, latents)
        return decode(self.model.to(latents.device), latents)


def _load(name: str) -> nn.Module:
    check_name(name)
    try:
        import diffusers
    except ImportError:
        what = f"the autoencoder {name}" if Path(name).is_dir() else f"there is no folder {name}; a model of the hub"
        raise ValueError(f"{what} needs the diffusers package: pip install diffusers") from None
    try:
        local = {"local_files_only": offline(name)}
        kind = diffusers.AutoencoderKL.load_config(name, **local).get("_class_name", "model without a class")
        if not kind.startswith("AutoencoderKL") or not hasattr(diffusers, kind):
            raise ValueError(f"it is a {kind}, not an AutoencoderKL… of diffusers {diffusers.__version__}")
        if kind in UNFIT:
            raise ValueError(f"an {kind} is not supported: {UNFIT[kind]}")
        with torch.random.fork_rng([]):  # random weights are drawn before the saved ones replace them
            model, report = getattr(diffusers, kind).from_pretrained(
                name, use_safetensors=True, low_cpu_mem_usage=False, output_loading_info=True, **local
            )
        if missing := report["missing_keys"]:
            raise ValueError(f"its weights are not those of an {kind}: {min(missing)} is missing")
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"the autoencoder {name} cannot be loaded ({str(error).strip()}); without a network, name a folder with "
            "its config.json and .safetensors"
        ) from error
    return model.eval().requires_grad_(False)


def _of_images(model: nn.Module) -> bool:
    """Whether the network encodes images, and so each frame on its own."""
    return type(model).__name__ in IMAGES


def encode(model: nn.Module, video: Tensor) -> Tensor:
    """video (B, 3, T, H, W) → the network's own latents (B, C, T', H', W')."""
    if not _of_images(model):
        # one video at a time: this saves memory, and HunyuanVideo 1.5's takes only one
        return torch.cat([model.encode(one).latent_dist.mode() for one in video.split(1)])
    frames = video.transpose(1, 2).flatten(0, 1)  # (B * T, 3, H, W)
    return model.encode(frames).latent_dist.mode().unflatten(0, (len(video), -1)).transpose(1, 2)


def decode(model: nn.Module, latents: Tensor) -> Tensor:
    """The network's own latents (B, C, T', H', W') → video (B, 3, T, H, W)."""
    if not _of_images(model):
        # LTX's decoder is conditioned on the noise level of its latents: 0
        condition = {"temb": latents.new_zeros(1)} if model.config.get("timestep_conditioning") else {}
        return torch.cat([model.decode(one, **condition).sample for one in latents.split(1)])
    # Stable Video Diffusion's encodes images, and decodes them as one video
    condition = {"num_frames": latents.shape[2]} if type(model).__name__ == "AutoencoderKLTemporalDecoder" else {}
    frames = latents.transpose(1, 2).flatten(0, 1)  # (B * T, C, H', W')
    return model.decode(frames, **condition).sample.unflatten(0, (len(latents), -1)).transpose(1, 2)


@torch.no_grad()
def dry_run(model: nn.Module, frames: int) -> tuple[torch.Size, int] | None:
    """The latents' shape (C, T', H', W') of a video with this number of frames, and the number of frames decoded from
    them; None if the network fails on such a video."""
    with torch.device("meta"):  # a fresh network each time, since some keep state of a video that they failed on
        model = type(model).from_config(model.config).to("meta").eval()
        try:
            latents = encode(model, torch.empty(1, 3, frames, SIDE, SIDE))
            return latents.shape[1:], decode(model, latents).shape[2]
        except Exception:  # networks fail in many ways on videos that they are not made for
            return None


def statistics(model: nn.Module, channels: int) -> tuple[Tensor, Tensor]:
    """(shift, scale) for which (latents - shift) * scale has about unit variance, each (C, 1, 1, 1), or (C, T', 1, 1)
    if they differ in time (Cosmos). As in diffusers' pipelines, a model has a mean and deviation per channel, or one
    number for all; the defaults are 0 and 1."""
    known = dict(model.config) | dict(model.named_buffers())  # LTX keeps them as buffers
    mean, deviation = known.get("latents_mean"), known.get("latents_std")
    if mean is None or deviation is None:
        mean, deviation = [known.get("shift_factor") or 0.0] * channels, [1.0] * channels
    mean, deviation = (torch.as_tensor(n, dtype=torch.float32).reshape(channels, -1, 1, 1) for n in (mean, deviation))
    return mean, (known.get("scaling_factor") or 1.0) / deviation


def _first(values: Tensor, latents: Tensor) -> Tensor:
    """The statistics (C, 1 or more, 1, 1) of the first T' frames, for latents (B, C, T', H', W')."""
    return values[:, : latents.shape[2]].to(latents)
