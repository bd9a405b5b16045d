import numpy as np
import pytest
from PIL import Image, ImageDraw

from lite_sora.curation.picture import MARKED, TEXT, text_area, watermark
from lite_sora.data.video import read_frames, write_video

HEIGHT, WIDTH = 256, 384
SENTENCE = "The quick brown fox jumps over it"


def street(length: int = 16, speed: int = 14, seed: int = 0) -> np.ndarray:
    """Boxes of many sizes with windows and lettering, which a camera passes: uint8 (length, 256, 384, 3)."""
    rng = np.random.default_rng(seed)
    wide = Image.new("RGB", (WIDTH + speed * length, HEIGHT), (120, 140, 160))
    pen = ImageDraw.Draw(wide)
    for _ in range(wide.width // 3):
        x, y, w, h = rng.integers(-20, wide.width), rng.integers(-20, HEIGHT), *rng.integers(4, 70, 2)
        pen.rectangle((x, y, x + w, y + h), fill=tuple(rng.integers(0, 256, 3).tolist()))
    for x in range(40, wide.width, 200):
        pen.text((x, 90), "BAKERY 24", fill="white", font_size=22)
    return np.stack([np.asarray(wide.crop((speed * i, 0, speed * i + WIDTH, HEIGHT))) for i in range(length)])


def lay(frames: np.ndarray, text: str, place: tuple[int, int], size: int = 20, opacity: float = 1.0) -> np.ndarray:
    """The frames with white text, outlined in black, at `place` (x, y)."""
    layer = Image.new("RGBA", (WIDTH, HEIGHT))
    ImageDraw.Draw(layer).text(place, text, fill="white", font_size=size, stroke_width=1, stroke_fill="black")
    layer = np.asarray(layer).astype(float)
    alpha = opacity * layer[..., 3:] / 255
    return (frames * (1 - alpha) + layer[..., :3] * alpha).round().astype(np.uint8)


@pytest.mark.parametrize("seed", range(3))
def test_subtitles_over_a_moving_scene(seed):
    scene = street(seed=seed)
    assert text_area(scene) < TEXT / 3
    one = lay(scene, SENTENCE, (40, 215))
    two = lay(one, SENTENCE, (40, 185))
    assert TEXT < text_area(one) < text_area(two) < 0.2
    assert text_area(two) > 1.6 * text_area(one)


def test_text_that_changes_counts_for_as_long_as_it_is_there():
    scene = street()
    whole = lay(scene, SENTENCE, (40, 215))
    halves = np.concatenate([lay(scene[:8], SENTENCE, (40, 215)), lay(scene[8:], SENTENCE[::-1], (40, 215))])
    half = np.concatenate([whole[:8], scene[8:]])
    assert text_area(halves) == pytest.approx(text_area(whole), rel=0.25)
    assert text_area(half) == pytest.approx(text_area(whole) / 2, rel=0.25)


def test_text_area_survives_size_and_compression(tmp_path):
    frames = lay(street(), SENTENCE, (40, 215))
    area = text_area(frames)
    assert text_area(frames.repeat(2, 1).repeat(2, 2)) == pytest.approx(area, rel=0.35)
    write_video(tmp_path / "a.mp4", frames, fps=8, quality=28)
    compressed = read_frames(tmp_path / "a.mp4", [i / 8 for i in range(16)], HEIGHT, WIDTH)
    assert text_area(compressed) == pytest.approx(area, rel=0.35)


def test_a_smooth_scene_without_motion_has_no_text():
    rows = np.linspace(0, 255, HEIGHT)[:, None, None] * np.ones((1, WIDTH, 3))
    assert text_area(np.stack([rows.astype(np.uint8)] * 6)) == 0
    assert text_area(street(length=1, seed=1)[:, :, :1].repeat(WIDTH, 2)) == 0  # stripes that lie flat
    assert text_area(lay(street(length=1)[:, :, :1].repeat(WIDTH, 2), SENTENCE, (40, 215))) > TEXT  # one frame will do


def test_letters_have_two_sides():
    """A saw's teeth, dark to light at once and back slowly, are as dense as letters, but lack every second edge."""
    saw = (200 - 15 * (np.arange(WIDTH) % 12)).astype(np.uint8)
    assert text_area(np.broadcast_to(saw[:, None], (6, HEIGHT, WIDTH, 3))) == 0
    comb = (200 - 180 * (np.arange(WIDTH) % 12 < 6)).astype(np.uint8)
    assert text_area(np.broadcast_to(comb[:, None], (6, HEIGHT, WIDTH, 3))) > 0.5


@pytest.mark.parametrize("place", [(10, 10), (250, 220), (150, 110)])
@pytest.mark.parametrize("opacity", [0.35, 0.6, 1.0])
def test_a_mark_over_a_moving_scene(opacity, place):
    scene = street(length=32)
    assert watermark(scene) < MARKED / 2
    assert watermark(lay(scene, "© Stock", place, size=26, opacity=opacity)) > MARKED


def test_a_fainter_mark_has_a_lower_score_and_the_faintest_is_missed():
    scores = [
        watermark(lay(street(length=32), "© Stock", (150, 110), 26, opacity)) for opacity in (0.05, 0.2, 0.4, 0.8)
    ]
    assert scores == sorted(scores)
    assert scores[0] < MARKED


def test_a_mark_that_moves_with_the_scene_is_none():
    frames = np.stack([lay(frame, "© Stock", (10 + 14 * i, 110), 26) for i, frame in enumerate(street())])
    assert watermark(frames) < MARKED


def test_where_the_scene_stands_still_nothing_can_be_told():
    still = street(length=1).repeat(16, axis=0)
    assert watermark(still) == watermark(lay(still, "© Stock", (150, 110), 26)) == 0


def test_a_mark_survives_compression(tmp_path):
    write_video(tmp_path / "a.mp4", lay(street(length=32), "© Stock", (150, 110), 26, 0.5), fps=8, quality=26)
    assert watermark(read_frames(tmp_path / "a.mp4", [i / 8 for i in range(32)], HEIGHT, WIDTH)) > MARKED
