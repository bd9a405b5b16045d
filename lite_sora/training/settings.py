"""The settings of a training run. Each field is a flag of train.py, and all are saved in the run's config.json."""

from argparse import SUPPRESS, ArgumentDefaultsHelpFormatter, ArgumentParser, RawDescriptionHelpFormatter
from dataclasses import dataclass, field, fields
from typing import Any

from lite_sora.denoisers import DENOISERS
from lite_sora.denoisers.dit import ATTENTIONS, CONDITIONINGS, WORDS
from lite_sora.denoisers.uvit import SKIPS
from lite_sora.diffusion.objective import PRESETS
from lite_sora.layers.blocks import MLPS, NORMS
from lite_sora.toy.world import CORNERS


def flag(default: Any, text: str, **more) -> Any:
    """A dataclass field with a help text."""
    make = {"default_factory": lambda: list(default)} if isinstance(default, list) else {"default": default}
    return field(**make, metadata={"help": text} | more)


@dataclass
class RunSettings:
    """The flags that every stage has."""

    resume: str | None = flag(None, "go on with the run in this folder, with its own settings")
    seed: int = flag(0, "seed of everything random")
    schedule: str = flag("linear", "how the learning rate ends", choices=["linear", "cosine", "constant"])
    decay: float = flag(0.7, "the share of the steps at the end over which it falls to 0")
    clip: float = flag(1.0, "largest norm of the gradient")
    device: str | None = flag(None, "cuda, mps or cpu (default: the first of them that is there)")
    precision: str = flag("auto", "of matmuls; auto takes bf16 where it pays", choices=["auto", "bf16", "fp32"])
    compile: bool = flag(False, "compile the model first: pays for large models and long runs")
    checkpoint_every: int = flag(200, "steps between checkpoints")
    stop_after: int | None = flag(None, "stop in an orderly way once this step is reached; --resume goes on")
    tensorboard: bool = flag(False, "write metrics for TensorBoard too")


@dataclass
class TrainSettings(RunSettings):
    # where things are
    out: str | None = flag(
        None, "run folder (default: runs/toy, or runs/<manifest's folder> with --data; -2, -3, … if taken)"
    )
    data: str | None = flag(None, "a manifest (JSONL) of captioned clips (default: the toy world, written to data/toy)")
    allow_outside: bool = flag(False, "let the manifest name videos outside its folder")
    original_captions: float = flag(
        0.0, "share of captions as they were before the clips were captioned anew; DALL-E 3 takes 0.05"
    )
    overfit: int | None = flag(None, "a first check: learn this many clips by heart, and show them beside the samples")
    toy_corner: str = flag(
        "default", "the part of the toy world to train on: one shape over black, or all of it", choices=list(CORNERS)
    )
    toy_clips: int = flag(2048, "clips of the toy world")

    # what the model sees
    frames: int | None = flag(None, "frames of a clip (default: 8, or 9 with --autoencoder: the first and 4 times 2)")
    height: int = flag(32, "height in pixels")
    width: int = flag(32, "width in pixels")
    fps: float = flag(8.0, "frames a second that clips are sampled at")

    # the model
    denoiser: str = flag("dit", "the transformer", choices=list(DENOISERS))
    size: str = flag("toy", "its size: toy; dit and sit: S, B, L, XL; uvit: S, S-deep, M, L, H")
    patch: list[int] | None = flag(
        None, "its patches: frames, height, width (default: 2 8 8, or 1 2 2 with --autoencoder)"
    )
    autoencoder: str = flag(
        "pixel", "what videos are squeezed by: pixel (nothing), a run of `train.py autoencoder`, or one of diffusers'"
    )
    cache_folder: str | None = flag(
        None, "folder for latents and embeddings of captions (default: cache/ beside the manifest)"
    )
    text: str = flag("words", "what encodes captions: words, trained along, or a CLIP's or T5's folder or hub id")
    text_depth: int = flag(0, "transformer blocks of the text encoder, after its word embeddings")
    conditioning: str | None = flag(
        None, "dit, sit: how t and the caption steer it (default: adaln-zero)", choices=list(CONDITIONINGS)
    )
    words: str | None = flag(None, "dit, sit: where the caption's words are (default: sequence)", choices=list(WORDS))
    attention: str | None = flag(
        None, "dit, sit: every patch with every other, or within space and time in turn", choices=list(ATTENTIONS)
    )
    shared_adaln: bool | None = flag(None, "dit, sit: one modulation for all blocks")
    skip: str | None = flag(None, "uvit: its long skip connections (default: concat)", choices=list(SKIPS))
    mlp: str | None = flag(None, "the feed-forward network (default: gelu)", choices=list(MLPS))
    norm: str | None = flag(None, "layer norm or rms norm (default: layer)", choices=list(NORMS))
    qk_norm: bool | None = flag(None, "a norm on queries and keys (default: true)")
    rope: bool | None = flag(None, "rotary positions in attention (default: true)")

    # the objective: a preset, and parts that differ from it
    objective: str | None = flag(
        None, "a named combination (default: toy, but sit for --denoiser sit)", choices=list(PRESETS)
    )
    path: str | None = flag(None, "linear, gvp, vp or cosine")
    prediction: str | None = flag(None, "x0, noise, v, velocity, score or edm")
    weighting: str | None = flag(None, "none, velocity, snr, min-snr, soft-min-snr, sigmoid or edm")
    time: str | None = flag(None, "the density that t is drawn from: uniform, logit-normal, mode, cosmap or edm")
    shift: float | None = flag(None, "how far t is shifted towards noise; 1 is not at all")

    # the optimiser
    steps: int = flag(800, "optimiser steps")
    batch_size: int = flag(32, "clips a step, over all processes")
    accumulate: int = flag(1, "parts that each process computes its share of a batch in, to save memory")
    optimizer: str = flag(
        "muon", "muon for matrices that tokens pass through and adamw for the rest, or adamw", choices=["muon", "adamw"]
    )
    lr: float = flag(7e-3, "AdamW's highest learning rate")
    muon_lr: float = flag(0.04, "Muon's highest learning rate")
    warmup: int = flag(50, "steps until the highest learning rate")
    weight_decay: float = flag(0.01, "AdamW's weight decay")
    ema: float = flag(0.99, "decay of the moving average of the weights, after its warm-up")
    caption_dropout: float = flag(0.1, "share of captions that are emptied, for classifier-free guidance")

    # the machine
    workers: int = flag(0, "processes that decode clips; they pay where clips do not fit in memory")
    cache_gib: float = flag(2.0, "memory for decoded clips")

    # what is kept
    sample_every: int = flag(200, "steps between sample sheets; 0 for none")
    adherence_clips: int = flag(128, "clips to judge at the end, on the toy world; 0 for none")

    def __post_init__(self):
        pixels = self.autoencoder == "pixel"
        self.frames = self.frames or (8 if pixels else 9)
        self.patch = self.patch or ([2, 8, 8] if pixels else [1, 2, 2])


# flags that are fields of a denoiser's configuration
NETWORK_PARTS = ("conditioning", "words", "attention", "shared_adaln", "skip", "mlp", "norm", "qk_norm", "rope")

FREE_ON_RESUME = {
    "resume",
    "steps",
    "device",
    "workers",
    "cache_gib",
    "cache_folder",
    "checkpoint_every",
    "sample_every",
    "stop_after",
    "tensorboard",
    "adherence_clips",
}


LEAST = {"steps": 1, "batch_size": 1, "accumulate": 1, "frames": 1, "checkpoint_every": 1, "toy_clips": 32}


def parse(arguments: list[str], description: str) -> tuple[TrainSettings, dict[str, Any]]:
    """Settings from the command line, and which of them were given there. Ends with a usage message if one is wrong."""
    settings, given, parser = read_flags(TrainSettings, arguments, description, LEAST, FREE_ON_RESUME)
    if settings.overfit is not None and settings.overfit < 1:
        parser.error(f"--overfit must be at least 1, not {settings.overfit}")
    if not 0 <= settings.original_captions <= 1:
        parser.error(f"--original-captions is a share, 0 to 1, not {settings.original_captions}")
    if len(settings.patch) != 3:
        parser.error("--patch takes three numbers: frames, height, width")
    return settings, given


class Help(RawDescriptionHelpFormatter, ArgumentDefaultsHelpFormatter):
    """Keeps the lines of the description, and tells defaults, where there are any."""

    def _get_help_string(self, action):
        return action.help if action.default is None else super()._get_help_string(action)


def read_flags(
    kind: type, arguments: list[str], description: str, least: dict[str, int], free: set[str]
) -> tuple[Any, dict[str, Any], ArgumentParser]:
    """Settings of a kind (a dataclass) from the command line, those given there, and the parser for further errors.

    least: the smallest value of some flags; free: the flags that may be given with --resume."""
    from transformers import HfArgumentParser

    parser = HfArgumentParser(kind, description=description, formatter_class=Help)
    settings, unknown = parser.parse_args_into_dataclasses(arguments, return_remaining_strings=True)
    if unknown:
        parser.error(f"unknown: {' '.join(unknown)}; --help lists all flags")
    for action in parser._actions:  # once more without defaults: what is left was given
        action.default = SUPPRESS
    given = vars(parser.parse_args(arguments))
    for name, smallest in least.items():
        if getattr(settings, name) < smallest:
            parser.error(f"--{name.replace('_', '-')} must be at least {smallest}, not {getattr(settings, name)}")
    for name in ("lr", "muon_lr", "fps"):
        if getattr(settings, name) is not None and getattr(settings, name) <= 0:
            parser.error(f"--{name.replace('_', '-')} must be above 0, not {getattr(settings, name)}")
    if given.keys() & {"resume"} and (changed := given.keys() - free):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(changed))
        parser.error(f"{names} cannot change in a run that is resumed; leave it out, or start a new run")
    assert given.keys() <= {item.name for item in fields(kind)}
    return settings, given, parser
