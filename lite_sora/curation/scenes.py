"""Where does one shot end and the next begin? Cuts are found as PySceneDetect finds them (https://scenedetect.com).

A clip with a cut inside teaches a video model that the world jumps, so splitting comes first. Only hard cuts are found:
a dissolve or a fade changes too little from one frame to the next.
"""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np

from lite_sora.data.video import probe, stream_frames

SHORT_SIDE = 64  # pixels: a cut changes the whole picture, which can be seen at any size
LEAST_CHANGE = 15.0  # content score below which "adaptive" never cuts, however still the neighbours are
REACH = 2  # frames on each side that "adaptive" compares with


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
