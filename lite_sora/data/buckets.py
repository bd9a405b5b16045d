"""Clips of any shape: each goes to a bucket, a shape (frames, height, width) near its own. A batch comes from one
bucket, so that nothing is stretched, and nothing padded (SDXL, 2307.01952, section 2.3, with time as a third size)."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset

from lite_sora.data.loading import Sample
from lite_sora.seeds import seed_of


class Bucket(NamedTuple):
    frames: int
    height: int
    width: int

    def __str__(self) -> str:
        return "x".join(map(str, self))


def parse_bucket(text: str) -> Bucket:
    """A bucket from "8x32x48": frames, height, width. Raises ValueError."""
    sizes = text.lower().split("x")
    if len(sizes) != 3 or not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise ValueError(f"{text!r} is no bucket; write frames x height x width, such as 8x32x48")
    return Bucket(*map(int, sizes))


def bucket_of(length: int, height: float, width: float, buckets: list[Bucket], chance: float) -> Bucket | None:
    """The bucket of a clip of `length` frames of a size: one that is not longer, and of these the nearest in aspect
    ratio. Where several are as near, `chance`, in [0, 1), decides. None where all are longer."""
    fitting = [bucket for bucket in buckets if bucket.frames <= length]
    if not fitting:
        return None
    distances = [abs(math.log(bucket.height / bucket.width * width / height)) for bucket in fitting]
    nearest = [bucket for bucket, far in zip(fitting, distances, strict=True) if far < min(distances) + 1e-6]
    return nearest[int(chance * len(nearest))]


def find_buckets(sizes: list[tuple[float, float]], usual: Bucket, step: tuple[int, int], most: int = 5) -> list[Bucket]:
    """Up to `most` buckets for clips of these (height, width): at even quantiles of their aspect ratios, each with
    about as many pixels as the usual one, and sides that are multiples of `step`. The usual one comes first, if it is
    among them."""
    aspects = np.quantile([math.log(height / width) for height, width in sizes], (np.arange(most) + 0.5) / most)
    found = []
    for aspect in np.exp(aspects):
        side = math.sqrt(usual.height * usual.width)
        shape = side * math.sqrt(aspect), side / math.sqrt(aspect)
        bucket = Bucket(usual.frames, *(max(1, round(n / part)) * part for n, part in zip(shape, step, strict=True)))
        found.append(bucket)
    return sorted(set(found), key=lambda bucket: (bucket != usual, bucket))


class MixedDataset(Dataset):
    """Datasets of one shape each, one after another; an item's key is (index, sample seed), as theirs."""

    def __init__(self, parts: list[Dataset]):
        self.parts = parts
        self.starts = np.cumsum([0, *(len(part) for part in parts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        index, seed = key
        part = int(np.searchsorted(self.starts, index, side="right")) - 1
        return self.parts[part][index - int(self.starts[part]), seed]


class MixedOrder:
    """Which clips come when, as `loading.TrainingOrder` says, for a MixedDataset. In each epoch every bucket is
    permuted and cut into its batches, of which the last is filled up from the bucket's beginning; and batches come in a
    random order. It depends on (seed, epoch) alone; each process takes its part of every batch."""

    def __init__(
        self, clips: list[int], sizes: list[int], seed: int, start: int, stop: int, rank: int = 0, world: int = 1
    ):
        """clips and sizes: how many clips each bucket has, and how many one of its batches takes over all processes."""
        self.clips, self.sizes, self.seed = clips, sizes, seed
        self.start, self.stop, self.rank, self.world = start, stop, rank, world
        self.starts = [sum(clips[:bucket]) for bucket in range(len(clips))]

    def __len__(self) -> int:
        return self.stop - self.start

    def epoch(self, number: int) -> list[list[int]]:
        """The batches of an epoch, as indices."""
        rng, found = np.random.default_rng(seed_of(self.seed, "mixed epoch", number)), []
        for first, count, size in zip(self.starts, self.clips, self.sizes, strict=True):
            order = rng.permutation(count)
            for batch in range(-(-count // size)):
                places = np.arange(batch * size, (batch + 1) * size) % count
                found.append([first + int(index) for index in order[places]])
        return [found[index] for index in rng.permutation(len(found))]

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        length, known, planned = sum(-(-c // s) for c, s in zip(self.clips, self.sizes, strict=True)), -1, []
        for step in range(self.start, self.stop):
            number, place = divmod(step, length)
            if number != known:
                known, planned = number, self.epoch(number)
            batch = planned[place]
            part = len(batch) // self.world
            mine = range(self.rank * part, (self.rank + 1) * part)
            yield [(batch[place], seed_of(self.seed, "mixed sample", step, place)) for place in mine]
