"""Video files as containers of packets: opening them, seeking in them, their times and their lengths.

What differs between mp4, mkv, avi, mpg, flv, GIF and photos is dealt with here, so that data/video.py need not know it.
Only these two modules import av (PyAV). Times are seconds from the first frame of the file.
"""

import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from PIL import Image

from lite_sora.errors import UserError

# The formats that are opened: those of videos and pictures. FFmpeg knows more, among them text files, which it would
# show as a terminal does, and playlists, which could name any file or address.
FORMATS = "mov,matroska,avi,flv,mpegts,mpeg,asf,ogg,gif,apng,png_pipe,jpeg_pipe,webp_pipe,bmp_pipe,tiff_pipe"
# Ways to seek a window, in order: how many seconds before it, since some containers find a key frame after the time
# that was asked for; and whether frames that no other frame needs are left out on the way, a third of the work.
ATTEMPTS = ((0, True), (0, False), (2, False), (10, False))
NEAR = 0.25  # seconds before a window in which no frame is left out, since a window begins with the frame shown then
# MPEG program streams are read from the start: after a seek, the times of the first frames are guesses.
NO_SEEK = "mpeg"
BREAK = 0.25  # seconds that the last frame may be held if a file is shorter than its header says


class ClipError(UserError):
    """A video that cannot be used; the message names the file and the reason."""

    def __init__(self, path: Path | str, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = str(path), reason


@contextmanager
def opened(path: Path | str):
    """`with opened(path) as (container, stream)`: a video file and its first video stream, or a ClipError."""
    if not Path(path).is_file():
        raise ClipError(path, "there is no such file")
    if Path(path).stat().st_size == 0:
        raise ClipError(path, "the file is empty")
    try:
        container = av.open(f"file:{path}", options={"format_whitelist": FORMATS})
    except (av.FFmpegError, ValueError) as error:
        raise ClipError(path, f"not a video that can be opened, nor a picture ({error})") from None
    with container:
        videos = container.streams.video
        stream = next((one for one in videos if not one.disposition & Disposition.attached_pic), None)  # no album cover
        if stream is None:
            raise ClipError(path, "contains no video")
        if stream.codec_context is None:
            raise ClipError(path, "its video is in a codec that FFmpeg cannot decode here")
        stream.codec_context.thread_type = "AUTO" if stream.codec_context.width >= 1280 else "NONE"
        yield container, stream


@contextmanager
def opened_at(path: Path | str, time: float):
    """`with opened_at(path, time) as (container, stream, frames)`: decoded frames, from a key frame at or before
    `time`, or from the start."""
    with opened(path) as (container, stream):
        frames = _frames_from(time, container, stream, path)
        if frames is not None:
            yield container, stream, frames
            return
    with opened(path) as (container, stream):
        yield container, stream, decoded(container, stream, path)


def _frames_from(time: float, container, stream, path):
    """Decoded frames from a key frame at or before `time`, or from the start. None if a seek has found neither, and the
    file has to be opened again."""
    if time <= 1.0 or container.format.name == NO_SEEK:  # below a second a seek is not worth it
        return decoded(container, stream, path)
    delay, origin = _delay(container, stream, path), start_of(stream)
    for seconds, quick in ATTEMPTS:
        if time - seconds <= 1.0 or delay is None:
            return None
        try:
            container.seek(int((time - seconds + origin) / stream.time_base), stream=stream)
        except av.FFmpegError:  # some containers cannot
            return None
        frames = decoded(container, stream, path, delay, time - NEAR if quick else 0)
        shown, following = next(frames, None), []
        if shown is None or not shown.key_frame or shown.time - origin > time + 1e-3:
            continue
        for frame in frames:
            if frame.time - origin > time + 1e-3:
                following.append(frame)
                break
            shown = frame
        if not quick or shown.time - origin >= time - NEAR:  # else a frame that was left out may be the one
            return chain([shown, *following], frames)
    return None


def decoded(container, stream, path, delay: int | None = None, needed_before: float = 0):
    """Decoded frames that have a time. A file that breaks off in the middle gives the frames before that. Up to the
    time `needed_before`, frames that no other frame needs are left out."""
    any_frame = False
    try:
        if container.format.name == "avi":
            frames = _timed(container.decode(stream), stream, delay)
        else:
            frames = _needed(container, stream, (needed_before + start_of(stream)) / stream.time_base)
        for frame in frames:
            if frame.pts is not None:
                any_frame = True
                yield frame
    except av.FFmpegError as error:
        if not any_frame:
            raise ClipError(path, f"cannot be decoded ({error})") from None


def _needed(container, stream, needed_before: float):
    for packet in container.demux(stream):
        early = packet.pts is not None and packet.pts < needed_before
        stream.codec_context.skip_frame = "NONREF" if early else "DEFAULT"
        yield from packet.decode()


def _timed(frames, stream, delay: int | None):
    """Frames of an AVI file with their times. AVI stores none, and FFmpeg's guesses are late or out of order if there
    are B-frames. But packets are numbered, each brings out one frame, and a decoder stays as many packets behind as it
    was at its first frame: `delay`, which has to be given if decoding starts in the middle."""
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
    """The `delay` that `_timed` needs after a seek: 0 for files with times, None if it cannot be known."""
    if container.format.name != "avi":
        return 0
    first = next(decoded(container, stream, path), None)
    return None if first is None or first.dts is None else first.dts - first.pts


def start_of(stream) -> float:
    """The time of a stream's first frame, in seconds of the container's clock."""
    return float((stream.start_time or 0) * stream.time_base)


def fps_of(stream) -> float:
    """Frames a second, on average; 1 if the file does not say."""
    return float(stream.average_rate or stream.base_rate or 0) or 1.0


def duration_of(container, stream) -> float:
    """Seconds of the video, whose sound may be longer; of a file that breaks off, the seconds in its header."""
    if _is_picture(container):
        return 0.0
    if stream.duration and container.format.name != NO_SEEK:  # a program stream's is a guess that is far too low
        return float(stream.duration * stream.time_base)
    if tag := re.fullmatch(r"(\d+):(\d\d):(\d\d\.\d+)", stream.metadata.get("DURATION", "")):  # Matroska, mostly
        hours, minutes, seconds = map(float, tag.groups())
        return 3600 * hours + 60 * minutes + seconds - start_of(stream)
    whole = (container.duration or 0) / 1e6  # FLV and others know it only for the whole file, with its sound
    ends = {}  # stream: the end of its last packet
    for start in (whole - 10, 0):
        with suppress(av.FFmpegError, IndexError):  # a file that breaks off; a stream that the header does not have
            container.seek(int(max(0, start) * 1e6))
            for packet in container.demux():
                if packet.pts is not None:
                    length = float((packet.duration or 0) * packet.time_base) or 1 / fps_of(stream)
                    end = float(packet.pts * packet.time_base) + length
                    ends[packet.stream.index] = max(end, ends.get(packet.stream.index, 0))
        if stream.index in ends:
            break
    if max(ends.values(), default=0) < whole - BREAK:
        return whole
    return ends.get(stream.index, 0) - start_of(stream)


def quarter_turns(frame) -> int:
    """Quarter turns anticlockwise that make a frame upright, by a phone's rotation or a photo's EXIF."""
    return (round(frame.rotation) // 90) % 4


def mirrored(frame, stream, path) -> bool:
    """Whether a frame is to be flipped before it is turned, which FFmpeg's rotation leaves out: by a photo's Exif (2.3,
    4.6.4 A), or by a matrix (ISO 14496-12, 8.3.2) that mirrors the picture."""
    with suppress(OSError, ValueError, SyntaxError):  # ValueError also for side data that PyAV does not know
        if _is_picture(stream.container):
            with Image.open(path) as picture:
                return picture.getexif().get(0x0112) in (2, 4, 5, 7)
        if matrix := frame.side_data.get("DISPLAYMATRIX"):
            a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
            return a * d < b * c
    return False


def shown_size(frame, stream) -> tuple[float, float]:
    """(height, width) of an upright frame with square pixels; old formats store stretched ones."""
    height, width = frame.height, frame.width * float(stream.sample_aspect_ratio or 1)
    return (width, height) if quarter_turns(frame) % 2 else (height, width)


def _is_picture(container) -> bool:
    return container.format.name.endswith("_pipe")


@dataclass(frozen=True)
class Packets:
    """The compressed packets of a file's video stream, in the order in which they are shown: one for each frame."""

    times: np.ndarray  # float (N,), seconds from the first frame
    sizes: np.ndarray  # int (N,), bytes
    keyframes: np.ndarray  # bool (N,)
    digest: str  # of all their bytes: the same for two files with the same video stream, in any container


def read_packets(path: Path | str) -> Packets:
    """The packets of a file, read without decoding. Raises ClipError if it cannot be opened or contains none."""
    rows, digest = [], blake2b(digest_size=16)
    with opened(path) as (container, stream):
        try:
            for packet in container.demux(stream):
                if packet.size:  # the last packet is empty: it makes a decoder finish
                    digest.update(packet)
                    time = packet.dts if packet.pts is None else packet.pts
                    seconds = float((time or 0) * stream.time_base) - start_of(stream)
                    rows.append((seconds, packet.size, packet.is_keyframe))
        except av.FFmpegError as error:
            if not rows:
                raise ClipError(path, f"cannot be read ({error})") from None
    if not rows:
        raise ClipError(path, "contains no packet of video")
    times, sizes, keyframes = (np.array(column) for column in zip(*sorted(rows), strict=True))
    return Packets(times, sizes, keyframes, digest.hexdigest())
