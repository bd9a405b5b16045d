import numpy as np
import pytest
from PIL import Image

from lite_sora.curation import motion as of_velocity
from lite_sora.curation.motion import SHAKY, STILL, WILD, velocity


def motion(frames: np.ndarray, fps: float) -> float:
    return of_velocity.motion(velocity(frames, fps))


def jitter(frames: np.ndarray, fps: float) -> float:
    return of_velocity.jitter(velocity(frames, fps))


TEXTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 80, 3), dtype=np.uint8))
TEXTURE = TEXTURE.resize((3200, 1200), Image.Resampling.BICUBIC)
DIAGONAL = np.hypot(900, 600)


def look(centres: np.ndarray, height: int = 96, width: int = 144) -> np.ndarray:
    """What a camera sees of the texture through a window of 900×600, at `centres` (T, 2), x and y in diagonals."""
    views = []
    for x, y in np.array([1600, 600]) + DIAGONAL * np.asarray(centres):
        box = (x - 450, y - 300, x + 450, y + 300)
        views.append(np.asarray(TEXTURE.resize((width, height), Image.Resampling.BILINEAR, box=box)))
    return np.stack(views)


def pan(speed: float, fps: float, seconds: float = 1.5, angle: float = 0.3, **size) -> np.ndarray:
    way = speed * np.arange(round(seconds * fps))[:, None] / fps
    return look(way * (np.cos(angle), np.sin(angle)), **size)


@pytest.mark.parametrize("speed", [0.003, 0.01, 0.03, 0.1, 0.3])
def test_the_speed_of_a_pan_at_any_size_and_rate(speed):
    measured = [motion(pan(speed, fps), fps) for fps in (5, 8, 12, 24, 30)]
    measured += [motion(pan(speed, 8, height=height, width=height * 3 // 2), 8) for height in (48, 64, 256)]
    assert measured == pytest.approx([speed] * len(measured), rel=0.2)


@pytest.mark.parametrize("angle", [0, 1, 2, 3, 4, 5])
def test_each_direction_counts_alike(angle):
    assert motion(pan(0.15, 8, angle=angle), 8) == pytest.approx(0.15, rel=0.15)


def test_portrait():
    assert motion(pan(0.15, 8, height=144, width=96), 8) > 0.1


def test_stillness_with_grain_and_one_frame():
    still = pan(0, 24)
    assert motion(still, 24) == jitter(still, 24) == 0
    grain = np.random.default_rng(1).normal(0, 6, still.shape)
    assert motion((still + grain).clip(0, 255).astype(np.uint8), 24) < STILL
    flat = np.full((16, 96, 144, 3), 90, np.uint8)
    flat += np.random.default_rng(2).integers(0, 8, flat.shape, dtype=np.uint8)
    assert motion(flat, 8) < STILL  # flat blocks fit anywhere, and yet are still
    assert motion(still[:1], 24) == jitter(still[:1], 24) == jitter(still[:2], 8) == 0


def test_still_and_wild_are_told_from_what_is_between():
    assert motion(pan(0.002, 8), 8) < STILL < motion(pan(0.02, 8), 8) < motion(pan(0.4, 8), 8) < WILD
    assert motion(pan(0.6, 8), 8) > WILD


def test_a_thing_moves_as_much_as_its_share_of_the_picture():
    """A textured square, a sixth of the picture, crosses a still room."""
    room, thing = pan(0, 8, seconds=2)[0], pan(0, 8, height=48, width=48)[0][..., ::-1]
    frames = np.stack([room] * 16)
    for index, frame in enumerate(frames):
        frame[24:72, 3 * index : 3 * index + 48] = thing
    speed = 3 * 8 / np.hypot(96, 144)
    assert speed / 10 < motion(frames, 8) < speed / 3
    assert jitter(frames, 8) < 0.01  # the camera stands still


@pytest.mark.parametrize("fps", [8, 24])
def test_jitter_of_a_steady_pan_and_of_a_shaking_hand(fps):
    assert jitter(pan(0.15, fps), fps) < SHAKY / 5
    count = int(2 * fps)
    values = []
    for size in (0.002, 0.01, 0.02):
        shake = np.random.default_rng(3).normal(0, size, (count, 2))
        values.append(jitter(look(shake), fps))
    assert values == sorted(values) and values[0] < SHAKY / 2 and values[-1] > SHAKY
    assert jitter(look(shake + np.linspace(0, 0.2, count)[:, None]), fps) == pytest.approx(values[-1], rel=0.2)
    assert jitter(look(shake, height=192, width=288), fps) == pytest.approx(values[-1], rel=0.05)


def test_a_reversal_is_jitter_but_slow_swaying_is_not():
    time = np.arange(24)[:, None] / 8
    sway = 0.1 * np.sin(2 * np.pi * time / 3) * (1, 0)  # there and back in three seconds
    hop = 0.02 * (np.arange(24)[:, None] % 2) * (1, 0)  # there and back in two frames
    assert jitter(look(sway), 8) < SHAKY / 2 < SHAKY < jitter(look(hop), 8)
    assert jitter(look(hop), 8) == pytest.approx(2 * 0.02 * 8, rel=0.1)
