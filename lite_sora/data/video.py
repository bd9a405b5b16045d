"""Files ↔ frames: probe, read and write videos. The only file that imports av (PyAV).

Frames are uint8 (T, H, W, 3), RGB. Times are seconds from the first frame of the file.
"""

import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from av.video.reformatter import VideoReformatter
from PIL import Image

# What is opened: files that hold videos or pictures. FFmpeg knows more, among it text files that it shows as a terminal
# would, and playlists, which could name any file or address.
FORMATS = "mov,matroska,avi,flv,mpegts,mpeg,asf,ogg,gif,apng,png_pipe,jpeg_pipe,webp_pipe,bmp_pipe,tiff_pipe"
# How a window is sought: so many seconds before it, since some containers find a key frame after what was asked for;
# and whether frames that no other frame needs are left out on the way to it, a third of the work.
ATTEMPTS = ((0, True), (0, False), (2, False), (10, False))
NEAR = 0.25  # seconds before a window that nothing is left out in, since a window begins with the frame shown then
# MPEG program streams are read from the start: after a seek, the times of the first frames are guesses.
NO_SEEK = "mpeg"
BREAK = 0.25  # seconds that the last frame may be held where a file is shorter than its header says
MOST_PIXELS = 2**26  # of a picture that is scaled before it is cropped: more is a mistake, or an attack on the memory


class ClipError(Exception):
    """A video that cannot be used; the message names the file and the reason."""

    def __init__(self, path: Path | str, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = str(path), reason


@dataclass(frozen=True)
class VideoInfo:
    """Size as it is shown (upright, with square pixels), frames a second, seconds."""

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
        height, width = _shown_size(first, stream)
        return VideoInfo(round(width), round(height), _fps(stream), _duration(container, stream))


def read_frames(
    path: Path | str, times: list[float], height: int, width: int, crop: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    """The frames shown at `times` (ascending, in seconds), as uint8 (len(times), height, width, 3).

    For each time, the last frame that started at or before it; after the end, the last frame. Of the upright picture,
    `crop` (left, top, right, bottom; shares in [0, 1]) is taken, or all of it; that is scaled to cover height × width
    without stretching, and what is over is cut off evenly. Raises ClipError for anything broken.
    """
    fit = _Fit(path, height, width, crop)
    with _opened_at(path, times[0]) as (container, stream, frames):
        return _finish(_pick(container, stream, path, times, frames), stream, fit)


def stream_frames(path: Path | str, height: int, width: int, start: float | None = None, end: float | None = None):
    """Yields (time, frame) for each frame of the file that starts in [start, end): each once, however long the file.

    Frames are uint8 (height, width, 3), scaled and cropped as by `read_frames`. A file that breaks off in the middle
    gives what came before; anything else that is broken raises ClipError.
    """
    start, end, fit = start or 0.0, float("inf") if end is None else end, _Fit(path, height, width, None)
    with _opened_at(path, start) as (_, stream, frames):
        for frame in frames:
            time = frame.time - _start(stream)
            if time >= end - 1e-3:
                return
            if time >= start - 1e-3:
                yield time, fit(frame, stream)


@dataclass(frozen=True)
class Packets:
    """The compressed packets of a file's video stream, in the order in which they are shown: one for each frame."""

    times: np.ndarray  # float (N,), seconds from the first frame
    sizes: np.ndarray  # int (N,), bytes
    keyframes: np.ndarray  # bool (N,)
    digest: str  # of all their bytes: the same for two files with the same video stream, whatever is around it


def read_packets(path: Path | str) -> Packets:
    """What a file tells before anything is decoded. Raises ClipError where it cannot be opened or holds no packet."""
    rows, digest = [], blake2b(digest_size=16)
    with _opened(path) as (container, stream):
        try:
            for packet in container.demux(stream):
                if packet.size:  # the last packet is empty: it tells a decoder to finish
                    digest.update(packet)
                    time = packet.dts if packet.pts is None else packet.pts
                    seconds = float((time or 0) * stream.time_base) - _start(stream)
                    rows.append((seconds, packet.size, packet.is_keyframe))
        except av.FFmpegError as error:
            if not rows:
                raise ClipError(path, f"cannot be read ({error})") from None
    if not rows:
        raise ClipError(path, "holds no packet of video")
    times, sizes, keyframes = (np.array(column) for column in zip(*sorted(rows), strict=True))
    return Packets(times, sizes, keyframes, digest.hexdigest())


@contextmanager
def _opened_at(path, time: float):
    """`with _opened_at(path, time) as (container, stream, frames)`: decoded frames, from a key frame at or before
    `time`, or from the start."""
    with _opened(path) as (container, stream):
        frames = _frames_from(time, container, stream, path)
        if frames is not None:
            yield container, stream, frames
            return
    with _opened(path) as (container, stream):
        yield container, stream, _frames(container, stream, path)


def _frames_from(time: float, container, stream, path):
    """Decoded frames from a key frame at or before `time`, or from the start; None where a seek has found neither, and
    the file has to be opened again."""
    if time <= 1.0 or container.format.name == NO_SEEK:  # below a second a seek is not worth it
        return _frames(container, stream, path)
    delay, origin = _delay(container, stream, path), _start(stream)
    for seconds, quick in ATTEMPTS:
        if time - seconds <= 1.0 or delay is None:
            return None
        try:
            container.seek(int((time - seconds + origin) / stream.time_base), stream=stream)
        except av.FFmpegError:  # some containers cannot
            return None
        frames = _frames(container, stream, path, delay, time - NEAR if quick else 0)
        shown, following = next(frames, None), []
        if shown is None or not shown.key_frame or shown.time - origin > time + 1e-3:
            continue
        for frame in frames:
            if frame.time - origin > time + 1e-3:
                following.append(frame)
                break
            shown = frame
        if not quick or shown.time - origin >= time - NEAR:  # else it may not be the one, but the last that was needed
            return chain([shown, *following], frames)
    return None


def _pick(container, stream, path, times: list[float], frames):
    """Yields for each time the last frame that started at or before it; after the end the last frame, but a ClipError
    where decoding ends before the header says, as in a download that broke off."""
    origin, done, shown = _start(stream), 0, None
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
        duration = _duration(container, stream)
        if any(end + BREAK < time < duration for time in times[done:]):
            raise ClipError(path, f"breaks off at {end:.2f} of {duration:.2f} s; download or encode it again")
    yield from [shown] * (len(times) - done)


def _finish(frames, stream, fit: "_Fit") -> np.ndarray:
    arrays, last = [], None
    for frame in frames:  # converted as they come: decoded frames are large, and a frame shown twice is converted once
        if frame is not last:
            array, last = fit(frame, stream), frame
        arrays.append(array)
    return np.stack(arrays)


# ---------------------------------------------------------------- the picture


class _Fit:
    """Turns decoded frames into uint8 (height, width, 3): upright, the crop scaled to cover, its middle cut out."""

    def __init__(self, path, height: int, width: int, crop):
        try:
            left, top, right, bottom = self.crop = (0, 0, 1, 1) if crop is None else tuple(map(float, crop))
        except (TypeError, ValueError):
            left = top = right = bottom = 0
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise ClipError(path, f"its crop {crop!r} is not (left, top, right, bottom) with shares in [0, 1]")
        self.path, self.height, self.width = path, height, width
        self.scaler = VideoReformatter()  # one for all frames: it keeps its tables
        self.mirrored = None  # not looked up yet

    def __call__(self, frame, stream) -> np.ndarray:
        left, top, right, bottom = self.crop
        shown_height, shown_width = _shown_size(frame, stream)
        scale = max(self.height / (shown_height * (bottom - top)), self.width / (shown_width * (right - left)))
        full = round(shown_height * scale), round(shown_width * scale)
        if full[0] * full[1] > MOST_PIXELS:
            raise ClipError(self.path, f"is too narrow: it would have to be scaled to {full[1]}×{full[0]} pixels")
        y = _offset(full[0], self.height, (top + bottom) / 2)
        x = _offset(full[1], self.width, (left + right) / 2)
        turns = _turns(frame)
        tall, wide = full[::-1] if turns % 2 else full  # as it is stored
        try:  # threads=1: PyAV's default of several threads is three times slower on small frames
            scaled = self.scaler.reformat(frame, wide, tall, "rgb24", interpolation="AREA", threads=1)
        except (av.FFmpegError, ValueError) as error:
            raise ClipError(self.path, f"a frame cannot be converted ({error})") from None
        array = scaled.to_ndarray()
        if self.mirrored is None:
            self.mirrored = _mirrored(frame, stream, self.path)
        array = np.rot90(array[::-1] if self.mirrored else array, k=turns)
        return array[y : y + self.height, x : x + self.width]


def _offset(full: int, wanted: int, centre: float) -> int:
    """Where a window of `wanted` pixels begins whose middle is at a share of `full` pixels; always inside."""
    return max(0, min(full - wanted, int(full * centre - wanted / 2)))


def _turns(frame) -> int:
    """Quarter turns anticlockwise that make a frame upright, by a phone's rotation or a photo's EXIF."""
    return (round(frame.rotation) // 90) % 4


def _mirrored(frame, stream, path) -> bool:
    """Whether a frame is to be flipped before it is turned, which FFmpeg's rotation leaves out: by a photo's Exif (2.3,
    4.6.4 A), or by a matrix (ISO 14496-12, 8.3.2) that turns the picture over."""
    with suppress(OSError, ValueError, SyntaxError):  # ValueError also for what PyAV does not know beside a frame
        if _is_picture(stream.container):
            with Image.open(path) as picture:
                return picture.getexif().get(0x0112) in (2, 4, 5, 7)
        if matrix := frame.side_data.get("DISPLAYMATRIX"):
            a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
            return a * d < b * c
    return False


def _shown_size(frame, stream) -> tuple[float, float]:
    """(height, width) of an upright frame with square pixels: old formats stretch theirs when they show them."""
    height, width = frame.height, frame.width * float(stream.sample_aspect_ratio or 1)
    return (width, height) if _turns(frame) % 2 else (height, width)


# ---------------------------------------------------------------- the file


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
            self.container = av.open(f"file:{self.path}", options={"format_whitelist": FORMATS})
        except (av.FFmpegError, ValueError) as error:
            raise ClipError(self.path, f"not a video that can be opened, nor a picture ({error})") from None
        try:
            stream = self._stream()
        except ClipError:
            self.container.close()
            raise
        stream.codec_context.thread_type = "AUTO" if stream.codec_context.width >= 1280 else "NONE"
        return self.container, stream

    def _stream(self):
        for stream in self.container.streams.video:
            if not stream.disposition & Disposition.attached_pic:  # the cover of a record
                if stream.codec_context is None:
                    raise ClipError(self.path, "its video is in a codec that FFmpeg cannot decode here")
                return stream
        raise ClipError(self.path, "holds no video")

    def __exit__(self, *_):
        self.container.close()


def _frames(container, stream, path, delay: int | None = None, needed_before: float = 0):
    """Decoded frames that have a time. A file that breaks off in the middle gives what came before. Up to the time
    `needed_before` only frames that others are decoded from."""
    any_frame = False
    try:
        if container.format.name == "avi":
            decoded = _timed(container.decode(stream), stream, delay)
        else:
            decoded = _decoded(container, stream, (needed_before + _start(stream)) / stream.time_base)
        for frame in decoded:
            if frame.pts is not None:
                any_frame = True
                yield frame
    except av.FFmpegError as error:
        if not any_frame:
            raise ClipError(path, f"cannot be decoded ({error})") from None


def _decoded(container, stream, needed_before: float):
    for packet in container.demux(stream):
        early = packet.pts is not None and packet.pts < needed_before
        stream.codec_context.skip_frame = "NONREF" if early else "DEFAULT"
        yield from packet.decode()


def _timed(frames, stream, delay: int | None):
    """AVI has no presentation times, and those that FFmpeg guesses are late or out of order where there are B-frames.
    But its packets are numbered, each brings out one frame, and a decoder stays as many packets behind as it was at
    its first frame: `delay`, which has to be given where decoding starts in the middle."""
    last = -1 if delay is None else None
    for frame in frames:
        if frame.dts is not None:
            delay = frame.dts - (stream.start_time or 0) if delay is None else delay
            last = frame.dts - delay
        elif last is None:  # the very last frames come out without a number
            return
        else:
            last += 1
        frame.pts = last
        yield frame


def _delay(container, stream, path) -> int | None:
    """What `_timed` has to know after a seek: 0 where files have times, None where it cannot be known."""
    if container.format.name != "avi":
        return 0
    first = next(_frames(container, stream, path), None)
    return None if first is None or first.dts is None else first.dts - first.pts


def _start(stream) -> float:
    return float((stream.start_time or 0) * stream.time_base)


def _fps(stream) -> float:
    return float(stream.average_rate or stream.base_rate or 0) or 1.0


def _is_picture(container) -> bool:
    return container.format.name.endswith("_pipe")


def _duration(container, stream) -> float:
    """Seconds of the video; sound may go on for longer. Of a file that breaks off, what its header says."""
    if _is_picture(container):
        return 0.0
    if stream.duration and container.format.name != NO_SEEK:  # a program stream's is a guess that is far too low
        return float(stream.duration * stream.time_base)
    if tag := re.fullmatch(r"(\d+):(\d\d):(\d\d\.\d+)", stream.metadata.get("DURATION", "")):  # Matroska, mostly
        hours, minutes, seconds = map(float, tag.groups())
        return 3600 * hours + 60 * minutes + seconds - _start(stream)
    whole = (container.duration or 0) / 1e6  # FLV and others know it only for the whole file, with its sound
    ends = {}  # stream: the end of its last packet
    for start in (whole - 10, 0):
        with suppress(av.FFmpegError, IndexError):  # a file that breaks off; a stream that the header does not have
            container.seek(int(max(0, start) * 1e6))
            for packet in container.demux():
                if packet.pts is not None:
                    length = float((packet.duration or 0) * packet.time_base) or 1 / _fps(stream)
                    end = float(packet.pts * packet.time_base) + length
                    ends[packet.stream.index] = max(end, ends.get(packet.stream.index, 0))
        if stream.index in ends:
            break
    if max(ends.values(), default=0) < whole - BREAK:
        return whole
    return ends.get(stream.index, 0) - _start(stream)


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
        # without mbtree: on frames as small as these, now and then it made another file of the same frames
        options = {"crf": str(quality), "preset": "veryfast", "mbtree": "0"}
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
