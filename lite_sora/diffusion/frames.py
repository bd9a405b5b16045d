"""Noise by the frame (Diffusion Forcing, 2407.01392): levels t (B, T) that training draws, and that samplers hold.

A frame at t = 0 is known, at t = 1 it is absent. So one model makes videos of words alone, goes on from a first image,
before a last one, or between two.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lite_sora.diffusion.path import PATHS, ProbabilityPath
from lite_sora.diffusion.prediction import Denoiser
from lite_sora.seeds import seed_of, uniform

ORDERS = ("together", "pyramid", "chunks")
KNOWN = ("none", "first", "last", "both ends", "prefix")  # which frames of a clip are known; a prefix is of any length


def mean_of_unknown(errors: Tensor, t: Tensor) -> Tensor:
    """The mean (B,) of the errors (B, T) of frames that are not known; 0 where all are."""
    unknown = (t > 0).to(errors.dtype)
    return (errors * unknown).sum(1) / unknown.sum(1).clamp_min(1)


def draw_levels(t: Tensor, seeds: list[int], frames: int, share: float, objective) -> Tensor:
    """Levels (B, T) from the times t (B,) of clips, and t itself where the share is 0. A `share` of the clips get their
    own: half of these an independent one for each frame, the others t, and in both some frames are known. All chance is
    in the seeds."""
    if not share:
        return t
    levels = t[:, None].repeat(1, frames)
    for row, seed in enumerate(seeds):
        own, independent, pattern, length = uniform([seed_of(seed, "levels", number) for number in range(4)]).tolist()
        if own >= share:
            continue
        if independent < 0.5:
            drawn = objective.draw_times(uniform([seed_of(seed, "frame", frame) for frame in range(frames)]))
            levels[row] = drawn.to(t)
        levels[row, known_frames(KNOWN[int(pattern * len(KNOWN))], frames, length)] = 0
    return levels


def known_frames(pattern: str, frames: int, length: float) -> list[int]:
    """The frames that a pattern of `KNOWN` makes known; at least one of several stays unknown. length: in [0, 1)."""
    prefix = list(range(1 + int(length * (frames - 1))))
    ends = sorted({0, frames - 1})
    chosen = {"none": [], "first": [0], "last": [frames - 1], "both ends": ends, "prefix": prefix}[pattern]
    return chosen if len(chosen) < frames else chosen[:-1]


def holding(denoise: Denoiser, known: Tensor, places: Tensor) -> Denoiser:
    """A denoiser of videos of which some frames are known, for any sampler: wherever the sampler is, at t (B,) or
    (B, T), these frames are at t = 0, and are what is known. known (B, C, T, H, W); places (T,), true where a frame is.
    """
    there = places[:, None, None]

    def with_known(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        levels = t.reshape(len(x), -1) * ~places  # (B, T)
        x0, noise = denoise(torch.where(there, known, x), levels)
        return torch.where(there, known, x0), torch.where(there, 0.0, noise)

    return with_known


def rolling(denoise: Denoiser) -> Denoiser:
    """A denoiser of a video without beginning and end, for videos that loop: each time it is asked, the frames are
    turned by one more, so that the last and the first meet inside (the latent shift of Mobius, 2502.20307)."""
    turns = 0

    def turned(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal turns
        turns += 1
        x0, noise = denoise(x.roll(turns, 2), t)
        return x0.roll(-turns, 2), noise.roll(-turns, 2)

    return turned


def delays(order: str, frames: int, steps: int, chunk: int) -> list[int]:
    """How many steps later than the first each frame begins: all "together"; in a "pyramid", in which each chunk is a
    step noisier than the one before it; or one of the "chunks" after another, of `chunk` frames each."""
    lag = {"together": 0, "pyramid": 1, "chunks": steps}[order]
    return [lag * (frame // chunk) for frame in range(frames)]


def by_frame(denoise: Denoiser, x: Tensor, times: Tensor, path: ProbabilityPath, normal=None, *, delay: list[int]):
    """DDIM (2010.02502) in which each frame of x (B, C, T, H, W) has its own way through the times (steps + 1,): it
    waits at the first time for its delay, and at the last for the others."""
    late = torch.tensor(delay)
    last = len(times) - 1
    for step in range(last + max(delay)):
        now, after = (times[(step + more - late).clamp(0, last)].to(x.device) for more in (0, 1))  # (T,) each
        x0, noise = denoise(x, now.expand(len(x), -1))
        alpha, sigma = (value[:, None, None] for value in path.alpha_sigma(after))
        x = torch.where((now == after)[:, None, None], x, alpha * x0 + sigma * noise)
    return x


@dataclass
class Given:
    """What is given of a video before it is made, besides the prompt. Frames are float, in [-1, 1]."""

    known: Tensor | None = None  # (B or 1, 3, K, H, W): frames that are known
    places: tuple[int, ...] = ()  # where these K are; -1 is the last
    edit: Tensor | None = None  # (B or 1, 3, T, H, W): a video to start from, instead of noise (SDEdit, 2108.01073)
    strength: float = 0.6  # how far it is noised before: 0 leaves it as it is, 1 leaves nothing of it
    loop: bool = False  # whether the first frame follows the last
    order: str = "together"  # in which frames are made: one of ORDERS, see `delays`

    def apply(self, model, sample: Callable, denoise: Denoiser, x: Tensor, times: Tensor) -> tuple:
        """The sampler, the denoiser, the starting point (B, C, T, H, W) and the times, changed so that the video of a
        TextToVideo comes out as is given. Raises ValueError for what does not fit."""
        levels = self.known is not None or self.order != "together"
        if levels and not model.config.denoiser_config.get("frame_levels"):
            raise ValueError(
                "this model was trained with one noise level for all frames of a clip, so that none can be known alone "
                "or made before the others; train one that can: python train.py --frame-levels 0.5"
            )
        if self.order != "together":
            if self.loop:
                raise ValueError("a loop has no first frame: its frames are made together")
            chunk = max(model.config.denoiser_config["patch"][0], x.shape[2] // 4)
            sample = partial(by_frame, delay=delays(self.order, x.shape[2], len(times) - 1, chunk))
        if self.known is not None:
            known, places = self.latents(model.autoencoder, x)
            denoise = holding(denoise, known, places)
        if self.edit is not None:
            video = model.autoencoder.encode(self.edit.to(x.device)).expand_as(x)
            at = torch.full((len(x),), self.strength, device=x.device)
            x, times = PATHS[model.objective.path].mix(video, x, at), self.strength * times
        return sample, rolling(denoise) if self.loop else denoise, x, times

    def latents(self, autoencoder, like: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (B, C, T, H, W) in which the known frames are, and where these are, (T,)."""
        found = autoencoder.encode(self.known.to(like.device))
        frames, kept = like.shape[2], found.shape[2]
        wanted = [place % frames for place in self.places] if kept == len(self.places) else list(range(kept))
        if kept != len(self.places) and list(self.places) != list(range(len(self.places))):
            raise ValueError(
                f"this autoencoder makes {kept} latent frames of {len(self.places)} frames, so that only the first "
                "frames of a video can be known; train a model in pixels for others"
            )
        if kept >= frames:
            raise ValueError(f"{kept} frames are known of a video of {frames}: there is nothing left to make")
        known, places = torch.zeros_like(like), torch.zeros(frames, dtype=torch.bool, device=like.device)
        known[:, :, wanted] = found.to(like.dtype).expand(len(like), -1, -1, -1, -1)
        places[wanted] = True
        return known, places
