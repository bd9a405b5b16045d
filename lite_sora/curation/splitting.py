"""One clip becomes several: the same file, other times; nothing is encoded again.

The operators return the pieces of a clip as [start, end] in seconds of the file, in order. Cuts between shots are found
as PySceneDetect finds them (https://scenedetect.com): a clip with a cut inside teaches a video model that the world
jumps, so splitting comes first. Only hard cuts are found: a dissolve changes too little from one frame to the next.
"""

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from lite_sora.curation.footage import Footage
from lite_sora.data.clip import Clip
from lite_sora.data.video import probe, stream_frames

SHORT_SIDE = 64  # pixels: a cut changes the whole picture, which can be seen at any size
LEAST_CHANGE = 15.0  # content score below which "adaptive" never cuts, however still the neighbours are
REACH = 2  # frames on each side that "adaptive" compares with

Pieces = list[list[float]]


def split_by_scene(
    footage: Footage, detector: str = "content", threshold: float | None = None, min_frames: int = 15
) -> Pieces:
    """Shots, as PySceneDetect finds them: `detector` is content (threshold 27) or adaptive (3); a shot has at least
    `min_frames` frames. See `cuts`. Data-Juicer: video_split_by_scene_mapper."""
    settings = {"detector": detector, "threshold": threshold, "min_frames": min_frames}
    scenes = detect(footage.path, footage.clip.start, footage.clip.end, **settings)
    return _between([footage.start, *scenes, footage.end])


def split_by_duration(
    footage: Footage, seconds: float = 10.0, min_last: float = 0.0, join_last: bool = False
) -> Pieces:
    """Pieces of `seconds` each. A last one that is shorter than `min_last` is dropped, or joined to the one before it
    with `join_last` (as in Panda-70M, 2402.19479). Data-Juicer: video_split_by_duration_mapper."""
    whole = int(footage.duration / seconds + 1e-6)
    times = [footage.start + i * seconds for i in range(whole + 1)]
    rest = footage.end - times[-1]
    if rest < 1e-3 or (rest < min_last and not join_last):
        return _between(times)
    if rest < min_last and whole:
        times.pop()
    return _between([*times, footage.end])


def split_by_keyframe(footage: Footage) -> Pieces:
    """A cut at every keyframe. Data-Juicer: video_split_by_key_frame_mapper."""
    packets = footage.packets
    inside = packets.times[packets.keyframes & footage.inside].tolist()
    return _between([footage.start, *(time for time in inside if time > footage.start + 1e-3), footage.end])


def trim(footage: Footage, share: float = 0.1) -> Pieces:
    """Cuts a fraction `share` of the length off each end, which may be in a transition (Panda-70M, 2402.19479)."""
    margin = share * footage.duration
    return _between([footage.start + margin, footage.end - margin])


def _between(times: list[float]) -> Pieces:
    return [[start, end] for start, end in pairwise(times) if end > start]


def pieces(clip: Clip, duration: float, times: Pieces, keep_original: bool = False) -> list[Clip]:
    """Clips for the pieces of a clip that lasts `duration` seconds, named <id>-000, <id>-001, …; with `keep_original`
    after the clip itself.

    A clip that is not cut is returned unchanged. Measures of the whole do not hold for the pieces, so their `stats` are
    empty except for a crop."""
    first = clip.start or 0.0
    if len(times) == 1 and abs(times[0][0] - first) < 1e-3 and abs(times[0][1] - first - duration) < 1e-3:
        return [clip]
    cut = [clip] if keep_original else []
    for i, (start, end) in enumerate(times):
        stats = {key: clip.stats[key] for key in ("crop",) if key in clip.stats}
        source = clip.source or clip.video
        cut.append(replace(clip, id=f"{clip.id}-{i:03d}", start=start, end=end, source=source, stats=stats))
    return cut


def content_scores(frames: Iterable[np.ndarray]) -> np.ndarray:
    """How much each frame differs from the one before it: float (T - 1,) for frames uint8 (T, H, W, 3).

    The mean over pixels of (|ΔH| + |ΔS| + |ΔV|) / 3, with H in 0–180 and S and V in 0–255, as in PySceneDetect's
    ContentDetector. As there, hue is not treated as a circle.
    """
    return np.array([np.abs(after - before).mean() for before, after in pairwise(map(_hsv, frames))])


def _hsv(frame: np.ndarray) -> np.ndarray:
    """uint8 RGB (H, W, 3) → float HSV (3, H, W), hue in 0–180, saturation and value in 0–255, as OpenCV has them."""
    red, green, blue = np.moveaxis(frame.astype(np.float32), -1, 0)  # (H, W) each
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    divisor = np.maximum(chroma, 1)  # hue is 0 without chroma
    sextants = (green - blue) / divisor % 6, (blue - red) / divisor + 2, (red - green) / divisor + 4
    sextant = np.select([value == red, value == green, value == blue], sextants)
    return np.stack([30 * sextant, 255 * chroma / np.maximum(value, 1), value])


def cuts(
    scores: np.ndarray, detector: str = "content", threshold: float | None = None, min_frames: int = 15
) -> list[int]:
    """Indices of the first frames of new scenes, for content scores (T - 1,) of T frames.

    "content" cuts at a score of `threshold` (27) or more. "adaptive" cuts at a score of at least 15 that is `threshold`
    (3) times the mean of the two scores before and the two after it, so that a fast pan is not a cut. Cuts are at least
    `min_frames` apart, and from the first frame. (Of denser cuts, PySceneDetect's ContentDetector keeps by default the
    first and the last; this rule is its `filter_mode=SUPPRESS`, and that of its AdaptiveDetector.)
    """
    scores = np.concatenate([[0.0], scores])  # of each frame against the one before it, (T,)
    if detector == "content":
        is_cut = scores >= (27.0 if threshold is None else threshold)
    elif detector == "adaptive":
        is_cut = np.zeros(len(scores), bool)  # the first and last two frames have too few neighbours
        if len(scores) > 2 * REACH:
            windows = np.lib.stride_tricks.sliding_window_view(scores, 2 * REACH + 1)
            middle = scores[REACH:-REACH]
            ratio = middle / np.maximum((windows.sum(1) - middle) / (2 * REACH), 1e-5)
            is_cut[REACH:-REACH] = (ratio >= (3.0 if threshold is None else threshold)) & (middle >= LEAST_CHANGE)
    else:
        raise ValueError(f"detector must be content or adaptive, not {detector!r}")
    found = [0]
    for index in np.flatnonzero(is_cut).tolist():
        if index - found[-1] >= min_frames:
            found.append(index)
    return found[1:]


def detect(path: Path | str, start: float | None = None, end: float | None = None, **settings) -> list[float]:
    """Times in seconds, within [start, end) of the file, at which a new scene begins, with the settings of `cuts`.

    Frames are read one by one, at a small size, so a long file takes time but no memory.
    """
    info = probe(path)
    scale = SHORT_SIDE / min(info.width, info.height)
    times = []

    def frames():
        for time, frame in stream_frames(path, round(info.height * scale), round(info.width * scale), start, end):
            times.append(time)
            yield frame

    return [times[index] for index in cuts(content_scores(frames()), **settings)]
