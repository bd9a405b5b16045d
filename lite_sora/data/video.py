"""Files ↔ frames: probe, read and write videos, and lay frames out as pictures. The only file that imports av (PyAV).

Frames are uint8 (T, H, W, 3), RGB. Times are seconds from the first frame of the file.
"""

import textwrap
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw

STILL_PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}  # count as videos of one frame
NO_SEEK = {"avi", "mpeg"}  # containers that cannot tell which frame a seek has found: these are read from the start
BREAK = 0.25  # seconds that the last frame may be held where a file is shorter than its header says


class ClipError(Exception):
    """A video that cannot be used; the message names the file and the reason."""

    def __init__(self, path: Path | str, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = str(path), reason


@dataclass(frozen=True)
class VideoInfo:
    """What the header says: size as it is shown (after rotation), frames a second, seconds."""

    width: int
    height: int
    fps: float
    duration: float


def probe(path: Path | str) -> VideoInfo:
    """Size, rate and length of a video file, or a ClipError."""
    with _opened(path) as (container, stream):
        first = next(_frames(container, stream, path), None)
        if first is None:
            raise ClipError(path, "holds no frame that can be decoded")
        size = (first.height, first.width) if first.rotation % 180 else (first.width, first.height)
        return VideoInfo(*size, _fps(stream), _duration(container, stream, path))


def read_frames(path: Path | str, times: list[float], height: int, width: int) -> np.ndarray:
    """The frames shown at `times` (ascending, in seconds), as uint8 (len(times), height, width, 3).

    For each time, the last frame that started at or before it; after the end, the last frame. Pictures are scaled to
    cover height × width without stretching, and what is over is cut off evenly. Raises ClipError for anything broken.
    """
    with _opened(path) as (container, stream):
        if times[0] > 1.0 and container.format.name not in NO_SEEK:  # below a second a seek is not worth it
            origin = _start(stream)
            with suppress(av.FFmpegError):  # some containers cannot seek, and stay at the start
                container.seek(int((times[0] + origin) / stream.time_base), stream=stream)
            frames = _pick(container, stream, path, times)
            first = next(frames, None)
            if first is not None and first.time - origin <= times[0] + 1e-3:
                return _finish(chain([first], frames), times, path, height, width)
    with _opened(path) as (container, stream):  # from the start, also where a seek in MPEG-TS and others came out late
        return _finish(_pick(container, stream, path, times), times, path, height, width)


def _pick(container, stream, path, times: list[float]):
    """Yields for each time the last frame that started at or before it; after the end the last frame, but a ClipError
    where decoding ends before the header says, as in a download that broke off."""
    origin, done, shown = _start(stream), 0, None
    for frame in _frames(container, stream, path):
        while shown is not None and done < len(times) and frame.time - origin > times[done] + 1e-3:
            yield shown
            done += 1
        if done == len(times):
            return
        shown = frame
    if shown is not None:
        end = shown.time - origin + float((shown.duration or 0) * stream.time_base)
        duration = _duration(container, stream, path)
        if any(end + BREAK < time < duration for time in times[done:]):
            raise ClipError(path, f"breaks off at {end:.2f} of {duration:.2f} s; download or encode it again")
        yield from [shown] * (len(times) - done)


def _finish(frames, times: list[float], path, height: int, width: int) -> np.ndarray:
    arrays, last = [], None
    for frame in frames:  # converted as they come: decoded frames are large, and a frame shown twice is converted once
        if frame is not last:
            array, last = _to_array(frame, height, width), frame
        arrays.append(array)
    if not arrays:
        raise ClipError(path, f"has no frame at {times[0]:.2f} s")
    return np.stack(arrays)


def _to_array(frame, height: int, width: int) -> np.ndarray:
    """An av frame as uint8 (height, width, 3): turned upright, scaled to cover, and cropped at the centre."""
    turns = (round(frame.rotation) // 90) % 4
    tall, wide = (width, height) if turns % 2 else (height, width)  # what is wanted before turning
    scale = max(tall / frame.height, wide / frame.width)
    full = max(tall, round(frame.height * scale)), max(wide, round(frame.width * scale))
    # threads=1: PyAV's default of several threads is three times slower on small frames
    array = frame.reformat(full[1], full[0], "rgb24", interpolation="AREA", threads=1).to_ndarray()
    top, left = (full[0] - tall) // 2, (full[1] - wide) // 2
    return np.rot90(array[top : top + tall, left : left + wide], k=turns)


class _opened:
    """`with _opened(path) as (container, stream)`: a video file and its first video stream, or a ClipError."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        if not Path(self.path).is_file():
            raise ClipError(self.path, "there is no such file")
        if Path(self.path).stat().st_size == 0:
            raise ClipError(self.path, "the file is empty")
        try:
            self.container = av.open(str(self.path))
        except (av.FFmpegError, ValueError) as error:
            raise ClipError(self.path, f"not a video that can be opened ({error})") from None
        if not self.container.streams.video:
            self.container.close()
            raise ClipError(self.path, "holds no video")
        stream = self.container.streams.video[0]
        stream.codec_context.thread_type = "AUTO" if stream.codec_context.width >= 1280 else "NONE"
        return self.container, stream

    def __exit__(self, *_):
        self.container.close()


def _frames(container, stream, path):
    """Decoded frames that have a time. A file that breaks off in the middle gives what came before."""
    any_frame = False
    try:
        for frame in _counted(container, stream) if container.format.name == "avi" else container.decode(stream):
            if frame.pts is not None:
                any_frame = True
                yield frame
    except av.FFmpegError as error:
        if not any_frame:
            raise ClipError(path, f"cannot be decoded ({error})") from None


def _counted(container, stream):
    """AVI has no presentation times, and those that FFmpeg guesses are late or out of order where there are B-frames.
    The times of decoding rise evenly, so count from the first of them."""
    first, last = None, -1
    for frame in container.decode(stream):
        first = frame.dts if first is None else first
        last = last + 1 if frame.dts is None else frame.dts - first  # the last frames come out without a time
        frame.pts = last + (stream.start_time or 0)
        yield frame


def _start(stream) -> float:
    return float((stream.start_time or 0) * stream.time_base)


def _fps(stream) -> float:
    return float(stream.average_rate or stream.base_rate or 0) or 1.0


def _duration(container, stream, path) -> float:
    if Path(path).suffix.lower() in STILL_PICTURES:
        return 0.0
    if stream.duration:
        return float(stream.duration * stream.time_base)
    if container.duration:  # mkv, webm and flv know it only for the whole file
        return container.duration / 1e6
    last = max((p.pts + (p.duration or 0) for p in container.demux(stream) if p.pts is not None), default=0)
    return float(last * stream.time_base) - _start(stream)


# ---------------------------------------------------------------- writing


def write_video(path: Path | str, frames: np.ndarray, fps: float, quality: int = 14) -> None:
    """Writes uint8 frames (T, H, W, 3) as H.264, yuv420p, which every browser plays. H and W must be even.

    `quality` is libx264's CRF: lower is better and larger. The file appears whole or not at all.
    """
    path = Path(path)
    _, height, width, _ = frames.shape
    if height % 2 or width % 2:
        raise ValueError(f"{path}: H.264 wants an even size, not {width}×{height}")
    part = path.with_name(path.stem + ".part" + path.suffix)
    with av.open(str(part), "w", options={"movflags": "faststart"}) as container:
        options = {"crf": str(quality), "preset": "veryfast"}
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1  # deterministic, and faster for small frames
        for array in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(array), "rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    part.replace(path)


def write_gif(path: Path | str, frames: np.ndarray, fps: float) -> None:
    """Writes uint8 frames (T, H, W, 3) as a GIF that loops for ever."""
    path = Path(path)
    part = path.with_name(path.stem + ".part" + path.suffix)
    pictures = [Image.fromarray(array) for array in frames]
    pictures[0].save(part, save_all=True, append_images=pictures[1:], duration=round(1000 / fps), loop=0)
    part.replace(path)


def enlarge(frames: np.ndarray, at_least: int = 256) -> np.ndarray:
    """Repeats pixels by a whole factor until the shorter side has `at_least` pixels: nobody can see 32."""
    factor = max(1, -(-at_least // min(frames.shape[1:3])))
    return frames.repeat(factor, axis=1).repeat(factor, axis=2)


# ---------------------------------------------------------------- looking


def sheet(rows: list[np.ndarray], labels: list[str], at_least: int = 64, gap: int = 4) -> Image.Image:
    """One picture of several videos: a row each, a frame each column, the label above the row."""
    rows = [enlarge(frames, at_least) for frames in rows]
    line = 16
    width = max(frames.shape[0] * (frames.shape[2] + gap) for frames in rows) + gap
    height = sum(frames.shape[1] + line + gap for frames in rows) + gap
    picture = Image.new("RGB", (width, height), "white")
    pen, y = ImageDraw.Draw(picture), gap
    for frames, label in zip(rows, labels, strict=True):
        pen.text((gap, y), label, fill="black", font_size=11)
        for index, array in enumerate(frames):
            picture.paste(Image.fromarray(array), (gap + index * (frames.shape[2] + gap), y + line))
        y += line + frames.shape[1] + gap
    return picture


def mosaic(videos: list[np.ndarray], labels: list[str], columns: int = 4, at_least: int = 128) -> np.ndarray:
    """Several videos of one length side by side in one, each under its label, as uint8 frames."""
    gap, line = 6, 30  # two lines of text
    videos = [enlarge(frames, at_least) for frames in videos]
    length, height, width, _ = videos[0].shape
    rows = -(-len(videos) // columns)
    page = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + line + gap) + gap), "white")
    pen = ImageDraw.Draw(page)
    corners = []  # (x, y) of each video
    for index, label in enumerate(labels):
        row, column = divmod(index, columns)
        corners.append((gap + column * (width + gap), gap + row * (height + line + gap) + line))
        pen.text((corners[-1][0], corners[-1][1] - line), textwrap.fill(label, width // 6), fill="black", font_size=11)
    canvas = np.repeat(np.asarray(page)[None], length, axis=0)
    for frames, (x, y) in zip(videos, corners, strict=True):
        canvas[:, y : y + height, x : x + width] = frames
    return canvas
