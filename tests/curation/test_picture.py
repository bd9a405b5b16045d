import numpy as np
import pytest
from PIL import Image, ImageFilter

from lite_sora.curation.picture import BLURRED, blur, borders, luminance
from lite_sora.data.video import read_frames, write_video


def picture(height: int, width: int, seed: int = 0) -> Image.Image:
    """Edges of many sizes: a thousand rectangles, drawn large and scaled down."""
    rng = np.random.default_rng(seed)
    canvas = np.full((1024, 1536, 3), 128, np.uint8)
    for y, x, h, w in zip(*rng.integers(0, [[1024], [1536], [80], [80]], (4, 1000)), strict=True):
        canvas[y : y + h + 4, x : x + w + 4] = rng.integers(40, 216, 3)
    return Image.fromarray(canvas).resize((width, height), Image.Resampling.BILINEAR)


def frames_of(image: Image.Image, length: int = 4) -> np.ndarray:
    return np.asarray(image)[None].repeat(length, 0)


@pytest.mark.parametrize(
    "colour, luma",
    [((0, 0, 0), 0), ((255,) * 3, 255), ((255, 0, 0), 76.245), ((0, 255, 0), 149.685), ((0, 0, 255), 29.07)],
)
def test_luminance_of_known_colours(colour, luma):
    assert luminance(np.full((3, 8, 8, 3), colour, np.uint8)) == pytest.approx(luma, abs=1e-3)


def test_luminance_is_the_mean_over_time():
    frames = np.zeros((4, 8, 8, 3), np.uint8)
    frames[0] = 200
    assert luminance(frames) == pytest.approx(50)


def test_blur_of_a_checkerboard():
    """At 256 pixels nothing is scaled: the Laplacian of a checkerboard of 0 and 10 is ±40."""
    grid = 10 * (np.indices((256, 256)).sum(0) % 2)
    assert blur(np.repeat(grid[None, ..., None], 3, -1).astype(np.uint8)) == pytest.approx(1600, rel=1e-3)


def test_blur_falls_with_softness_and_the_default_parts_sharp_from_soft():
    values = [blur(frames_of(picture(512, 768).filter(ImageFilter.GaussianBlur(radius)))) for radius in (0, 2, 4, 8)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 2 * BLURRED and values[-1] < BLURRED / 2


def test_blur_does_not_depend_on_the_size():
    values = [blur(frames_of(picture(height, height * 3 // 2))) for height in (256, 512, 1024)]
    assert max(values) / min(values) < 1.35
    assert blur(frames_of(picture(64, 96))) < BLURRED < min(values)  # nothing is gained by enlarging


def test_blur_ignores_a_few_odd_frames():
    soft = picture(256, 384).filter(ImageFilter.GaussianBlur(8))
    frames = np.concatenate([frames_of(soft, 5), frames_of(picture(256, 384), 2)])
    assert blur(frames) == blur(frames_of(soft))


@pytest.mark.parametrize(
    "box", [(0, 0, 1, 1), (0, 0.125, 1, 0.875), (0.25, 0, 0.75, 1), (0.125, 0.25, 0.75, 0.875), (0, 0.25, 1, 1)]
)
def test_borders_survive_compression(box, tmp_path):
    height, width = 128, 192
    left, top, right, bottom = (
        round(box[0] * width),
        round(box[1] * height),
        round(box[2] * width),
        round(box[3] * height),
    )
    frames = np.zeros((6, height, width, 3), np.uint8)
    for index, frame in enumerate(frames):
        frame[top:bottom, left:right] = np.asarray(picture(bottom - top, right - left, seed=index)) // 4 * 3 + 64
    assert borders(frames) == pytest.approx(box)
    write_video(tmp_path / "a.mp4", frames, fps=8, quality=28)
    compressed = read_frames(tmp_path / "a.mp4", [i / 8 for i in range(6)], height, width)
    assert borders(compressed) == pytest.approx(box, abs=2.1 / height)


def test_a_dark_edge_that_brightens_is_no_bar_and_black_has_none():
    frames = np.zeros((4, 64, 96, 3), np.uint8)
    assert borders(frames) == (0, 0, 1, 1)
    frames[:, 16:48] = 120
    assert borders(frames) == (0, 0.25, 1, 0.75)
    frames[2, :16] = 90
    assert borders(frames) == (0, 0, 1, 0.75)
