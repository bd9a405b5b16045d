"""Frames are sampled where they should be, and decoded no more often than needed."""

import numpy as np
import pytest
from films import FPS, film

from lite_sora.curation import footage as module
from lite_sora.curation.footage import MOST, Footage, Reader
from lite_sora.curation.operators import OPERATORS
from lite_sora.data.clip import Clip
from lite_sora.data.containers import ClipError, read_packets
from lite_sora.data.video import probe, write_gif, write_video


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "long.mp4"
    write_video(path, film(1, 60), FPS)  # 3.75 s
    return path


def footages(path, *windows, **stats) -> list[Footage]:
    reader = Reader(path)
    return [
        Footage(Clip("x", path.name, "", start=start, end=end, stats=stats), path, reader) for start, end in windows
    ]


@pytest.fixture
def reads(monkeypatch):
    """The times of each pass over a file."""
    passes = []

    def counted(path, times, height, width, read=module.read_frames):
        passes.append(times)
        return read(path, times, height, width)

    monkeypatch.setattr(module, "read_frames", counted)
    return passes


def test_frames_are_spread_evenly_and_lie_inside(path):
    (clip,) = footages(path, (1.0, 3.0))
    assert clip.duration == 2 and clip.fps == 8
    assert clip.times == pytest.approx([1 + (i + 0.5) / 8 for i in range(16)])
    assert clip.frames.shape == (16, 96, 128, 3)
    drawn = film(1, 60).astype(int)
    closest = [np.abs(drawn - frame).mean((1, 2, 3)).argmin() for frame in clip.frames]
    assert closest == [int(time * FPS) for time in clip.times]
    assert (clip.pick(2) == clip.frames[[4, 12]]).all()
    assert len(clip.pick(20)) == 20  # more than there are: some twice


def test_a_whole_file_and_an_end_beyond_it(path):
    whole, beyond = footages(path, (None, None), (2.0, 99.0))
    assert whole.duration == pytest.approx(3.75) and len(whole.frames) == 30
    assert beyond.duration == pytest.approx(1.75)
    with pytest.raises(ClipError, match=r"long.mp4: starts at 4 s, but the file ends at 3.75 s"):
        footages(path, (4.0, 5.0))


def test_a_long_clip_is_looked_at_less_often(path, monkeypatch):
    monkeypatch.setattr(module, "MOST", 10)
    (clip,) = footages(path, (0.0, 2.5))
    assert len(clip.frames) == 10 and clip.fps == pytest.approx(4)
    assert MOST == 128


def test_slow_files_and_stills_are_not_looked_at_more_often_than_they_change(tmp_path):
    write_gif(tmp_path / "slow.gif", film(1, 8), fps=4)
    (clip,) = footages(tmp_path / "slow.gif", (None, None))
    assert len(clip.frames) == 8 and clip.fps == pytest.approx(4, rel=0.05)
    from PIL import Image

    Image.fromarray(film(1, 1)[0]).save(tmp_path / "still.png")
    (clip,) = footages(tmp_path / "still.png", (None, None))
    assert clip.frames.shape == (1, 96, 128, 3) and clip.duration == 0


def test_neighbours_are_decoded_in_one_pass(path, reads):
    clips = footages(path, (0.0, 1.0), (1.0, 2.0), (0.5, 1.5), (0.0, 1.0), (None, None))
    for clip in clips:
        alone = footages(path, (clip.clip.start, clip.clip.end))[0]
        assert clip.times == alone.times
    assert reads == []  # nothing is decoded before it is asked for
    together = [clip.frames for clip in clips]
    assert len(reads) == 1
    again = [clip.frames for clip in clips]
    assert len(reads) == 1 and all(one is other for one, other in zip(together, again, strict=True))
    assert together[0] is together[3]
    for clip, frames in zip(clips, together, strict=True):
        assert (footages(path, (clip.clip.start, clip.clip.end))[0].frames == frames).all()


def test_what_lies_far_apart_is_not_decoded_in_between(path, reads, monkeypatch):
    monkeypatch.setattr(module, "GAP", 1.0)
    first, last = footages(path, (0.0, 0.5), (3.0, 3.75))
    assert first.frames.shape[0] == 4 and last.frames.shape[0] == 6
    assert len(reads) == 2 and max(reads[0]) < 0.5 and min(reads[1]) > 3


def test_only_the_broken_part_of_a_file_is_lost(path, tmp_path):
    data, cut = path.read_bytes(), tmp_path / "cut.mp4"
    cut.write_bytes(data[: data.index(b"mdat") + 4 + read_packets(path).sizes[:36].sum()])
    good, bad = footages(cut, (0.0, 1.0), (1.0, 3.5))
    with pytest.raises(ClipError, match="breaks off"):
        _ = bad.frames
    assert len(good.frames) == 8


def test_large_pictures_are_looked_at_smaller(tmp_path):
    write_video(tmp_path / "large.mp4", film(1, 4, 540, 960), FPS)
    (clip,) = footages(tmp_path / "large.mp4", (None, None))
    assert clip.frames.shape[1:] == (256, 455, 3) and clip.info.width == 960


def test_frames_are_cropped(path):
    (whole,), (part,) = footages(path, (0.0, 1.0)), footages(path, (0.0, 1.0), crop=[0.25, 0.125, 1.0, 0.5])
    assert part.frames.shape == (8, 36, 96, 3)
    assert (part.frames == whole.frames[:, 12:48, 32:]).all()


@pytest.mark.parametrize("crop", [[0, 0, 1], [0, 0, 0, 1], [0.5, 0, 0.2, 1], [0, 0, 2, 1], "left", [0, 0, "a", 1], {}])
def test_a_crop_that_is_none(crop, path):
    with pytest.raises(ClipError, match="its crop .* is not .left, top, right, bottom."):
        footages(path, (0.0, 1.0), crop=crop)


# ---------------------------------------------------------------- packets


def test_packets(path):
    packets = read_packets(path)
    assert packets.times == pytest.approx(np.arange(60) / FPS)
    assert packets.keyframes[0] and packets.sizes.sum() < path.stat().st_size
    assert packets.sizes.sum() > 0.8 * path.stat().st_size
    (clip,) = footages(path, (1.0, 2.0))
    assert packets.times[clip.inside] == pytest.approx(1 + np.arange(16) / FPS)
    assert footages(path, (None, None))[0].inside.all()


def test_the_digest_is_that_of_the_video_alone(path, tmp_path):
    import av

    with av.open(str(path)) as source, av.open(str(tmp_path / "other.mkv"), "w") as target:
        (stream,) = source.streams
        out = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = out
                target.mux(packet)
    assert read_packets(tmp_path / "other.mkv").digest == read_packets(path).digest
    write_video(tmp_path / "again.mp4", film(1, 60), FPS, quality=20)
    assert read_packets(tmp_path / "again.mp4").digest != read_packets(path).digest
    assert probe(tmp_path / "other.mkv").duration == pytest.approx(3.75, abs=0.1)


def test_what_has_no_packets(tmp_path):
    (tmp_path / "a.mp4").write_text("404: not found", encoding="utf-8")
    with pytest.raises(ClipError, match="not a video that can be opened"):
        read_packets(tmp_path / "a.mp4")


def test_motion_and_jitter_share_one_search_until_the_crop_changes(path, monkeypatch):
    searched = []
    monkeypatch.setattr(module, "velocity", lambda *some, of=module.velocity: searched.append(some) or of(*some))
    (clip,) = footages(path, (0.0, 1.0))
    moved, shaken = (OPERATORS[name].measure(clip) for name in ("motion", "jitter"))
    assert len(searched) == 1 and moved > 0.1 > shaken
    clip.crop = [0, 0, 1, 0.5]
    inside = OPERATORS["motion"].measure(clip)
    assert len(searched) == 2 and inside > moved  # as many pixels are more of a shorter diagonal
