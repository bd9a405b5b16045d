"""The settings of a prior's training run. Each field is a flag of `train.py prior`, and all are saved in the run's
config.json."""

from dataclasses import dataclass
from typing import Any

from lite_sora.toy.world import CORNERS
from lite_sora.training.settings import FREE_ON_RESUME, RunSettings, flag, read_flags


@dataclass
class PriorSettings(RunSettings):
    # where things are
    out: str | None = flag(
        None, "run folder (default: runs/prior-toy, or runs/prior-<manifest's folder>; -2, -3, … if taken)"
    )
    autoencoder: str = flag("runs/autoencoders/vq-toy", "run folder of `train.py autoencoder --kind vq`")
    data: str | None = flag(None, "a manifest (JSONL) of captioned clips (default: the toy world, written to data/toy)")
    allow_outside: bool = flag(False, "let the manifest name videos outside its folder")
    toy_corner: str = flag("default", "the part of the toy world to train on", choices=list(CORNERS))
    toy_clips: int = flag(2048, "clips of the toy world")

    # what the model sees
    frames: int | None = flag(None, "frames of a clip (these four by default: as the autoencoder was trained)")
    height: int | None = flag(None, "height in pixels")
    width: int | None = flag(None, "width in pixels")
    fps: float | None = flag(None, "frames a second that clips are sampled at")

    # the model
    channels: int = flag(128, "the transformer's width")
    depth: int = flag(4, "its blocks")
    heads: int = flag(4, "heads of its attention")
    dropout: float = flag(0.1, "share of what blocks add that is left out in training")
    text_depth: int = flag(0, "transformer blocks of the text encoder, after its word embeddings")

    # the optimiser
    steps: int = flag(500, "optimiser steps")
    batch_size: int = flag(32, "clips a step, over all processes")
    optimizer: str = flag(
        "muon", "muon for matrices that tokens pass through and adamw for the rest, or adamw", choices=["muon", "adamw"]
    )
    lr: float = flag(7e-3, "AdamW's highest learning rate")
    muon_lr: float = flag(0.04, "Muon's highest learning rate")
    warmup: int = flag(50, "steps until the highest learning rate")
    weight_decay: float = flag(0.01, "weight decay")
    ema: float = flag(0.99, "decay of the moving average of the weights, after its warm-up")
    caption_dropout: float = flag(0.1, "share of captions that are emptied, for classifier-free guidance")

    # what is kept
    sample_every: int = flag(200, "steps between sample sheets and looks at held-out clips; 0 for none")
    adherence_clips: int = flag(128, "clips to judge at the end, on the toy world; 0 for none")


LEAST = {"steps": 1, "batch_size": 1, "checkpoint_every": 1, "toy_clips": 32, "sample_every": 0}
LEAST |= {"channels": 1, "depth": 1, "heads": 1}


def parse(arguments: list[str], description: str) -> tuple[PriorSettings, dict[str, Any]]:
    """Settings from the command line, and which of them were given there. Ends with a usage message if one is wrong."""
    free = FREE_ON_RESUME
    settings, given, parser = read_flags(PriorSettings, arguments, description, LEAST, free)
    if not 0 <= settings.dropout < 1:
        parser.error(f"--dropout lies from 0 to below 1; not {settings.dropout}")
    return settings, given
