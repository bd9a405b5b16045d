"""Pictures of frames: what is laid out where."""

import numpy as np
import pytest

from lite_sora.data.preview import enlarge, mosaic, sheet


@pytest.mark.parametrize("height, width, at_least, factor", [(32, 32, 256, 8), (48, 64, 100, 3), (300, 400, 256, 1)])
def test_enlarge_repeats_pixels(height, width, at_least, factor):
    frames = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    large = enlarge(frames, at_least)
    assert large.shape == (2, height * factor, width * factor, 3)
    assert (large[:, ::factor, ::factor] == frames).all()
    assert (large[:, factor - 1 :: factor, factor - 1 :: factor] == frames).all()


def test_sheet_shows_each_frame_of_each_video():
    rows = [np.full((3, 32, 32, 3), 50, np.uint8), np.full((5, 32, 32, 3), 200, np.uint8)]
    picture = sheet(rows, ["one", "another"], at_least=64, gap=4)
    assert picture.size == (5 * 68 + 4, 2 * (64 + 16 + 4) + 4)
    array = np.array(picture)
    assert (array == 50).all(-1).sum() == pytest.approx(3 * 64 * 64, abs=300)  # the labels' edges have shades as well
    assert (array == 200).all(-1).sum() == pytest.approx(5 * 64 * 64, abs=300)
    assert (array[4:16] < 100).any()  # the label
    lines = np.array(sheet(rows, ["one\nline\nmore", "another"], at_least=64, gap=4))
    assert lines.shape[0] == 2 * (64 + 46 + 4) + 4 and (lines[36:50] < 100).any()


def test_mosaic_lays_videos_side_by_side_under_their_labels():
    videos = [np.full((2, 16, 16, 3), 40 * i, np.uint8) for i in range(5)]
    canvas = mosaic(videos, list("abcde"), columns=3, at_least=32)
    assert canvas.shape == (2, 2 * (32 + 30 + 6) + 6, 3 * 38 + 6, 3) and canvas.dtype == np.uint8
    for index in range(5):
        y, x = 6 + 68 * (index // 3) + 30, 6 + 38 * (index % 3)
        assert (canvas[:, y : y + 32, x : x + 32] == 40 * index).all()
        assert (canvas[:, y - 30 : y, x : x + 32] < 128).any()  # its label
    assert (canvas[:, 74:, 82:] == 255).all()  # the empty place
