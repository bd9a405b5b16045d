"""Settings of a training run. Each field is a flag of train.py, and all are saved with the run."""

import re
from argparse import SUPPRESS, ArgumentDefaultsHelpFormatter, ArgumentParser, RawDescriptionHelpFormatter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from lite_sora.errors import UserError
from lite_sora.storage.runs import CheckpointError, read_json
from lite_sora.toy.world import CORNERS


class TrainingError(UserError):
    """A run that cannot start or continue; the message says why and what to change."""


def flag(default: Any, text: str, **more) -> Any:
    """A dataclass field with a help text."""
    make = {"default_factory": lambda: list(default)} if isinstance(default, list) else {"default": default}
    return field(**make, metadata={"help": text} | more)


@dataclass
class RunSettings:
    """The flags that every stage has; a stage may have other defaults."""

    # where things are
    resume: str | None = flag(None, "resume the run in this folder, with its own settings")
    init: str | None = flag(None, "start from the weights of this run or published model, as far as they fit")
    out: str | None = flag(None, "run folder (default: a name in runs/; -2, -3, … if it is taken)")
    data: str | None = flag(None, "a manifest (JSONL) of captioned clips (default: the toy world, written to data/)")
    allow_outside: bool = flag(False, "let the manifest name videos outside its folder")
    toy_corner: str | None = flag(
        "default",
        "the part of the toy world to train on: one shape over black, or all of it (with --data: as its clips are)",
        choices=list(CORNERS),
    )
    toy_clips: int = flag(2048, "clips of the toy world")
    cache_folder: str | None = flag(
        None, "folder for latents, codes and caption embeddings (default: cache/ next to the manifest)"
    )

    # what the model sees
    frames: int | None = flag(8, "frames of a clip")
    height: int | None = flag(32, "height in pixels")
    width: int | None = flag(32, "width in pixels")
    fps: float | None = flag(8.0, "frames per second at which clips are sampled")

    # the optimiser
    seed: int = flag(0, "seed of everything random")
    steps: int = flag(800, "optimiser steps")
    batch_size: int = flag(32, "clips per step, over all processes")
    accumulate: int = flag(1, "compute each process's part of a batch in this many pieces, to save memory")
    optimizer: str = flag(
        "muon", "muon for matrices that tokens pass through and adamw for the rest, or adamw", choices=["muon", "adamw"]
    )
    lr: float = flag(7e-3, "AdamW's peak learning rate")
    muon_lr: float = flag(0.04, "Muon's peak learning rate")
    warmup: int = flag(50, "steps until the peak learning rate")
    schedule: str = flag("linear", "how the learning rate ends", choices=["linear", "cosine", "constant"])
    decay: float = flag(0.7, "fraction of the steps, at the end, over which the learning rate falls to 0")
    weight_decay: float = flag(0.01, "weight decay")
    clip: float = flag(1.0, "maximum norm of the gradient")
    ema: float = flag(0.99, "decay of the moving average of the weights, after its warm-up; 0 for none")

    # the machine
    device: str | None = flag(None, "cuda, mps or cpu (default: the first of them that is available)")
    precision: str = flag("auto", "of matmuls; auto uses bf16 where it pays", choices=["auto", "bf16", "fp32"])
    compile: bool = flag(False, "compile the model first: pays for large models and long runs")
    checkpointing: bool = flag(False, "compute each block's activations again for its gradient: less memory, more time")
    fsdp: bool = flag(False, "under torchrun: share weights, gradients and optimisers' memory out among the processes")
    sequence_parallel: int = flag(1, "under torchrun: how many processes share the tokens of each clip")
    workers: int = flag(0, "processes that decode clips; they pay where clips do not fit in memory")
    cache_gib: float = flag(2.0, "memory of this machine for decoded clips, in GiB")

    # what is kept
    checkpoint_every: int = flag(200, "steps between checkpoints")
    sample_every: int = flag(200, "steps between grids of samples; 0 for none")
    stop_after: int | None = flag(None, "stop in an orderly way once this step is reached; --resume continues")
    tensorboard: bool = flag(False, "write metrics for TensorBoard too")

    LEAST: ClassVar[dict[str, int]] = {  # the smallest value of some flags
        **{"steps": 1, "batch_size": 1, "accumulate": 1, "frames": 1, "height": 1, "width": 1},
        **{"checkpoint_every": 1, "sample_every": 0, "toy_clips": 32, "workers": 0, "sequence_parallel": 1},
    }
    FREE: ClassVar[set[str]] = {  # what may change where a run is resumed
        *{"resume", "steps", "device", "fsdp", "sequence_parallel", "workers", "cache_gib", "cache_folder"},
        *{"checkpoint_every", "sample_every", "stop_after", "tensorboard"},
    }
    UNTOLD: ClassVar[set[str]] = {  # what else the name of a run does not say
        *{"out", "data", "allow_outside", "accumulate", "precision", "compile", "checkpointing"},
    }

    def check(self) -> None:
        """Raises TrainingError for a value that means nothing."""
        for name, smallest in self.LEAST.items():
            if getattr(self, name) is not None and getattr(self, name) < smallest:
                raise TrainingError(f"{flag_of(name)} must be at least {smallest}, not {getattr(self, name)}")
        for name in ("lr", "muon_lr", "fps"):
            if getattr(self, name) is not None and getattr(self, name) <= 0:
                raise TrainingError(f"{flag_of(name)} must be above 0, not {getattr(self, name)}")

    @property
    def told(self) -> str:
        """ "-world-B-patch-2x4x4": what differs from the usual settings, for the name of a run."""
        known, told = type(self).__dataclass_fields__, []
        usual = type(self)(**{name: getattr(self, name) for name in ("autoencoder", "kind") if name in known})
        if "autoencoder" in known:  # on which other defaults depend, as on the kind
            usual.autoencoder = known["autoencoder"].default
        for name in known:
            value, common = getattr(self, name), getattr(usual, name)
            as_the_autoencoder = common is None and name in ("frames", "height", "width", "fps")
            if name in self.UNTOLD | self.FREE or value in (common, None) or as_the_autoencoder:
                continue
            if isinstance(value, str):  # a choice, or a path, tells enough without its flag
                told.append(Path(value).name)
            else:
                text = "x".join(map(str, value)) if isinstance(value, list) else value
                told.append(f"{name.removeprefix('toy_')}-{text}".lower())
        return re.sub(r"[^\w.-]+", "-", "".join(f"-{part}" for part in told)).replace("_", "-")[:80]

    @property
    def data_name(self) -> str:
        """What a run is named after: the manifest's folder, or the toy world."""
        return Path(self.data).resolve().parent.name if self.data else "toy"


Settings = TypeVar("Settings", bound=RunSettings)


def flag_of(name: str) -> str:
    return f"--{name.replace('_', '-')}"


class Help(RawDescriptionHelpFormatter, ArgumentDefaultsHelpFormatter):
    """Keeps the lines of the description, and shows defaults where there are any."""

    def _get_help_string(self, action):
        return action.help if action.default is None else super()._get_help_string(action)


def parse(kind: type[Settings], arguments: list[str], description: str) -> Settings:
    """Settings from the command line; with --resume, those of the resumed run, changed by what was given. Ends with a
    usage message if a flag is wrong. Raises CheckpointError for a folder that cannot be resumed."""
    from transformers import HfArgumentParser

    parser: ArgumentParser = HfArgumentParser(kind, description=description, formatter_class=Help, allow_abbrev=False)
    settings, unknown = parser.parse_args_into_dataclasses(arguments, return_remaining_strings=True)
    if unknown:
        parser.error(f"unknown: {' '.join(unknown)}; --help lists all flags")
    try:
        if settings.resume:
            for action in parser._actions:  # parsed again without defaults, what is left was given
                action.default = SUPPRESS
            given = vars(parser.parse_args(arguments))
            if changed := given.keys() - kind.FREE:
                names = ", ".join(flag_of(name) for name in sorted(changed))
                parser.error(f"{names} cannot change in a run that is resumed; leave it out, or start a new run")
            settings = replace(saved_settings(Path(settings.resume), kind), **given)
        settings.check()
    except TrainingError as error:
        parser.error(str(error))
    return settings


def saved_settings(folder: Path, kind: type[Settings]) -> Settings:
    """The settings that a run was started with: config.json's "training", or, where config.json belongs to
    transformers, training.json. Raises CheckpointError."""
    own = folder / "training.json"
    path = own if own.is_file() else folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist: there is nothing to resume in {folder}")
    saved = read_json(path) if path == own else read_json(path).get("training")
    if not isinstance(saved, dict) or not saved:
        raise CheckpointError(f"{path} does not describe a training run: there is nothing to resume in {folder}")
    known = kind.__dataclass_fields__
    return kind(**{key: value for key, value in saved.items() if key in known})
