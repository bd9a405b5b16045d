"""What a video goes on from: a first or last image, a film before or after it, a film to change. generate.py's flags
for it, and `extend`, which makes a film longer, a piece at a time."""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from lite_sora.data.loading import to_model_range
from lite_sora.data.video import probe, read_frames
from lite_sora.diffusion.frames import ORDERS, Given

FILES = ("image", "last", "between", "extend", "edit")
FLAGS = (*FILES, "backward", "add", "loop", "order")


def add_flags(flag) -> None:
    flag("--image", type=Path, metavar="FILE", help="the first frame: a model of --frame-levels goes on from it")
    flag("--last", type=Path, metavar="FILE", help="the last frame")
    flag("--between", type=Path, nargs=2, metavar="FILE", help="the first and the last frame")
    flag("--extend", type=Path, metavar="VIDEO", help="go on from the end of this video")
    flag("--backward", action="store_true", help="with --extend: make what comes before it")
    flag(
        "--add", type=int, metavar="FRAMES", help="with --extend: how many frames (default: as many as the model makes)"
    )
    flag("--edit", type=Path, metavar="VIDEO", help="change this video as the prompt says (SDEdit)")
    flag("--strength", type=float, default=0.6, help="with --edit: how much, from 0 to 1 (default: %(default)s)")
    flag("--order", choices=ORDERS, help="all frames together (default), later ones noisier, or chunks in turn")
    flag("--loop", action="store_true", help="let the first frame follow the last")


def check_flags(options: argparse.Namespace) -> str | None:
    """What is wrong with these flags, in words; None for nothing."""
    if options.between and (options.image or options.last):
        return "--between is --image and --last in one: give it, or the two"
    if options.extend and any(getattr(options, name) for name in ("image", "last", "between", "edit", "loop", "order")):
        return "--extend goes on from a video: it takes no other frames, no --edit, --loop or --order"
    if (options.backward or options.add is not None) and not options.extend:
        return "--backward and --add belong to --extend VIDEO"
    if options.add is not None and options.add < 1:
        return f"--add must be at least 1, not {options.add}"
    if not 0 <= options.strength <= 1:
        return f"--strength is between 0 and 1, not {options.strength}"
    files = [file for name in FILES for file in _listed(getattr(options, name))]
    missing = [str(file) for file in files if not file.is_file()]
    return f"{missing[0]}: there is no such file" if missing else None


def _listed(value) -> list[Path]:
    return [] if value is None else value if isinstance(value, list) else [value]


class Maker:
    """A model that makes videos, with what the flags give it: read at the model's size, or that of --frames, --height
    and --width. Raises ClipError for files that cannot be read, ValueError for a model that can go on from nothing."""

    def __init__(self, model, options: argparse.Namespace):
        self.model, self.options, self.given = model, options, None
        # what was given, for made.json
        self.told = {name: str(value) for name in FLAGS if (value := getattr(options, name)) not in (None, False)}
        if not self.told:
            return
        if not hasattr(model, "denoiser"):
            flags = ", ".join(f"--{name}" for name in self.told)
            raise ValueError(
                f"{flags}: an autoregressive prior makes a video from its beginning; take a diffusion model"
            )
        config, first, last = model.config, options.image, options.last
        size = options.height or config.height, options.width or config.width
        if options.extend:
            self.film = read_whole(options.extend, *size, config.fps)
            return
        known = [(place, file) for place, file in zip((0, -1), options.between or (first, last), strict=True) if file]
        self.given = Given(strength=options.strength, loop=options.loop, order=options.order or "together")
        if known:
            self.given.known = torch.cat([read_film(file, [0.0], *size) for _, file in known], dim=2)
            self.given.places = tuple(place for place, _ in known)
        if options.edit:
            times = [frame / config.fps for frame in range(options.frames or config.frames)]
            self.given.edit = read_film(options.edit, times, *size)

    def make(self, prompts: list[str], negative: str, seeds: list[int], **sampling) -> Tensor:
        """Videos (B, 3, T, H, W) in [-1, 1]; see `TextToVideo.generate`."""
        if self.options.extend:
            add, backward = self.options.add or self.model.config.frames, self.options.backward
            return extend(self.model, prompts, self.film, add, backward, negative=negative, seeds=seeds, **sampling)
        given = {"given": self.given} if self.given else {}
        return self.model.generate(prompts, negative, seeds, **sampling, **given)


def read_film(path: Path, times: list[float], height: int, width: int) -> Tensor:
    """The frames of a video or picture at `times`, float (1, 3, T, height, width) in [-1, 1]. Raises ClipError."""
    return to_model_range(torch.from_numpy(read_frames(path, times, height, width)).movedim(-1, 0)[None])


def read_whole(path: Path, height: int, width: int, fps: float) -> Tensor:
    """All of a video at `fps`, float (1, 3, T, height, width) in [-1, 1]. Raises ClipError."""
    frames = max(1, int(probe(path).duration * fps + 1e-3))
    return read_film(path, [frame / fps for frame in range(frames)], height, width)


def extend(model, prompts: list[str], film: Tensor, add: int, backward: bool = False, **options) -> Tensor:
    """A film (B or 1, 3, T, H, W) in [-1, 1] with `add` more frames at its end, or before its beginning, for each of B
    prompts. Each piece is made by a TextToVideo that knows the frames next to it. `options` go to `generate`."""
    length, seeds = options.pop("frames", None) or model.config.frames, options.pop("seeds", [0] * len(prompts))
    keep = min(most_known(model.autoencoder, length, film.shape[-2:], backward), film.shape[2])
    film, piece = film.expand(len(prompts), -1, -1, -1, -1), 0
    goal = film.shape[2] + add
    while film.shape[2] < goal:
        known = film[:, :, :keep] if backward else film[:, :, -keep:]
        places = tuple(range(-keep, 0)) if backward else tuple(range(keep))
        now = [seed + 1000 * piece for seed in seeds]  # pieces from one seed would be alike
        made = model.generate(prompts, seeds=now, frames=length, given=Given(known, places), **options).to(film)
        film = torch.cat([made[:, :, :-keep], film] if backward else [film, made[:, :, keep:]], dim=2)
        piece += 1
    return film[:, :, -goal:] if backward else film[:, :, :goal]


def most_known(autoencoder, length: int, size: tuple[int, int], backward: bool) -> int:
    """How many frames of a piece of `length` are known to it: as many as the autoencoder takes, up to half. Raises
    ValueError where frames at the end cannot be known alone."""
    fits = [frames for frames in range(1, length // 2 + 1) if _takes(autoencoder, frames, size)]
    if backward and autoencoder.latent_shape(length, *size)[1] != length:
        raise ValueError("--backward needs a model in pixels: its autoencoder makes one latent frame of several")
    return max(fits)


def _takes(autoencoder, frames: int, size: tuple[int, int]) -> bool:
    try:
        autoencoder.latent_shape(frames, *size)
    except ValueError:
        return False
    return True
