"""Run folder or hub id → the model in it, whatever its kind, and the options that this kind has."""

import inspect
import json
from pathlib import Path

import torch

from lite_sora.pipeline import TextToVideo
from lite_sora.prior.pipeline import TextToCodes
from lite_sora.published.pipeline import PublishedTextToVideo
from lite_sora.storage.runs import CheckpointError, folder_or_hub, need, read_json

VideoModel = TextToVideo | TextToCodes
KINDS = {"denoiser": TextToVideo, "prior": TextToCodes, "published": PublishedTextToVideo}  # config.json's "kind"


def load_model(folder: Path | str, device: torch.device | str = "cpu") -> VideoModel:
    """A model that makes videos of prompts. Raises CheckpointError for a folder without one."""
    folder = folder_or_hub(folder)
    path = need(folder, "config.json")
    config = read_json(path)
    # without a kind: a denoiser, or a published model of an earlier version, which names its convention alone
    kind = config.get("kind") or ("published" if config.get("convention") else "denoiser")
    if kind not in KINDS:
        raise CheckpointError(f"{path} is of kind {kind!r}, which makes no videos; those that do: {', '.join(KINDS)}")
    return KINDS[kind].from_pretrained(folder, device)


def makes_videos(folder: Path) -> bool:
    """Whether a folder is the run of a model that `load_model` loads, and not of a captioner or an autoencoder."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and ("denoiser" in config or config.get("kind") in KINDS)


def options_of(model: VideoModel, **options) -> dict:
    """The options of `generate` that were given (are not None). Raises ValueError for one that the model has not."""
    given = {name: value for name, value in options.items() if value is not None}
    known = inspect.signature(model.generate).parameters
    if unknown := [name for name in given if name not in known]:
        what = "an autoregressive prior" if isinstance(model, TextToCodes) else "a diffusion model"
        theirs = ", ".join(_flag(name) for name in options if name in known)
        raise ValueError(f"{', '.join(map(_flag, unknown))}: {what} has no such option; it has {theirs}")
    return given


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
