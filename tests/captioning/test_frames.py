"""Which frames of a clip are looked at, and how they are read."""

import av
import numpy as np
import pytest
from av.video.frame import PictureType
from PIL import Image

from lite_sora.captioning.frames import SAMPLINGS, FrameChoice, choose_times, read_chosen, read_clips
from lite_sora.curation.footage import Footage, Reader
from lite_sora.data.clip import Clip
from lite_sora.data.containers import ClipError, read_packets
from lite_sora.data.video import read_frames, write_video

FPS = 16


def texture(seed: int, height: int = 96, width: int = 128) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(40, 216, (8, 12, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def write(path, frames) -> str:
    write_video(path, np.stack(frames), FPS)
    return path


def times_of(path, count, sampling, start=None, end=None, **stats):
    return choose_times(
        Footage(Clip("x", path.name, "", start=start, end=end, stats=stats), path, Reader(path)), count, sampling
    )


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    """4 s in which nothing moves."""
    return write(tmp_path_factory.mktemp("still") / "still.mp4", [texture(0)] * 64)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """1 s, 1 s and 3 s of three scenes."""
    frames = [np.roll(texture(seed), i, 1) for seed, count in enumerate((16, 16, 48)) for i in range(count)]
    return write(tmp_path_factory.mktemp("scenes") / "scenes.mp4", frames)


def test_uniform_takes_the_middles_of_equal_parts(still):
    assert times_of(still, 4, "uniform") == [0.5, 1.5, 2.5, 3.5]
    assert times_of(still, 2, "uniform", start=1.0, end=3.0) == [1.5, 2.5]
    assert times_of(still, 2, "uniform", start=2.0, end=99.0) == [2.5, 3.5]


def test_every_sampling_is_uniform_where_nothing_happens(still):
    for sampling in SAMPLINGS:
        assert times_of(still, 8, sampling) == pytest.approx(times_of(still, 8, "uniform"), abs=0.1)


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("window, counts", [((None, None), (1, 8)), ((0.4, 2.6), (2, 5)), ((1.0, 1.2), (1, 8))])
def test_times_ascend_and_lie_in_the_clip(scenes, sampling, window, counts):
    start, end = window[0] or 0, window[1] or 5
    for count in counts:
        times = times_of(scenes, count, sampling, *window)
        assert len(times) == min(count, int((end - start) * FPS + 1e-3))  # the shortest has three frames
        assert all(start <= time < end for time in times) and (np.diff(times) > 0).all()


def test_each_scene_has_a_frame_and_the_longest_has_most(scenes):
    assert times_of(scenes, 3, "scenes") == pytest.approx([0.5, 1.5, 3.5])
    assert times_of(scenes, 5, "scenes") == pytest.approx([0.5, 1.5, 2.5, 3.5, 4.5])
    assert times_of(scenes, 2, "scenes") == pytest.approx([0.5, 3.5])  # fewer frames than scenes
    assert times_of(scenes, 2, "scenes", start=0.5, end=1.5) == pytest.approx([0.75, 1.25])


def test_key_frames_are_the_encoders(tmp_path):
    path = tmp_path / "keys.mp4"
    keys = (0, 8, 20, 27, 50)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"bf": "0", "g": "600", "sc_threshold": "0"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for index in range(64):
            frame = av.VideoFrame.from_ndarray(np.roll(texture(0), index, 1), "rgb24")
            frame.pict_type = PictureType.I if index in keys else PictureType.NONE
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert np.flatnonzero(read_packets(path).keyframes).tolist() == list(keys)
    assert times_of(path, 5, "keyframes") == pytest.approx([key / FPS for key in keys])
    assert times_of(path, 2, "keyframes") == pytest.approx([8 / FPS, 27 / FPS])
    assert times_of(path, 2, "keyframes", start=1.0, end=2.0) == pytest.approx([20 / FPS, 27 / FPS])
    assert times_of(path, 6, "keyframes") == times_of(path, 6, "uniform")  # too few


def test_most_frames_go_where_most_moves(tmp_path):
    """Still for 2 s, a pan for 1 s, still for 1 s."""
    shifts = [3 * min(max(i - 32, 0), 16) for i in range(64)]
    path = write(tmp_path / "move.mp4", [np.roll(texture(1), shift, 1) for shift in shifts])
    times = times_of(path, 8, "motion")
    assert sum(1.9 <= time <= 3.1 for time in times) >= 6
    assert times[0] < 2.1 and times[-1] > 2.7


def test_what_is_cropped_away_does_not_move(tmp_path):
    """The left half moves in the first half of the time, the right one in the second."""
    frames, one, other = [], texture(1, 64, 64), texture(2, 64, 64)
    for i in range(64):
        left, right = np.roll(one, 2 * min(i, 32), 1), np.roll(other, 2 * max(i - 32, 0), 1)
        frames.append(np.concatenate([left, right], 1))
    path = write(tmp_path / "halves.mp4", frames)
    assert sum(time < 2 for time in times_of(path, 8, "motion", crop=[0, 0, 0.5, 1])) >= 6
    assert sum(time > 2 for time in times_of(path, 8, "motion", crop=[0.5, 0, 1, 1])) >= 6


def test_frames_keep_their_shape_and_are_never_enlarged(tmp_path, still):
    wide = write(tmp_path / "wide.mp4", [texture(0, 120, 400)] * 16)
    times, frames = read_chosen(wide, Clip("x", "wide.mp4", ""), FrameChoice(4, "uniform", 200))
    assert frames.shape == (4, 60, 200, 3) and frames.dtype == np.uint8
    assert (frames == read_frames(wide, times, 60, 200)).all()
    assert read_chosen(wide, Clip("x", "wide.mp4", ""), FrameChoice(size=1000))[1].shape == (8, 120, 400, 3)


def test_a_crop_is_honoured(tmp_path):
    """A picture between black bars."""
    bars = np.zeros((128, 128, 3), np.uint8)
    bars[32:96] = texture(3, 64)
    path = write(tmp_path / "bars.mp4", [bars] * 16)
    frames = read_chosen(path, Clip("x", "bars.mp4", "", stats={"crop": [0, 0.25, 1, 0.75]}), FrameChoice(2))[1]
    assert frames.shape == (2, 64, 128, 3)
    assert np.abs(frames[0].astype(int) - texture(3, 64)).mean() < 6


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_still_picture_has_one_frame(tmp_path, sampling):
    Image.fromarray(texture(0)).save(tmp_path / "photo.png")
    times, frames = read_chosen(tmp_path / "photo.png", Clip("x", "photo.png", ""), FrameChoice(8, sampling))
    assert times == [0] and (frames[0] == texture(0)).all() and len(frames) == 1


def test_broken_files_are_told_with_their_reason(tmp_path, still):
    (tmp_path / "broken.mp4").write_text("404: not found", encoding="utf-8")
    with pytest.raises(ClipError, match="not a video"):
        read_chosen(tmp_path / "broken.mp4", Clip("x", "broken.mp4", ""), FrameChoice())
    good, late = Clip("x", "still.mp4", ""), Clip("y", "still.mp4", "", start=9.0)
    bad_crop = Clip("z", "still.mp4", "", stats={"crop": "all"})
    found = read_clips(still, [(good, FrameChoice(2)), (late, FrameChoice(2)), (bad_crop, FrameChoice(2))])
    assert found[0][0] == [1.0, 3.0] and found[0][1].shape == (2, 96, 128, 3)
    assert found[1] == [{"broken": "starts at 9 s, but the file ends at 4 s"}]
    assert "crop" in found[2][0]["broken"]
