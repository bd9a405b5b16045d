"""Files ↔ frames: probe, read and write videos.

Frames are uint8 (T, H, W, 3), RGB. Times are seconds from the first frame of the file. The differences between file
formats are dealt with in data/containers.py.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image

from lite_sora.data.containers import (
    BREAK,
    ClipError,
    decoded,
    duration_of,
    fps_of,
    mirrored,
    opened,
    opened_at,
    quarter_turns,
    shown_size,
    start_of,
)
from lite_sora.storage.files import write_whole

MOST_PIXELS = 2**26  # of a picture that is scaled before it is cropped: more is a mistake, or an attack on the memory


@dataclass(frozen=True)
class VideoInfo:
    """Size as it is shown (upright, with square pixels), frames a second, seconds."""

    width: int
    height: int
    fps: float
    duration: float


def probe(path: Path | str) -> VideoInfo:
    """Size, rate and length of a video file. Raises ClipError for one that cannot be used."""
    with opened(path) as (container, stream):
        first = next(decoded(container, stream, path), None)
        if first is None:
            raise ClipError(path, "contains no frame that can be decoded")
        height, width = shown_size(first, stream)
        return VideoInfo(round(width), round(height), fps_of(stream), duration_of(container, stream))


def read_frames(
    path: Path | str, times: list[float], height: int, width: int, crop: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    """The frames shown at `times` (ascending, in seconds), as uint8 (len(times), height, width, 3).

    For each time, the last frame that started at or before it; after the end, the last frame. `crop` is the part of
    the upright picture to use: (left, top, right, bottom), fractions in [0, 1]; None for all of it. That part is scaled
    to cover height × width without stretching, and cut off evenly. Raises ClipError for a video that cannot be used.
    """
    fit, arrays, last = _Fit(path, height, width, crop), [], None
    with opened_at(path, times[0]) as (container, stream, frames):
        for frame in _pick(container, stream, path, times, frames):
            if frame is not last:  # decoded frames are large, and one that is shown twice is converted once
                array, last = fit(frame, stream), frame
            arrays.append(array)
    return np.stack(arrays)


def stream_frames(path: Path | str, height: int, width: int, start: float | None = None, end: float | None = None):
    """Yields (time, frame) for each frame of the file that starts in [start, end): each once, however long the file.

    Frames are uint8 (height, width, 3), scaled and cropped as by `read_frames`. A file that breaks off in the middle
    gives the frames before that; other broken files raise ClipError.
    """
    start, end, fit = start or 0.0, float("inf") if end is None else end, _Fit(path, height, width, None)
    with opened_at(path, start) as (_, stream, frames):
        for frame in frames:
            time = frame.time - start_of(stream)
            if time >= end - 1e-3:
                return
            if time >= start - 1e-3:
                yield time, fit(frame, stream)


def _pick(container, stream, path, times: list[float], frames):
    """Yields for each time the last frame that started at or before it; after the end the last frame. Raises ClipError
    if decoding ends before the header says, as in a download that broke off."""
    origin, done, shown = start_of(stream), 0, None
    for frame in frames:
        while shown is not None and done < len(times) and frame.time - origin > times[done] + 1e-3:
            yield shown
            done += 1
        if done == len(times):
            return
        shown = frame
    if shown is None:
        raise ClipError(path, f"has no frame at {times[0]:.2f} s")
    end = shown.time - origin + float((shown.duration or 0) * stream.time_base)
    if any(time > end + BREAK for time in times[done:]):
        duration = duration_of(container, stream)
        if any(end + BREAK < time < duration for time in times[done:]):
            raise ClipError(path, f"breaks off at {end:.2f} of {duration:.2f} s; download or encode it again")
    yield from [shown] * (len(times) - done)


class _Fit:
    """Turns decoded frames into uint8 (height, width, 3): upright, the crop scaled to cover, its middle cut out."""

    def __init__(self, path, height: int, width: int, crop):
        self.crop = check_crop(path, crop)
        self.path, self.height, self.width = path, height, width
        self.scaler = VideoReformatter()  # one for all frames: it keeps its tables
        self.mirrored = None  # not looked up yet

    def __call__(self, frame, stream) -> np.ndarray:
        left, top, right, bottom = self.crop
        full_height, full_width = shown_size(frame, stream)
        scale = max(self.height / (full_height * (bottom - top)), self.width / (full_width * (right - left)))
        full = round(full_height * scale), round(full_width * scale)
        if full[0] * full[1] > MOST_PIXELS:
            raise ClipError(self.path, f"is too narrow: it would have to be scaled to {full[1]}×{full[0]} pixels")
        y = _offset(full[0], self.height, (top + bottom) / 2)
        x = _offset(full[1], self.width, (left + right) / 2)
        turns = quarter_turns(frame)
        height, width = full[::-1] if turns % 2 else full  # as it is stored
        try:  # threads=1: PyAV's default of several threads is three times slower on small frames
            scaled = self.scaler.reformat(frame, width, height, "rgb24", interpolation="AREA", threads=1)
        except (av.FFmpegError, ValueError) as error:
            raise ClipError(self.path, f"a frame cannot be converted ({error})") from None
        array = scaled.to_ndarray()
        if self.mirrored is None:
            self.mirrored = mirrored(frame, stream, self.path)
        array = np.rot90(array[::-1] if self.mirrored else array, k=turns)
        return array[y : y + self.height, x : x + self.width]


def check_crop(path: Path | str, crop) -> tuple[float, float, float, float]:
    """A crop as four floats, those of the whole picture for None. Raises ClipError for anything else."""
    try:
        left, top, right, bottom = box = (0.0, 0.0, 1.0, 1.0) if crop is None else tuple(map(float, crop))
    except (TypeError, ValueError):
        left = top = right = bottom = 0
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ClipError(path, f"its crop {crop!r} is not (left, top, right, bottom) with fractions in [0, 1]")
    return box


def _offset(full: int, wanted: int, centre: float) -> int:
    """Where a window of `wanted` pixels begins whose middle is at a fraction of `full` pixels; always inside."""
    return max(0, min(full - wanted, int(full * centre - wanted / 2)))


# ---------------------------------------------------------------- writing


def write_video(path: Path | str, frames: np.ndarray, fps: float, quality: int = 14) -> None:
    """Writes uint8 frames (T, H, W, 3) as H.264 in mp4, yuv420p, which every browser plays. H and W must be even.

    `quality` is libx264's CRF: lower is better and larger. The file appears whole or not at all.
    """
    path = Path(path)
    _, height, width, _ = frames.shape
    if height % 2 or width % 2:
        raise ValueError(f"{path}: H.264 needs an even size, not {width}×{height}")

    def write(part: Path) -> None:
        with av.open(str(part), "w", format="mp4", options={"movflags": "faststart"}) as container:
            # without mbtree: with it, small frames were now and then encoded differently from run to run
            options = {"crf": str(quality), "preset": "veryfast", "mbtree": "0"}
            stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=options)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.thread_count = 1  # deterministic, and faster for small frames
            for array in frames:
                for packet in stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(array), "rgb24")):
                    container.mux(packet)
            for packet in stream.encode():
                container.mux(packet)

    write_whole(path, write)


def write_gif(path: Path | str, frames: np.ndarray, fps: float) -> None:
    """Writes uint8 frames (T, H, W, 3) as a GIF that loops for ever. The file appears whole or not at all."""
    first, *others = [Image.fromarray(array) for array in frames]
    options = {"save_all": True, "append_images": others, "duration": round(1000 / fps), "loop": 0}
    write_whole(Path(path), lambda part: first.save(part, format="gif", **options))
