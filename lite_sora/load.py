"""Run folder or hub id → the model in it, whatever its kind, and the options that this kind has."""

import inspect
import json
import sys
from pathlib import Path

import torch

from lite_sora.pipeline import TextToVideo
from lite_sora.prior.pipeline import TextToCodes
from lite_sora.published.pipeline import PublishedTextToVideo
from lite_sora.storage.runs import CheckpointError, open_run

VideoModel = TextToVideo | TextToCodes
KINDS = {  # config.json's "kind": the class, and what to call it
    "denoiser": (TextToVideo, "a text-to-video model"),
    "prior": (TextToCodes, "an autoregressive text-to-video model"),
    "published": (PublishedTextToVideo, "a published model"),
}


def newest_run() -> Path:
    """The run in runs/ whose weights are the newest, of those that make videos."""
    weights = sorted(Path("runs").glob("*/model.safetensors"), key=lambda path: path.stat().st_mtime)
    runs = [path.parent for path in weights if makes_videos(path.parent)]
    if not runs:
        raise CheckpointError("there is no run in runs/ yet; train one with `python train.py`, or name one with --run")
    return runs[-1]


def makes_videos(folder: Path) -> bool:
    """Whether a folder is the run of a model that `load_model` loads, and not of a captioner or an autoencoder."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and ("denoiser" in config or config.get("kind") in KINDS)


def open_model(folder: Path | str, device: torch.device | str) -> VideoModel:
    """`load_model` for a command, which says first, on stderr, what it took."""
    model = load_model(folder, device)
    what = next(what for kind, what in KINDS.values() if type(model) is kind)
    print(f"{folder}: {what} of {size_text(model.config)}", file=sys.stderr)
    return model


def load_model(folder: Path | str, device: torch.device | str = "cpu") -> VideoModel:
    """A model that makes videos of prompts. Raises CheckpointError for a folder without one."""
    folder, config = open_run(folder)
    # without a kind: a denoiser, or a published model of an earlier version, which names its convention alone
    kind = config.get("kind") or ("published" if config.get("convention") else "denoiser")
    if kind not in KINDS:
        makers = ", ".join(KINDS)
        raise CheckpointError(
            f"{folder}/config.json is of kind {kind!r}, which makes no videos; those that do: {makers}"
        )
    return KINDS[kind][0].from_pretrained(folder, device)


def size_text(config, frames: int | None = None, height: int | None = None, width: int | None = None) -> str:
    """A video's length and size in words; what is None is as the model was trained."""
    frames = frames or config.frames
    length = f"{frames} frames" if frames > 1 else "one frame"
    return f"{length} at {width or config.width}×{height or config.height} px"


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
