"""A clip as it is measured: its file's header, its packets, and sampled frames, which all measures share. Clips that
are close together in one file are decoded in one pass."""

from collections.abc import Callable
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from lite_sora.curation.motion import velocity
from lite_sora.data.clip import Clip
from lite_sora.data.containers import ClipError, Packets, read_packets
from lite_sora.data.video import check_crop, probe, read_frames

SHORT_SIDE = 256  # pixels: larger pictures are measured at this size, so that numbers do not depend on the size
RATE = 8.0  # frames a second that are sampled
MOST = 128  # frames of one clip: a clip of more than 16 s is sampled less often
GAP = 2.0  # seconds between two clips above which a seek is quicker than decoding the frames in between

probe_once = lru_cache(16)(probe)
packets_once = lru_cache(4)(read_packets)


def attempt(function: Callable, *arguments) -> Any:
    """What a function returns, or the ClipError that it raises."""
    try:
        return function(*arguments)
    except ClipError as error:
        return error


class Footage:
    """One clip of a file. The constructor and all properties raise ClipError if the file cannot be used."""

    def __init__(self, clip: Clip, path: Path, reader: "Reader"):
        self.clip, self.path, self.reader = clip, path, reader
        self.info = reader.info
        self.start = clip.start or 0.0
        self.end = self.info.duration if clip.end is None else min(clip.end, self.info.duration)
        if self.start and self.start >= self.end:
            raise ClipError(path, f"starts at {self.start:g} s, but the file ends at {self.info.duration:g} s")
        crop = clip.stats.get("crop")  # of `frames`
        self.crop = None if crop is None else list(check_crop(path, crop))
        self.duration = self.end - self.start  # seconds; 0 for a still picture
        count = min(MOST, max(1, int(self.duration * min(RATE, self.info.fps) + 1e-3)))
        self.fps = count / self.duration if self.duration else RATE  # at which `frames` were sampled
        self.times = tuple(self.start + (i + 0.5) * self.duration / count for i in range(count))
        self._velocity: tuple | None = None  # and the crop that it was found in
        reader.windows.add(self.times)

    @property
    def frames(self) -> np.ndarray:
        """uint8 (T, H, W, 3), RGB, evenly spread over the clip, cropped to `crop`."""
        frames = self.reader.frames(self.times)
        if not self.crop:
            return frames
        height, width = frames.shape[1:3]
        left, top, right, bottom = self.crop
        rows = slice(int(top * height), max(int(top * height) + 1, round(bottom * height)))
        columns = slice(int(left * width), max(int(left * width) + 1, round(right * width)))
        return frames[:, rows, columns]

    def pick(self, count: int) -> np.ndarray:
        """`count` of `frames`, evenly spread: the middles of `count` equal parts of the clip."""
        frames = self.frames
        return frames[((np.arange(count) + 0.5) * len(frames) / count).astype(int)]

    @property
    def velocity(self) -> np.ndarray:
        """How `frames` move (`motion.velocity`); computed once for all measures."""
        if self._velocity is None or self._velocity[0] != self.crop:
            self._velocity = self.crop, velocity(self.frames, self.fps)
        return self._velocity[1]

    @property
    def packets(self) -> Packets:
        """The packets of the whole file."""
        return packets_once(self.path)

    @property
    def inside(self) -> np.ndarray:
        """bool (N,): which of the file's packets are in this clip."""
        times = self.packets.times
        return (times >= self.start - 1e-3) & ((times < self.end - 1e-3) | (self.clip.end is None))


class Reader:
    """The sampled frames of several clips of one file: all are decoded at the first call of `frames`, in few passes."""

    def __init__(self, path: Path):
        self.path, self.info = path, probe_once(path)
        self.windows: set[tuple[float, ...]] = set()  # the times of each clip

    def frames(self, times: tuple[float, ...]) -> np.ndarray:
        found = self._decoded[times]
        if isinstance(found, ClipError):
            raise found
        return found

    @cached_property
    def _decoded(self) -> dict[tuple[float, ...], np.ndarray | ClipError]:
        runs: list[list[tuple[float, ...]]] = []
        end = -np.inf
        for window in sorted(self.windows):
            if window[0] > end + GAP:
                runs.append([])
            runs[-1].append(window)
            end = max(end, window[-1])
        decoded = {}
        for run in runs:
            times = sorted({time for window in run for time in window})
            frames = attempt(self._read, times)
            if not isinstance(frames, ClipError):
                decoded |= {window: frames[np.searchsorted(times, window)] for window in run}
            else:  # somewhere in the run: find the clip by reading each alone
                decoded |= {window: attempt(self._read, window) for window in run}
        return decoded

    def _read(self, times) -> np.ndarray:
        sides = self.info.height, self.info.width
        scale = min(1.0, SHORT_SIDE / min(sides))
        return read_frames(self.path, list(times), *(max(1, round(side * scale)) for side in sides))
