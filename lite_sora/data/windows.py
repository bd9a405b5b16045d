"""Clips → windows of frames of one length, size and rate. Decoded clips stay in memory while they fit."""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock

import numpy as np
from torch.utils.data import Dataset
from tqdm import tqdm

from lite_sora.data.clip import Clip
from lite_sora.data.loading import Sample
from lite_sora.data.video import ClipError, probe, read_frames
from lite_sora.processes import Processes


class VideoDataset(Dataset):
    """Windows of `frames` frames at `fps`, height × width, cut from clips. An item's key is (clip index, sample seed):
    the seed chooses the window, where the clip is longer, and the caption, where there are several; or, where nothing
    is to be left to chance (`fixed`), it is always the first of them. `original` is the fraction of captions that are
    what they were before the clips were recaptioned (DALL-E 3, section 3.1: 0.05). A clip's stats may have a "crop",
    the part of the picture that curation found to be without borders (as `read_frames` takes it), and the `signals`."""

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
        signals: Iterable[str] = (),
    ):
        self.clips, self.folder, self.fixed, self.original = clips, Path(folder), fixed, original
        self.signals = signals
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
        if not clip.has_caption:
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

    def all_captions(self) -> list[str]:
        """Every caption that an item can have."""
        clips = self.clips
        captions = [caption for clip in clips for caption in clip.all_captions]
        return captions + [caption for clip in clips for caption in clip.original_captions if self.original]

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

    def preload(self, most_bytes: int, show: bool = True, processes: Processes | None = None) -> list[str]:
        """Decodes clips into memory up to `most_bytes`, and forgets the broken ones: returns which, and why. The
        processes of a machine decode a part of the clips each, and share it.

        Where not all fit, the broken ones stay: which of them were met depends on the threads, and the order of
        training may not. `__getitem__` puts other clips in their place."""
        here = processes.on_this_machine if processes else range(1)
        own = processes.rank - here.start if processes else 0
        part = range(own, len(self), len(here))
        broken: dict[int, str] = {}
        left, all_fit, lock = most_bytes // len(here), True, Lock()

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
            done = tqdm(pool.map(load, part), "decoding", len(part), unit="clip", disable=not show)
            self.cache = {index: frames for index, frames in zip(part, done, strict=True) if frames is not None}
        if len(here) > 1:
            all_fit = self._share(broken, all_fit, processes)
        if all_fit:
            kept = [index for index in range(len(self)) if index not in broken]
            self.cache = {new: self.cache[old] for new, old in enumerate(kept)}
            self.clips = [self.clips[index] for index in kept]
        return [broken[index] for index in sorted(broken)]

    def _share(self, broken: dict[int, str], all_fit: bool, processes: Processes) -> bool:
        """Lets each process of this machine see what all of them decoded: each writes its clips to a file, and all map
        all files into memory. Adds to `broken` what is broken elsewhere; returns whether the clips of all fit."""
        lengths = {index: len(frames) for index, frames in self.cache.items()}
        with NamedTemporaryFile(prefix="lite-sora-clips-") as file:  # mapped memory stays when its file is removed
            for index in lengths:
                file.write(self.cache.pop(index).tobytes())
            file.flush()
            own = json.dumps([file.name, list(lengths.items()), list(broken.items()), all_fit])
            told = processes.gather_texts([own])
            for rank in processes.on_this_machine:
                name, lengths, theirs, fits = json.loads(told[rank])
                broken.update(theirs)
                all_fit = all_fit and fits
                if lengths:
                    frames = np.memmap(name, np.uint8, "c").reshape(-1, self.height, self.width, 3)
                    indices, counts = zip(*lengths, strict=True)
                    self.cache.update(zip(indices, np.split(frames, np.cumsum(counts)[:-1]), strict=True))
            processes.wait()
        return all_fit

    def signals_of(self, index: int) -> dict[str, float]:
        return {name: self.clips[index].signal(name) for name in self.signals}

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """In place of a broken clip comes the next good one."""
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
            return Sample(frames, self.caption(place, rng), seed, self.signals_of(place), skipped)
        raise ClipError(self.folder, f"none of the {len(self)} clips can be used; the last: {skipped[-1]}")
