"""One clip becomes several: where the cuts lie, and what the pieces are called."""

import av
import numpy as np
import pytest
from films import FPS, film

from lite_sora.curation.footage import Footage, Reader
from lite_sora.curation.splitting import pieces, split_by_duration, split_by_keyframe, split_by_scene, trim
from lite_sora.data.clip import Clip
from lite_sora.data.video import write_video


@pytest.fixture(scope="module")
def two_shots(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "cut.mp4"
    write_video(path, np.concatenate([film(3, 24), 255 - film(4, 40)]), FPS)  # a cut at 1.5 of 4 s
    return path


def footage(path, start=None, end=None) -> Footage:
    return Footage(Clip("x", path.name, "", start=start, end=end), path, Reader(path))


def starts_and_ends(times) -> list:
    return [pytest.approx(piece, abs=1e-6) for piece in times]


@pytest.mark.parametrize("detector", ["content", "adaptive"])
def test_scenes(detector, two_shots):
    assert split_by_scene(footage(two_shots), detector) == starts_and_ends([[0, 1.5], [1.5, 4]])
    assert split_by_scene(footage(two_shots, 0.5, 3), detector) == starts_and_ends([[0.5, 1.5], [1.5, 3]])
    assert split_by_scene(footage(two_shots, 2, 4), detector) == starts_and_ends([[2, 4]])
    assert split_by_scene(footage(two_shots), detector, min_frames=30) == starts_and_ends([[0, 4]])


DURATIONS = [
    (dict(seconds=1.5), [[0, 1.5], [1.5, 3], [3, 4]]),
    (dict(seconds=2), [[0, 2], [2, 4]]),
    (dict(seconds=10), [[0, 4]]),
    (dict(seconds=1.5, min_last=1.2), [[0, 1.5], [1.5, 3]]),
    (dict(seconds=1.5, min_last=1.2, join_last=True), [[0, 1.5], [1.5, 4]]),
    (dict(seconds=1.5, min_last=1, join_last=True), [[0, 1.5], [1.5, 3], [3, 4]]),
    (dict(seconds=10, min_last=5), []),
    (dict(seconds=10, min_last=5, join_last=True), [[0, 4]]),
]


@pytest.mark.parametrize("settings, expected", DURATIONS)
def test_durations(settings, expected, two_shots):
    assert split_by_duration(footage(two_shots), **settings) == starts_and_ends(expected)


def test_durations_count_from_the_clips_start(two_shots):
    assert split_by_duration(footage(two_shots, 0.5, 3), 1) == starts_and_ends([[0.5, 1.5], [1.5, 2.5], [2.5, 3]])


def test_trim(two_shots):
    assert trim(footage(two_shots, 1, 3), 0.1) == starts_and_ends([[1.2, 2.8]])
    assert trim(footage(two_shots), 0) == starts_and_ends([[0, 4]])


def test_keyframes(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"sc_threshold": "0"})
        stream.width, stream.height, stream.codec_context.gop_size = 128, 96, 24
        for frame in film(1, 60):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())
    assert split_by_keyframe(footage(tmp_path / "a.mp4")) == starts_and_ends([[0, 1.5], [1.5, 3], [3, 3.75]])
    assert split_by_keyframe(footage(tmp_path / "a.mp4", 1.5, 3.5)) == starts_and_ends([[1.5, 3], [3, 3.5]])


def test_pieces_are_named_after_the_clip():
    clip = Clip(
        "film", "f.mp4", "a film", ["a film", "one"], start=1, language="en", stats={"blur": 3, "crop": [0, 0, 1, 0.5]}
    )
    one, other = pieces(clip, 9, [[1, 4.5], [4.5, 10]])
    assert (one.id, one.start, one.end, one.source) == ("film-000", 1, 4.5, "f.mp4")
    assert (other.id, other.start, other.end, other.video) == ("film-001", 4.5, 10, "f.mp4")
    assert one.captions == ["a film", "one"] and one.language == "en"
    assert one.stats == {"crop": [0, 0, 1, 0.5]}  # what was measured of the whole does not hold for a part
    assert [piece.source for piece in pieces(one, 3.5, [[1, 2], [2, 4.5]])] == ["f.mp4"] * 2
    assert [piece.id for piece in pieces(one, 3.5, [[1, 2], [2, 4.5]])] == ["film-000-000", "film-000-001"]


def test_a_clip_that_is_not_cut_stays_as_it_is():
    clip = Clip("film", "f.mp4", "a film", stats={"blur": 3})
    assert pieces(clip, 9, [[0, 9]]) == [clip]
    assert pieces(clip, 9, [[0, 9]], keep_original=True) == [clip]
    assert [piece.end for piece in pieces(clip, 9, [[0, 8]])] == [8]
    assert pieces(clip, 9, []) == []


def test_the_original_can_be_kept():
    clip = Clip("film", "f.mp4", "a film", stats={"blur": 3})
    assert pieces(clip, 9, [[0, 4], [4, 9]], keep_original=True)[0] is clip
    assert [piece.id for piece in pieces(clip, 9, [[0, 4], [4, 9]], True)] == ["film", "film-000", "film-001"]
