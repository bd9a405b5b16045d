"""Which frames of a clip does a captioner see? "uniform" is what video models were trained with. The other samplings
spend the same number of frames where more happens."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lite_sora.curation.footage import Footage, Reader
from lite_sora.curation.motion import STILL, WILD, motion
from lite_sora.curation.splitting import detect
from lite_sora.data.clip import Clip
from lite_sora.data.video import ClipError, read_frames


@dataclass(frozen=True)
class FrameChoice:
    """Which frames a captioner sees of a clip, and at what size."""

    count: int = 8  # frames, at most
    sampling: str = "uniform"  # or another of `SAMPLINGS`
    size: int = 384  # pixels of the longer side, at most


def read_chosen(path: Path, clip: Clip, choice: FrameChoice) -> tuple[list[float], np.ndarray]:
    """The chosen frames of a clip: (seconds in its file, uint8 (T, H, W, 3)).
    T is `count`, or less if the clip has fewer frames: a still picture has one. The picture is upright, cropped to the
    clip's stats["crop"] if it has one, and keeps its aspect ratio. H and W are at most `size`; nothing is enlarged.
    Raises ClipError for a video that cannot be read."""
    footage = Footage(clip, path, Reader(path))
    times = choose_times(footage, choice.count, choice.sampling)
    left, top, right, bottom = footage.crop or (0, 0, 1, 1)
    height, width = footage.info.height * (bottom - top), footage.info.width * (right - left)
    scale = min(1.0, choice.size / max(height, width))
    height, width = max(1, round(height * scale)), max(1, round(width * scale))
    return times, read_frames(path, times, height, width, footage.crop)


def read_clips(path: Path, jobs: list[tuple[Clip, FrameChoice]]) -> list[list]:
    """For each job: [times, frames], or [{"broken": reason}]."""
    found = []
    for job in jobs:
        try:
            found.append(list(read_chosen(path, *job)))
        except ClipError as error:
            found.append([{"broken": error.reason}])
    return found


def choose_times(footage: Footage, count: int, sampling: str) -> list[float]:
    """Seconds in the clip's file, ascending: `count` of them, or fewer if the clip has fewer frames.

    uniform    the middles of equal parts of the clip
    keyframes  the encoder's key frames, evenly picked; uniform if the clip has fewer than `count` (most encoders set
               one every few seconds, and at cuts, so this is for long clips)
    scenes     one from each scene (`curation/splitting.py`), and the rest to the longest; of more scenes, evenly picked
    motion     the middles of parts with equal amounts of motion (`curation/motion.py`)"""
    most = max(1, int(footage.duration * footage.info.fps + 1e-3))
    return SAMPLINGS[sampling](footage, min(count, most))


def _uniform(footage: Footage, count: int) -> list[float]:
    return _middles(footage.start, footage.end, count)


def _keyframes(footage: Footage, count: int) -> list[float]:
    times = footage.packets.times[footage.packets.keyframes & footage.inside].tolist()
    return _evenly(times, count) if len(times) >= count else _uniform(footage, count)


def _scenes(footage: Footage, count: int) -> list[float]:
    cuts = detect(footage.path, footage.start, footage.end) if count > 1 else []
    scenes = list(zip([footage.start, *cuts], [*cuts, footage.end], strict=True))
    if len(scenes) >= count:
        return [(start + end) / 2 for start, end in _evenly(scenes, count)]
    counts = [1] * len(scenes)
    for _ in range(count - len(scenes)):  # the next frame goes to the scene whose frames are furthest apart
        gaps = [(end - start) / frames for (start, end), frames in zip(scenes, counts, strict=True)]
        counts[int(np.argmax(gaps))] += 1
    return [time for scene, frames in zip(scenes, counts, strict=True) for time in _middles(*scene, frames)]


def _motion(footage: Footage, count: int) -> list[float]:
    """Quantiles of cumulative motion. A still picture counts as `STILL`, so that it is seen too, and a clip in which
    nothing moves is sampled uniformly. A cut or a flicker counts as at most `WILD`."""
    if len(footage.times) < 3:  # one speed at most does not help to choose
        return _uniform(footage, count)
    speeds = [min(motion(pair[None]), WILD) + STILL for pair in footage.velocity]
    knots = [footage.start, *footage.times[1:-1], footage.end]  # the first and the last speed hold up to the edges
    moved = np.concatenate([[0], np.cumsum(speeds * np.diff(knots))])
    return np.interp(_middles(0, moved[-1], count), moved, knots).tolist()


SAMPLINGS = {"uniform": _uniform, "keyframes": _keyframes, "scenes": _scenes, "motion": _motion}


def _middles(start: float, end: float, count: int) -> list[float]:
    """The middles of `count` equal parts."""
    return [start + (i + 0.5) * (end - start) / count for i in range(count)]


def _evenly(items: list, count: int) -> list:
    return [items[int(middle)] for middle in _middles(0, len(items), count)]
