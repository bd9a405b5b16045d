"""Clips → batches. Decoded clips stay in memory while they fit; the order depends on nothing but the seed, so that a
run can be resumed, or shared among any number of processes, without a change in what it learns from.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from lite_sora.data.clip import Clip
from lite_sora.data.video import ClipError, probe, read_frames
from lite_sora.seeds import seed_of


@dataclass
class Batch:
    video: (
        Tensor  # uint8 (B, 3, T, H, W); `to_model_range` makes a float video of it. Or latents, float (B, C, T, H, W)
    )
    captions: list[str]
    seeds: list[int]  # one for each sample: all of its noise comes from it
    skipped: list[str] = field(default_factory=list)  # what could not be used, and why

    def __len__(self) -> int:
        return len(self.captions)

    def split(self, pieces: int) -> list["Batch"]:
        """The batch in up to `pieces` pieces of one size, of which the last may be smaller."""
        size = -(-len(self) // pieces)
        parts = [slice(first, first + size) for first in range(0, len(self), size)]
        return [Batch(self.video[part], self.captions[part], self.seeds[part]) for part in parts]


def to_model_range(video: Tensor) -> Tensor:
    """uint8 [0, 255] → float [-1, 1]."""
    return video.float() / 127.5 - 1


def to_frames(video: Tensor) -> np.ndarray:
    """A video float (..., 3, T, H, W) in [-1, 1] → uint8 frames (..., T, H, W, 3). What is out of range is clipped."""
    return ((video.clamp(-1, 1) + 1) * 127.5).round().byte().movedim(-4, -1).cpu().numpy()


class VideoDataset(Dataset):
    """Windows of `frames` frames at `fps`, height × width, cut from clips. An item's key is (clip index, sample seed):
    the seed chooses the window, where the clip is longer, and the caption, where there are several; or, where nothing
    is to be left to chance (`fixed`), it is always the first of them. `original` is the share of captions that are what
    they were before the clips were captioned anew (DALL-E 3, section 3.1: 0.05). A clip's stats may hold a "crop", the
    part of the picture that curation found to be without borders (as `read_frames` takes it)."""

    def __init__(
        self,
        clips: list[Clip],
        folder: Path,
        frames: int,
        height: int,
        width: int,
        fps: float,
        fixed: bool = False,
        original: float = 0.0,
    ):
        self.clips, self.folder, self.fixed, self.original = clips, Path(folder), fixed, original
        self.frames, self.height, self.width, self.fps = frames, height, width, fps
        self.cache: dict[int, np.ndarray] = {}
        self.durations: dict[Path, float] = {}  # seconds of the videos that were looked into

    def __len__(self) -> int:
        return len(self.clips)

    def path(self, index: int) -> Path:
        return self.folder / self.clips[index].video

    def length(self, index: int) -> int:
        """How many frames at `fps` a clip has. Raises ClipError where that is too few for one window."""
        if index in self.cache:
            return len(self.cache[index])
        clip, path = self.clips[index], self.path(index)
        if not self.has_caption(index):
            raise ClipError(path, f"clip {clip.id!r} has no caption")
        if self.frames == 1:
            return 1
        if path not in self.durations:
            self.durations[path] = probe(path).duration
        end = self.durations[path] if clip.end is None else min(clip.end, self.durations[path])
        length = int((end - (clip.start or 0)) * self.fps + 1e-3)
        if length < self.frames:
            raise ClipError(
                path,
                f"clip {clip.id!r} lasts {max(0, end - (clip.start or 0)):.2f} s, too short for {self.frames} frames "
                f"at {self.fps:g} a second; choose fewer --frames or a higher --fps",
            )
        return length

    def caption(self, index: int, rng: np.random.Generator) -> str:
        """One of a clip's captions."""
        captions = self.clips[index].all_captions
        if self.original and rng.random() < self.original:
            captions = self.clips[index].original_captions or captions
        captions = [caption for caption in captions if caption.strip()]
        return captions[0 if self.fixed else rng.integers(len(captions))]

    def has_caption(self, index: int) -> bool:
        return any(caption.strip() for caption in self.clips[index].all_captions)

    def windows(self, index: int) -> np.ndarray:
        """All windows of a clip, one after another without overlap, uint8 (windows, T, H, W, 3); where nothing is left
        to chance, the first. Raises ClipError."""
        count = self.length(index) // self.frames
        count = min(count, 1) if self.fixed else count
        frames = self._read(index, 0, count * self.frames)
        return frames.reshape(count, self.frames, *frames.shape[1:])

    def _read(self, index: int, first: int, count: int) -> np.ndarray:
        clip = self.clips[index]
        times = [(clip.start or 0) + (first + i) / self.fps for i in range(count)]
        return read_frames(self.path(index), times, self.height, self.width, clip.stats.get("crop"))

    def preload(self, most_bytes: int, show: bool = True) -> list[str]:
        """Decodes clips into memory up to `most_bytes`, and forgets the broken ones: returns which, and why.

        Where not all fit, the broken ones stay: which of them were met depends on the threads, and the order of
        training may not. `__getitem__` puts other clips in their place."""
        broken: dict[int, str] = {}
        left, all_fit, lock = most_bytes, True, Lock()

        def load(index: int):
            nonlocal left, all_fit
            if not all_fit:
                return None
            try:
                length = self.length(index)
                with lock:  # room is taken before it is filled: one film can be larger than the memory
                    left -= length * self.height * self.width * 3
                    all_fit = all_fit and left >= 0
                return self._read(index, 0, length) if all_fit else None
            except ClipError as error:
                broken[index] = str(error)

        with ThreadPoolExecutor(4) as pool:  # decoding releases Python's lock
            done = tqdm(pool.map(load, range(len(self))), "decoding", len(self), unit="clip", disable=not show)
            self.cache = {index: frames for index, frames in enumerate(done) if frames is not None}
        if all_fit:
            kept = [index for index in range(len(self)) if index not in broken]
            self.cache = {new: self.cache[old] for new, old in enumerate(kept)}
            self.clips = [self.clips[index] for index in kept]
        return [broken[index] for index in sorted(broken)]

    def __getitem__(self, key: tuple[int, int]) -> tuple[np.ndarray, str, int, list[str]]:
        """(frames uint8 (T, H, W, 3), caption, seed, skipped). In place of a broken clip comes the next good one."""
        index, seed = key
        rng, skipped = np.random.default_rng(seed), []
        for attempt in range(len(self)):
            place = (index + attempt) % len(self)
            try:
                last = self.length(place) - self.frames
                first = 0 if self.fixed else int(rng.integers(last + 1))
                if place in self.cache:
                    frames = self.cache[place][first : first + self.frames]
                else:
                    frames = self._read(place, first, self.frames)
            except ClipError as error:
                skipped.append(str(error))
                continue
            return frames, self.caption(place, rng), seed, skipped
        raise ClipError(self.folder, f"none of the {len(self)} clips can be used; the last: {skipped[-1]}")


class TrainingOrder:
    """Which clips come when: a fresh permutation each epoch, cut into global batches, of which each process takes its
    share. Yields lists of (clip index, sample seed), from step `start` to step `stop`."""

    def __init__(self, clips: int, batch: int, seed: int, start: int, stop: int, rank: int = 0, world: int = 1):
        self.clips, self.batch, self.seed, self.start, self.stop = clips, batch, seed, start, stop
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        share = self.batch // self.world
        epoch_of_permutation, permutation = -1, None
        for step in range(self.start, self.stop):
            keys = []
            for sample in range(step * self.batch + self.rank * share, step * self.batch + (self.rank + 1) * share):
                epoch, place = divmod(sample, self.clips)
                if epoch != epoch_of_permutation:
                    rng = np.random.default_rng(seed_of(self.seed, "epoch", epoch))
                    epoch_of_permutation, permutation = epoch, rng.permutation(self.clips)
                keys.append((int(permutation[place]), seed_of(self.seed, "sample", sample)))
            yield keys


def _collate(items: list) -> Batch:
    frames, captions, seeds, skipped = zip(*items, strict=True)
    video = torch.stack([torch.as_tensor(item) for item in frames])  # (B, T, H, W, 3), or latents (B, C, T, H, W)
    if video.dtype == torch.uint8:
        video = video.movedim(-1, 1)  # (B, 3, T, H, W)
    return Batch(video, list(captions), list(seeds), [reason for reasons in skipped for reason in reasons])


def batches(dataset: VideoDataset, order: TrainingOrder, workers: int) -> DataLoader:
    """A DataLoader of Batch. Workers only pay when clips are decoded on the way; 0 decodes in this process."""
    return DataLoader(
        dataset, batch_sampler=order, collate_fn=_collate, num_workers=workers, pin_memory=torch.cuda.is_available()
    )
