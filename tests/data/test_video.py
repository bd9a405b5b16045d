"""Video files: what is written is read back, at the right times and the right way up; what is broken is named."""

from contextlib import suppress
from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image, ImageOps

from lite_sora.data import containers
from lite_sora.data.video import ClipError, probe, read_frames, write_gif, write_video

FPS = 10


def numbered(count: int) -> np.ndarray:
    """Frames (count, 48, 64, 3) that carry their number as eight black or white stripes."""
    bits = np.arange(count)[:, None] >> np.arange(8) & 1  # (count, 8)
    row = bits.repeat(8, axis=1)[:, None, :, None] * 255  # (count, 1, 64, 1)
    return np.broadcast_to(row, (count, 48, 64, 3)).astype(np.uint8)


def numbers(frames: np.ndarray) -> list[int]:
    """The numbers of frames (T, height, width, 3), whatever a codec has done to them."""
    stripes = frames.reshape(len(frames), frames.shape[1], 8, -1).mean((1, 3))  # (T, 8)
    return ((stripes > 127) @ (1 << np.arange(8))).tolist()


def encode(path, frames, codec: str, fps=FPS, times=None, b_frames=None, pixels="yuv420p", options=None):
    """Writes frames as somebody else's tool would: any container and codec, times as they are given."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=options or {})
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], pixels
        context = stream.codec_context
        context.gop_size, context.thread_count = 12, 1
        if b_frames is not None:
            context.max_b_frames = b_frames
        if times is not None:
            context.time_base = Fraction(1, 1000)
        for index, array in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(array, "rgb24")
            if times is not None:
                frame.pts, frame.time_base = round(times[index] * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def gradient(height: int, width: int) -> np.ndarray:
    """One frame (1, height, width, 3): red grows to the right, green downwards."""
    frame = np.full((1, height, width, 3), 128, np.uint8)
    frame[..., 0] = np.linspace(0, 255, width)
    frame[..., 1] = np.linspace(0, 255, height)[:, None]
    return frame


# ---------------------------------------------------------------- a round trip


def test_written_video_is_h264_that_browsers_play(tmp_path):
    write_video(tmp_path / "a.mp4", numbered(20), FPS)
    with av.open(str(tmp_path / "a.mp4")) as container:
        (stream,) = container.streams
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == FPS
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # a browser can start before it has everything
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]  # nothing half-written beside it


def test_what_is_written_is_read(tmp_path):
    frames = np.stack([gradient(48, 64)[0, :, ::step] for step in (1, -1)] * 4)
    write_video(tmp_path / "a.mp4", frames, FPS)
    info = probe(tmp_path / "a.mp4")
    assert (info.width, info.height, info.fps, info.duration) == (64, 48, 10, pytest.approx(0.8))
    read = read_frames(tmp_path / "a.mp4", [i / FPS for i in range(8)], 48, 64)
    assert read.shape == frames.shape and read.dtype == np.uint8
    assert np.abs(read.astype(float) - frames).mean() < 4


def test_colours_survive(tmp_path):
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 255, 255), (0, 0, 0)]
    frames = np.array([np.full((16, 16, 3), colour) for colour in colours], np.uint8)
    write_video(tmp_path / "a.mp4", frames, FPS)
    read = read_frames(tmp_path / "a.mp4", [i / FPS for i in range(len(colours))], 16, 16)
    assert np.abs(read.astype(float) - frames).max() < 12


def test_fractional_rates(tmp_path):
    write_video(tmp_path / "a.mp4", numbered(30), 29.97)
    assert probe(tmp_path / "a.mp4").fps == pytest.approx(29.97, abs=1e-3)
    assert probe(tmp_path / "a.mp4").duration == pytest.approx(30 / 29.97, abs=1e-3)


def test_odd_sizes_are_refused_with_a_reason(tmp_path):
    with pytest.raises(ValueError, match=r"a\.mp4.*even size.*33×32"):
        write_video(tmp_path / "a.mp4", np.zeros((2, 32, 33, 3), np.uint8), FPS)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- the right frame at the right time

FILES = {  # name: (codec, more options)
    "h264.mp4": ("libx264", {}),
    "h264.mkv": ("libx264", {}),
    "h264.mov": ("libx264", {"b_frames": 3, "options": {"x264-params": "open-gop=1"}}),
    "h264.flv": ("libx264", {}),
    "h264.ts": ("libx264", {}),
    "h264.avi": ("libx264", {"b_frames": 3}),
    "mpeg4.avi": ("mpeg4", {"b_frames": 0}),
    "xvid.avi": ("mpeg4", {"b_frames": 2}),
    "sorenson.flv": ("flv", {}),
    "hevc.mp4": ("libx265", {"options": {"x265-params": "log-level=none:open-gop=1:bframes=3"}}),
    "wmv2.wmv": ("wmv2", {}),
    "vp8.ogv": ("libvpx", {"options": {"deadline": "realtime", "cpu-used": "8"}}),
    "vp8.webm": ("libvpx", {"options": {"deadline": "realtime", "cpu-used": "8"}}),
    "vp9.webm": ("libvpx-vp9", {"options": {"deadline": "realtime", "cpu-used": "8"}}),
    "mpeg2.ts": ("mpeg2video", {"fps": 25}),
    "mpeg2.mpg": ("mpeg2video", {"fps": 25, "b_frames": 2}),
    "motion-jpeg.mov": ("mjpeg", {"pixels": "yuvj420p"}),
    "animation.gif": ("gif", {"pixels": "rgb8"}),
}


@pytest.mark.parametrize("name", FILES)
def test_windows_of_every_container(name, tmp_path):
    """60 frames with a key frame at least every twelve; windows from the start, and late ones, found by a seek."""
    codec, more = FILES[name]
    path, fps = tmp_path / name, more.get("fps", FPS)
    encode(path, numbered(60), codec, **more)
    info = probe(path)
    assert (info.width, info.height, info.fps) == (64, 48, fps)
    assert info.duration == pytest.approx(60 / fps, abs=0.01)
    for start in (0, 1, 7, 10, 11, 12, 13, 25, 35, 36, 37, 40, 43, 48, 55, 56, 59):
        for stride, count in ((1, 1), (1, 4), (2, 3)):
            wanted = [start + stride * i for i in range(count)]
            if wanted[-1] < 60:
                read = numbers(read_frames(path, [frame / fps for frame in wanted], 48, 64))
                assert read == wanted, (start, stride)


@pytest.mark.parametrize("name", [name for name in FILES if not name.endswith((".mpg", ".gif"))])
def test_late_windows_are_found_without_decoding_all_before_them(name, tmp_path, monkeypatch):
    codec, more = FILES[name]
    path, fps = tmp_path / name, more.get("fps", FPS)
    encode(path, numbered(250), codec, **more)
    log, frames = [], containers.decoded
    monkeypatch.setattr(containers, "decoded", lambda *args: (log.append(frame) or frame for frame in frames(*args)))
    for start in (200, 216, 227, 245):
        log.clear()
        assert numbers(read_frames(path, [start / fps, (start + 2) / fps], 48, 64)) == [start, start + 2]
        assert len(log) < 130  # ten seconds at ten a second, where the first seek comes out late


def test_a_time_between_two_frames_shows_the_earlier(tmp_path):
    write_video(tmp_path / "a.mp4", numbered(30), FPS)
    for late in (0.0, 0.05, 0.09):
        assert numbers(read_frames(tmp_path / "a.mp4", [0.3 + late, 2.0 + late], 48, 64)) == [3, 20]
    assert numbers(read_frames(tmp_path / "a.mp4", [0.0, 0.0, 0.04, 0.1], 48, 64)) == [0, 0, 0, 1]
    # 30 a second from 10 a second: each frame three times, whatever 1 / 30 is in floating point
    assert numbers(read_frames(tmp_path / "a.mp4", [i / 30 for i in range(9)], 48, 64)) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_after_the_end_comes_the_last_frame(tmp_path):
    write_video(tmp_path / "a.mp4", numbered(20), FPS)
    assert numbers(read_frames(tmp_path / "a.mp4", [1.8, 1.9, 2.0, 5.0], 48, 64)) == [18, 19, 19, 19]
    assert numbers(read_frames(tmp_path / "a.mp4", [60.0], 48, 64)) == [19]


@pytest.mark.parametrize("name", ["variable.mp4", "variable.mkv"])
def test_variable_frame_rate(name, tmp_path):
    starts = np.cumsum([0] + [0.1, 0.5, 0.2, 0.7, 0.04] * 4)  # 21 frames in 6.2 s
    encode(tmp_path / name, numbered(21), "libx264", fps=50, times=starts)
    for time in (0.0, 0.05, 0.1, 0.55, 0.61, 1.3, 1.55, 2.0, 3.9, 6.1):
        expected = int(np.searchsorted(starts, time + 1e-3, side="right")) - 1
        assert numbers(read_frames(tmp_path / name, [time], 48, 64)) == [expected], time


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv"])
def test_times_count_from_the_first_frame(suffix, tmp_path):
    path = tmp_path / f"late.{suffix}"
    encode(path, numbered(40), "libx264", fps=10, times=[5 + i / 10 for i in range(40)])
    assert probe(path).duration == pytest.approx(4, abs=0.01)
    assert numbers(read_frames(path, [0.0, 0.5], 48, 64)) == [0, 5]
    assert numbers(read_frames(path, [3.0, 3.5], 48, 64)) == [30, 35]
    assert numbers(read_frames(path, [3.9, 4.5], 48, 64)) == [39, 39]


# ---------------------------------------------------------------- sound


def with_sound(path, frames: np.ndarray, codec: str, sound: str, seconds: float, fps: int = FPS):
    """Writes frames and silence of another length."""
    with av.open(str(path), "w") as container:
        pictures = container.add_stream(codec, rate=fps)
        pictures.width, pictures.height, pictures.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        pictures.codec_context.thread_count = 1
        silence = container.add_stream(sound, rate=48000, layout="mono")
        packets = [packet for array in frames for packet in pictures.encode(av.VideoFrame.from_ndarray(array, "rgb24"))]
        packets += pictures.encode()
        layout = silence.codec_context.format.name
        kind = np.float32 if layout.startswith("flt") else np.int16
        for index in range(int(seconds * 48000 / 1000)):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1000), kind), format=layout, layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, 1000 * index, Fraction(1, 48000)
            packets += silence.encode(frame)
        packets += silence.encode()
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)


SOUND = {
    "a.mp4": ("libx264", "aac"),
    "a.mkv": ("libx264", "aac"),
    "a.webm": ("libvpx", "libopus"),
    "a.flv": ("libx264", "aac"),
    "a.ts": ("libx264", "aac"),
    "a.avi": ("mpeg4", "ac3"),
    "a.mpg": ("mpeg2video", "mp2"),
}


@pytest.mark.parametrize("seconds", [1.0, 8.0])
@pytest.mark.parametrize("name", SOUND)
def test_sound_that_ends_at_another_time_than_the_pictures(name, seconds, tmp_path):
    codec, sound = SOUND[name]
    fps = 25 if name.endswith(".mpg") else FPS
    with_sound(tmp_path / name, numbered(3 * fps), codec, sound, seconds, fps)
    assert probe(tmp_path / name).duration == pytest.approx(3, abs=0.05)
    late = [2.8, 2.9, 4.0, 7.0]
    assert numbers(read_frames(tmp_path / name, late, 48, 64)) == [min(round(time * fps), 3 * fps - 1) for time in late]


@pytest.mark.parametrize("name", ["a.mkv", "a.flv"])
def test_a_download_with_sound_that_broke_off(name, tmp_path):
    with_sound(tmp_path / name, numbered(60), *SOUND[name], 9.0)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 3])
    refused(tmp_path / name, r"breaks off at [123]\.\d+ of \d\.\d+", [0.0, 5.0])
    refused(tmp_path / name, r"breaks off at [123]\.\d+ of \d\.\d+", [5.0])


def test_sound_without_pictures(tmp_path):
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    unusable(tmp_path / "sound.mp4", "contains no video")


# ---------------------------------------------------------------- size and rotation


@pytest.mark.parametrize("height, width", [(32, 32), (24, 48), (48, 20), (96, 96)])
def test_pictures_cover_and_are_cropped_without_stretching(height, width, tmp_path):
    """Whatever size is asked for, the middle of the file's picture is in the middle, and both axes scale alike."""
    write_video(tmp_path / "a.mp4", gradient(64, 128), FPS)
    (frame,) = read_frames(tmp_path / "a.mp4", [0.0], height, width).astype(float)
    assert frame.shape == (height, width, 3)
    scale = max(height / 64, width / 128)
    red, green = frame[..., 0].mean(0), frame[..., 1].mean(1)
    assert (red[0] + red[-1]) / 2 == pytest.approx(127.5, abs=5)
    assert (green[0] + green[-1]) / 2 == pytest.approx(127.5, abs=5)
    assert (red[-1] - red[0]) / (width - 1) == pytest.approx(255 / 127 / scale, rel=0.06)
    assert (green[-1] - green[0]) / (height - 1) == pytest.approx(255 / 63 / scale, rel=0.06)


def turned(path, matrix: tuple[int, ...]) -> None:
    """Writes to an mp4's track header how to show it, as phones do: (a, b, c, d) of x' = ax + cy, y' = bx + dy."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 44  # the nine numbers a b u c d v x y w; ISO 14496-12, 8.3.2
    for index, value in zip((0, 1, 3, 4), matrix, strict=True):
        data[place + 4 * index : place + 4 * index + 4] = (value << 16).to_bytes(4, "big", signed=True)
    path.write_bytes(data)


@pytest.mark.parametrize(
    "matrix, clockwise", [((1, 0, 0, 1), 0), ((0, 1, -1, 0), 1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 3)]
)
def test_a_phones_rotation_is_followed(matrix, clockwise, tmp_path):
    original = gradient(32, 64)
    path = tmp_path / "phone.mp4"
    write_video(path, original, FPS)
    turned(path, matrix)
    upright = np.rot90(original[0], k=-clockwise)
    height, width, _ = upright.shape
    info = probe(path)
    assert (info.width, info.height) == (width, height)
    (frame,) = read_frames(path, [0.0], height, width)
    assert np.abs(frame.astype(float) - upright).mean() < 4
    (half,) = read_frames(path, [0.0], height // 2, width // 4)  # cropped after turning
    wide = upright[::2, ::2]
    margin = (wide.shape[1] - half.shape[1]) // 2
    assert np.abs(half.astype(float) - wide[:, margin : margin + half.shape[1]]).mean() < 6


MIRRORS = [
    ((-1, 0, 0, 1), lambda frame: frame[:, ::-1]),
    ((1, 0, 0, -1), lambda frame: frame[::-1]),
    ((0, 1, 1, 0), lambda frame: frame.swapaxes(0, 1)),
    ((0, -1, -1, 0), lambda frame: frame[::-1, ::-1].swapaxes(0, 1)),
]


@pytest.mark.parametrize("matrix, mirror", MIRRORS)
def test_a_mirrored_video_is_shown_as_players_do(matrix, mirror, tmp_path):
    original, path = gradient(32, 64), tmp_path / "selfie.mp4"
    write_video(path, original, FPS)
    turned(path, matrix)
    shown = mirror(original[0])
    assert (probe(path).height, probe(path).width) == shown.shape[:2]
    (frame,) = read_frames(path, [0.0], *shown.shape[:2])
    assert np.abs(frame.astype(float) - shown).mean() < 4


@pytest.mark.parametrize("name, codec", [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4")])
@pytest.mark.parametrize("aspect", [Fraction(2), Fraction(1, 2), Fraction(16, 15)])
def test_pixels_that_are_not_square(name, codec, aspect, tmp_path):
    """A file whose pixels are to be shown wider than high looks as one that was written that wide."""
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream(codec, rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        container.mux(stream.encode(av.VideoFrame.from_ndarray(gradient(48, 64)[0], "rgb24")))
        container.mux(stream.encode())
    width = round(64 * aspect)
    info = probe(tmp_path / name)
    assert (info.width, info.height) == (width, 48)
    (frame,) = read_frames(tmp_path / name, [0.0], 48, width)
    assert np.abs(frame.astype(float) - gradient(48, width)).mean() < 4
    if aspect == 2:
        turned(tmp_path / name, (0, 1, -1, 0)) if name == "a.mp4" else None
        height, width = (128, 48) if name == "a.mp4" else (48, 128)
        assert (probe(tmp_path / name).width, probe(tmp_path / name).height) == (width, height)


@pytest.mark.parametrize("height, width", [(47, 63), (1, 64), (33, 15)])
@pytest.mark.parametrize("name, codec", [("a.webm", "libvpx-vp9"), ("a.mkv", "ffv1"), ("a.gif", "gif"), ("a.png", "")])
def test_odd_sizes(name, codec, height, width, tmp_path):
    original = gradient(height, width)
    if codec:
        pixels = "rgb8" if codec == "gif" else "yuv420p"
        encode(tmp_path / name, original.repeat(3, 0), codec, pixels=pixels)
    else:
        Image.fromarray(original[0]).save(tmp_path / name)
    info = probe(tmp_path / name)
    assert (info.width, info.height) == (width, height)
    (frame,) = read_frames(tmp_path / name, [0.0], height, width)
    assert np.abs(frame.astype(float) - original).mean() < (24 if codec == "gif" else 12)  # a GIF has few colours
    (frame,) = read_frames(tmp_path / name, [0.0], 21, 35)
    assert frame.shape == (21, 35, 3)


def test_a_size_that_changes_on_the_way(tmp_path):
    frames = numbered(40)
    with av.open(str(tmp_path / "a.ts"), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for half, factor in ((frames[:20], 1), (frames[20:], 2)):
            encoder = av.CodecContext.create("libx264", "w")
            encoder.width, encoder.height, encoder.pix_fmt = 64 * factor, 48 * factor, "yuv420p"
            encoder.time_base, encoder.max_b_frames, encoder.thread_count = Fraction(1, FPS), 0, 1
            packets = [
                packet
                for array in half.repeat(factor, 1).repeat(factor, 2)
                for packet in encoder.encode(av.VideoFrame.from_ndarray(array, "rgb24"))
            ]
            for index, packet in enumerate(packets + encoder.encode(), start=20 * (factor - 1)):
                packet.pts = packet.dts = index
                packet.time_base, packet.stream = Fraction(1, FPS), stream
                container.mux(packet)
    assert numbers(read_frames(tmp_path / "a.ts", [i / FPS for i in range(40)], 48, 64)) == list(range(40))
    assert numbers(read_frames(tmp_path / "a.ts", [2.5], 24, 32)) == [25]


# ---------------------------------------------------------------- a part of the picture


def marked(height: int, width: int, box: tuple[int, int, int, int]) -> np.ndarray:
    """A frame (1, height, width, 3) of a gradient in the box (left, top, right, bottom) and black around it."""
    left, top, right, bottom = box
    frame = np.zeros((1, height, width, 3), np.uint8)
    frame[:, top:bottom, left:right] = gradient(bottom - top, right - left) // 2 + 100
    return frame


@pytest.mark.parametrize("box", [(0, 12, 64, 36), (8, 0, 56, 48), (4, 8, 36, 40), (32, 24, 64, 48)])
def test_a_crop_leaves_the_rest_out(box, tmp_path):
    write_video(tmp_path / "a.mp4", marked(48, 64, box), FPS)
    left, top, right, bottom = box
    crop = left / 64, top / 48, right / 64, bottom / 48
    inside = marked(48, 64, box)[0, top:bottom, left:right]
    (frame,) = read_frames(tmp_path / "a.mp4", [0.0], bottom - top, right - left, crop)
    assert np.abs(frame.astype(float) - inside).mean() < 5 and frame.min() > 80
    for height, width in ((16, 16), (24, 48), (96, 40)):  # scaled to cover; nothing of the black comes in
        (frame,) = read_frames(tmp_path / "a.mp4", [0.0], height, width, list(crop))
        assert frame.shape == (height, width, 3) and frame[1:-1, 1:-1].min() > 80
        middle = frame[height // 2 - 2 : height // 2 + 2, width // 2 - 2 : width // 2 + 2].mean((0, 1))
        assert middle == pytest.approx([164, 164, 164], abs=8)


def test_a_crop_is_of_the_upright_picture(tmp_path):
    upright = marked(64, 32, (4, 40, 28, 60))
    write_video(tmp_path / "a.mp4", np.rot90(upright, 1, (1, 2)), FPS)  # stored lying on its side
    turned(tmp_path / "a.mp4", (0, 1, -1, 0))
    (frame,) = read_frames(tmp_path / "a.mp4", [0.0], 20, 24, (4 / 32, 40 / 64, 28 / 32, 60 / 64))
    assert np.abs(frame.astype(float) - upright[0, 40:60, 4:28]).mean() < 5


NO_CROPS = [(0, 0, 0, 1), (0.5, 0, 0.4, 1), (0, 0, 1, 1.1), (-0.1, 0, 1, 1), (0, 0, float("nan"), 1), [0, 1], "left", 3]


@pytest.mark.parametrize("crop", NO_CROPS)
def test_crops_that_are_none(crop, tmp_path):
    write_video(tmp_path / "a.mp4", numbered(2), FPS)
    with pytest.raises(ClipError, match=r"a\.mp4: its crop .* is not \(left, top, right, bottom\)"):
        read_frames(tmp_path / "a.mp4", [0.0], 48, 64, crop)


def test_a_picture_too_narrow_to_cover_is_refused(tmp_path):
    Image.fromarray(np.zeros((10_000, 1, 3), np.uint8)).save(tmp_path / "line.png")
    with pytest.raises(ClipError, match=r"line\.png: is too narrow"):
        read_frames(tmp_path / "line.png", [0.0], 720, 1280)


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tiff"])
def test_a_still_picture_is_a_video_of_one_frame(suffix, tmp_path):
    path = tmp_path / f"picture.{suffix}"
    Image.fromarray(gradient(48, 64)[0]).save(path)
    info = probe(path)
    assert (info.width, info.height, info.duration) == (64, 48, 0)
    for times in ([0.0], [0.0, 0.5], [5.0]):
        frames = read_frames(path, times, 48, 64)
        assert frames.shape == (len(times), 48, 64, 3)
        assert np.abs(frames.astype(float) - gradient(48, 64)).mean() < 4
    path.rename(tmp_path / "named-as-it-is-not.mp4")
    assert probe(tmp_path / "named-as-it-is-not.mp4").duration == 0


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photos_orientation_is_followed(orientation, suffix, tmp_path):
    path, exif = tmp_path / f"photo.{suffix}", Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(gradient(48, 64)[0]).save(path, exif=exif, quality=95)
    with Image.open(path) as picture:
        upright = np.array(ImageOps.exif_transpose(picture).convert("RGB"))  # as Pillow understands it
    height, width, _ = upright.shape
    assert (probe(path).width, probe(path).height) == (width, height)
    (frame,) = read_frames(path, [0.0], height, width)
    assert np.abs(frame.astype(float) - upright).mean() < 4


# ---------------------------------------------------------------- what is broken


def refused(path, reason: str, times=(0.0, 0.5)) -> None:
    """Reading `path` is refused with a message that has the file and the reason."""
    with pytest.raises(ClipError, match=reason) as caught:
        read_frames(path, list(times), 48, 64)
    assert str(caught.value).startswith(f"{path}: ")
    assert caught.value.path == str(path) and caught.value.reason in str(caught.value)


def unusable(path, reason: str) -> None:
    refused(path, reason)
    refused(path, reason, [5.0])  # where a seek is tried first
    with pytest.raises(ClipError, match=reason):
        probe(path)


def test_missing_and_empty_files(tmp_path):
    unusable(tmp_path / "missing.mp4", "no such file")
    unusable(tmp_path, "no such file")  # a folder
    (tmp_path / "empty.mp4").touch()
    unusable(tmp_path / "empty.mp4", "empty")


@pytest.mark.parametrize("suffix", ["mp4", "webm", "avi", "png", "gif", "html"])
def test_files_that_are_no_videos(suffix, tmp_path):
    reason = "not a video that can be opened|cannot be decoded"
    (tmp_path / f"page.{suffix}").write_text(
        "<!DOCTYPE html><html><body>404: not found</body></html>\n" * 40, encoding="utf-8"
    )
    unusable(tmp_path / f"page.{suffix}", reason)
    (tmp_path / f"noise.{suffix}").write_bytes(np.random.default_rng(0).bytes(5000))
    unusable(tmp_path / f"noise.{suffix}", reason)
    (tmp_path / f"zeros.{suffix}").write_bytes(bytes(5000))
    unusable(tmp_path / f"zeros.{suffix}", reason)


def test_texts_and_playlists_are_not_opened(tmp_path):
    """FFmpeg would show a text as a terminal does, and a playlist would open what it names."""
    write_video(tmp_path / "secret.mp4", numbered(20), FPS)
    texts = {
        "a.txt": "the caption of a clip\n" * 99,
        "a.nfo": "the caption of a clip\n" * 99,
        "a.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\nsecret.mp4\n#EXT-X-ENDLIST\n",
        "a.ffconcat": "ffconcat version 1.0\nfile secret.mp4\n",
        "a.mp4": "ffconcat version 1.0\nfile secret.mp4\n",
        "a.json": '{"video": "secret.mp4"}\n' * 99,
        "a.srt": "1\n00:00:01,000 --> 00:00:04,000\nwords\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        unusable(tmp_path / name, "not a video that can be opened, nor a picture")


@pytest.mark.parametrize(
    "name", ["a:b.mp4", "http:a.mp4", "concat:a.mp4", "%03d.mp4", "a'b c*?.mp4", "кошка.mp4", "-i.mp4"]
)
def test_names_are_names(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "plain.mp4", numbered(20), FPS)
    (tmp_path / "plain.mp4").rename(name)
    assert numbers(read_frames(name, [0.0, 1.5], 48, 64)) == [0, 15]


def test_a_records_cover_is_no_video(tmp_path):
    Image.fromarray(gradient(48, 64)[0]).save(tmp_path / "cover.png")
    with av.open(str(tmp_path / "a.mp4"), "w") as output, av.open(str(tmp_path / "cover.png")) as cover:
        stream = output.add_stream_from_template(cover.streams.video[0])
        stream.disposition = Disposition.attached_pic
        for packet in cover.demux():
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    unusable(tmp_path / "a.mp4", "contains no video")


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_cut_or_damaged_gives_frames_or_a_clip_error(name, tmp_path):
    codec, more = FILES[name]
    encode(tmp_path / name, numbered(60), codec, **more)
    data, rng = (tmp_path / name).read_bytes(), np.random.default_rng(0)
    cuts = [data[: len(data) * part // 6] for part in range(1, 6)]
    for _ in range(5):
        damaged = bytearray(data)
        for place in rng.integers(len(data), size=20):
            damaged[place] = rng.integers(256)
        cuts.append(damaged)
    for number, cut in enumerate(cuts):
        path = tmp_path / f"{number}-{name}"
        path.write_bytes(cut)
        with suppress(ClipError):
            assert probe(path).width > 0
        for times in ([0.0, 0.5], [2.0, 2.2]):
            with suppress(ClipError):
                assert read_frames(path, times, 48, 64).shape == (2, 48, 64, 3)


def test_a_download_that_broke_off_before_its_index(tmp_path):
    encode(tmp_path / "whole.mp4", numbered(60), "libx264")  # with the index at the end
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "whole.mp4").read_bytes()[:-800])
    unusable(tmp_path / "cut.mp4", "not a video that can be opened")


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_download_that_broke_off_in_the_middle(suffix, tmp_path):
    """What is there can be read; what is not there is not made up from the last frame."""
    path = tmp_path / f"whole.{suffix}"
    noisy = np.random.default_rng(0).integers(
        0, 60, (60, 48, 64, 3), dtype=np.uint8
    )  # so that each frame has some bytes
    frames = np.where(numbered(60) > 0, 255 - noisy, noisy)
    if suffix == "mp4":
        write_video(path, frames, FPS)  # with the index at the start
    else:
        encode(path, frames, "libx264")
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert numbers(read_frames(cut, [i / FPS for i in range(10)], 48, 64)) == list(range(10))
    assert probe(cut).duration == pytest.approx(6, abs=0.1)
    refused(cut, r"breaks off at [23]\.\d+ of 6\.0", [i / FPS for i in range(60)])
    refused(cut, r"breaks off at [23]\.\d+ of 6\.0|cannot be decoded", [4.5, 4.6])


@pytest.mark.parametrize("where", [0.3, 0.6])
def test_a_file_with_a_hole(where, tmp_path):
    write_video(tmp_path / "a.mp4", numbered(60), FPS)
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    start = data.index(b"mdat") + 4
    hole = start + int(where * (len(data) - start))
    data[hole : hole + 400] = np.random.default_rng(1).bytes(400)
    (tmp_path / "a.mp4").write_bytes(data)
    refused(tmp_path / "a.mp4", "breaks off|cannot be decoded", [i / FPS for i in range(60)])


# ---------------------------------------------------------------- GIFs


def test_gif_is_readable_and_loops_for_ever(tmp_path):
    write_gif(tmp_path / "a.gif", numbered(12), fps=8)
    with Image.open(tmp_path / "a.gif") as picture:
        assert picture.n_frames == 12 and picture.info["loop"] == 0
        assert picture.info["duration"] in (120, 130)  # GIFs count in hundredths of a second
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]
    info = probe(tmp_path / "a.gif")
    assert (info.width, info.height) == (64, 48)
    step = info.duration / 12
    assert numbers(read_frames(tmp_path / "a.gif", [i * step for i in range(12)], 48, 64)) == list(range(12))


def test_gif_keeps_the_colours(tmp_path):
    frames = np.zeros((4, 16, 16, 3), np.uint8)
    frames[:, :8] = (255, 0, 0)
    frames[2:, 8:] = (0, 255, 255)
    write_gif(tmp_path / "a.gif", frames, fps=8)
    with Image.open(tmp_path / "a.gif") as picture:
        picture.seek(picture.n_frames - 1)
        assert (np.array(picture.convert("RGB")) == frames[-1]).all()
