"""The settings of a captioner's training run. Each field is a flag of `train.py captioner`, and all are saved in the
run's training.json."""

from dataclasses import dataclass
from typing import Any

from lite_sora.toy.world import CORNERS
from lite_sora.training.settings import FREE_ON_RESUME, RunSettings, flag, read_flags


@dataclass
class CaptionerSettings(RunSettings):
    # where things are
    out: str | None = flag(None, "run folder (default: runs/captioner; -2, -3, … if taken)")
    data: str | None = flag(None, "a manifest (JSONL) of captioned clips (default: the toy world, written to data/toy)")
    allow_outside: bool = flag(False, "let the manifest name videos outside its folder")
    toy_corner: str = flag("default", "the part of the toy world to train on", choices=list(CORNERS))
    toy_clips: int = flag(2048, "clips of the toy world")
    clips: int | None = flag(None, "learn from so many of the captioned clips only")

    # what the model sees
    frames: int = flag(8, "frames of a clip")
    least_frames: int = flag(2, "each step shows the model between so many and all of them")
    height: int = flag(
        32, "height in pixels; clips are cropped to a square (the saved model squeezes what it is shown)"
    )
    width: int = flag(32, "width in pixels, the same")
    fps: float = flag(8.0, "frames a second that clips are sampled at")

    # the model: a SmolVLM
    channels: int = flag(64, "channels of its vision tower and of its language model")
    layers: int = flag(2, "transformer layers of each of them")
    heads: int = flag(4, "heads of attention")
    patch: int = flag(8, "pixels on the side of a patch")
    merge: int = flag(4, "squares of so many patches a side become one token of the language model")
    words: int = flag(4096, "most entries of the tokenizer's vocabulary")

    # the optimiser
    steps: int = flag(1200, "optimiser steps")
    batch_size: int = flag(32, "clips a step, over all processes")
    optimizer: str = flag(
        "muon", "muon for kernels and matrices and adamw for the rest, or adamw", choices=["muon", "adamw"]
    )
    lr: float = flag(3e-3, "AdamW's highest learning rate")
    muon_lr: float = flag(0.01, "Muon's highest learning rate")
    warmup: int = flag(30, "steps until the highest learning rate")
    weight_decay: float = flag(0.01, "weight decay")

    # the machine
    precision: str = flag("fp32", "of matmuls; auto takes bf16 where large ones gain", choices=["auto", "bf16", "fp32"])
    workers: int = flag(0, "processes that decode clips; they pay where clips do not fit in memory")
    cache_gib: float = flag(2.0, "memory for decoded clips")

    # what is kept
    sample_every: int = flag(200, "steps between captions of clips that it did not learn from; 0 for none")
    judged_clips: int = flag(128, "clips to judge it by at the end, of each kind: seen combinations, and held-out ones")


LEAST = {"steps": 1, "batch_size": 1, "checkpoint_every": 1, "toy_clips": 32, "judged_clips": 1, "sample_every": 0}
LEAST |= {"least_frames": 1, "patch": 1, "merge": 1, "channels": 1, "layers": 1, "heads": 1, "words": 300}


def parse(arguments: list[str], description: str) -> tuple[CaptionerSettings, dict[str, Any]]:
    """Settings from the command line, and which of them were given there. Ends with a usage message if one is wrong."""
    free = FREE_ON_RESUME - {"adherence_clips"}
    settings, given, parser = read_flags(CaptionerSettings, arguments, description, LEAST, free)
    if settings.clips is not None and settings.clips < 1:
        parser.error(f"--clips must be at least 1, not {settings.clips}")
    if settings.least_frames > settings.frames:
        parser.error(f"--least-frames {settings.least_frames} is more than --frames {settings.frames}")
    if settings.height != settings.width:
        parser.error("--height and --width must be the same: SmolVLM looks at squares")
    if settings.height % (settings.patch * settings.merge):
        parser.error(
            f"--height {settings.height} does not divide by --patch {settings.patch} times --merge {settings.merge}"
        )
    if settings.channels % (2 * settings.heads):
        parser.error(f"--channels {settings.channels} does not divide by twice --heads {settings.heads}")
    return settings, given
