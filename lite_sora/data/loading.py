"""Clips → batches. The order depends on nothing but the seed, so that a run can be resumed, or shared among any number
of processes, without a change in what it learns from.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lite_sora.seeds import seed_of


@dataclass
class Sample:
    """A dataset's item; its key is (clip index, sample seed). See `windows.py`, or `training/latents.py`."""

    video: np.ndarray | Tensor  # uint8 (T, H, W, 3), or latents, float (C, T, H, W)
    caption: str
    seed: int  # all of its noise comes from it
    signals: dict[str, float] = field(default_factory=dict)  # what it is conditioned on besides: `text/signals.py`
    skipped: list[str] = field(default_factory=list)  # what could not be used, and why


@dataclass
class Batch:
    video: Tensor  # uint8 (B, 3, T, H, W), or latents (B, C, T, H, W); a list of clips, where their shapes differ
    captions: list[str]
    seeds: list[int]
    signals: dict[str, Tensor] = field(default_factory=dict)  # (B,) of each
    skipped: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.captions)

    def split(self, pieces: int) -> list["Batch"]:
        """The batch in up to `pieces` pieces of one size, of which the last may be smaller."""
        size = -(-len(self) // pieces)
        parts = [slice(first, first + size) for first in range(0, len(self), size)]
        signals = [{name: values[part] for name, values in self.signals.items()} for part in parts]
        return [Batch(self.video[p], self.captions[p], self.seeds[p], s) for p, s in zip(parts, signals, strict=True)]


def to_model_range(video: Tensor) -> Tensor:
    """uint8 [0, 255] → float [-1, 1]; latents, which are float, stay as they are."""
    return video.float() / 127.5 - 1 if video.dtype == torch.uint8 else video


def to_frames(video: Tensor) -> np.ndarray:
    """A video float (..., 3, T, H, W) in [-1, 1] → uint8 frames (..., T, H, W, 3). What is out of range is clipped."""
    return ((video.clamp(-1, 1) + 1) * 127.5).round().byte().movedim(-4, -1).cpu().numpy()


class TrainingOrder:
    """Which clips come when: a fresh permutation each epoch, cut into global batches, of which each process takes its
    part. Yields lists of (clip index, sample seed), from step `start` to step `stop`."""

    def __init__(self, clips: int, batch: int, seed: int, start: int, stop: int, rank: int = 0, world: int = 1):
        self.clips, self.batch, self.seed, self.start, self.stop = clips, batch, seed, start, stop
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        part = self.batch // self.world
        epoch_of_permutation, permutation = -1, None
        for step in range(self.start, self.stop):
            keys = []
            for sample in range(step * self.batch + self.rank * part, step * self.batch + (self.rank + 1) * part):
                epoch, place = divmod(sample, self.clips)
                if epoch != epoch_of_permutation:
                    rng = np.random.default_rng(seed_of(self.seed, "epoch", epoch))
                    epoch_of_permutation, permutation = epoch, rng.permutation(self.clips)
                keys.append((int(permutation[place]), seed_of(self.seed, "sample", sample)))
            yield keys


def _collate(items: list[Sample]) -> Batch:
    video = [torch.as_tensor(item.video) for item in items]  # (T, H, W, 3) each, or (C, T, H, W)
    if video[0].dtype == torch.uint8:
        video = [one.movedim(-1, 0) for one in video]  # (3, T, H, W)
    if len({one.shape for one in video}) == 1:
        video = torch.stack(video)
    signals = {name: torch.tensor([item.signals[name] for item in items]) for name in items[0].signals}
    skipped = [reason for item in items for reason in item.skipped]
    return Batch(video, [item.caption for item in items], [item.seed for item in items], signals, skipped)


def batches(dataset: Dataset, order: TrainingOrder, workers: int) -> DataLoader:
    """A DataLoader of Batch. Workers only pay when clips are decoded on the way; 0 decodes in this process."""
    return DataLoader(
        dataset, batch_sampler=order, collate_fn=_collate, num_workers=workers, pin_memory=torch.cuda.is_available()
    )
