"""The judge reads clips right, and calls nothing a toy that is not one."""

from dataclasses import replace

import numpy as np
import pytest
from fresh_scenes import scenes

from lite_sora.data.video import read_frames, write_video
from lite_sora.toy.judge import judge
from lite_sora.toy.world import CORNERS, MOTIONS, WORLD, Scene, Thing, draw, random_scene


def share_right(scenes: list[Scene], videos) -> float:
    """The share of scenes in which the judge sees just the things that are there."""
    right = [
        sorted(thing.triple for thing in scene.things) == sorted(thing.triple for thing in judge(frames))
        for scene, frames in zip(scenes, videos, strict=True)
    ]
    return float(np.mean(right))


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("side, count", [(32, 200), (64, 100)])
def test_judge_is_right_on_fresh_clips(corner, side, count):
    fresh = scenes(corner)[:count]
    assert {len(scene.things) for scene in fresh} == set(range(1, CORNERS[corner].most_things + 1))
    assert share_right(fresh, (draw(scene, side=side) for scene in fresh)) >= 0.99


@pytest.mark.parametrize("corner", CORNERS)
def test_judge_is_right_on_clips_as_training_sees_them(corner, tmp_path):
    """Written at 64 pixels in yuv420p, which halves the resolution of colour, and read at 32."""
    fresh = scenes(corner)

    def from_file(scene):
        write_video(tmp_path / "clip.mp4", draw(scene, frames=8, side=64), fps=8)
        return read_frames(tmp_path / "clip.mp4", [i / 8 for i in range(8)], 32, 32)

    assert share_right(fresh, map(from_file, fresh)) >= 0.99


@pytest.mark.parametrize("frames", [2, 4, 16])
def test_judge_reads_clips_of_other_lengths(frames):
    # two frames show neither a bounce nor where it was in between
    motions = tuple(motion for motion in MOTIONS if frames > 2 or motion != "bouncing")
    fresh = [random_scene(np.random.default_rng([3, i]), replace(WORLD, motions=motions)) for i in range(60)]
    assert share_right(fresh, (draw(scene, frames, 32) for scene in fresh)) >= 0.99


def test_judge_measures_position_size_and_distance():
    thing = Thing("square", "cyan", "right", "large", "quickly", 0.2, 0.5, (0.25, 0.4))
    (seen,) = judge(draw(Scene((thing,), "gray"), side=64))
    assert seen.start == pytest.approx((0.25, 0.4), abs=0.01)
    assert seen.size == pytest.approx(0.4, abs=0.01)
    assert seen.distance == pytest.approx(0.5, abs=0.01)


def test_judge_sorts_by_size():
    things = (
        Thing("circle", "red", "still", "small", "slowly", 0.12, 0.0, (0.2, 0.2)),
        Thing("square", "blue", "still", "large", "slowly", 0.2, 0.0, (0.7, 0.7)),
    )
    assert [seen.colour for seen in judge(draw(Scene(things, "black"), side=32))] == ["blue", "red"]


def test_judge_overlooks_the_fringe_that_a_codec_draws_on_another_things_edge():
    square = Thing("square", "green", "still", "large", "slowly", 0.22, 0.0, (0.3, 0.3))
    triangle = Thing("triangle", "yellow", "still", "small", "slowly", 0.12, 0.0, (0.8, 0.8))
    frames = draw(Scene((square, triangle), "black"), side=32)
    frames[:4, 2:4, 2:18] = (80, 80, 0)  # yellowish, along the square's upper edge, in the first half
    assert [thing.triple for thing in judge(frames)] == [square.triple, triangle.triple]


BOX = np.mgrid[:32, :32] + 0.5  # (2, 32, 32): y and x of each pixel's centre


def masked(mask) -> np.ndarray:
    """Frames (8, 32, 32, 3) of a red thing over black; mask(frame) is its cover (32, 32)."""
    return np.stack([np.round(mask(i)[..., None] * [255, 0, 0]) for i in range(8)]).astype(np.uint8)


def ring(i: int) -> np.ndarray:
    distance = np.hypot(BOX[0] - 16, BOX[1] - 9 - 2 * i)
    return ((distance < 7) & (distance > 4)).astype(float)


NO_TOYS = {
    "noise": np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8),
    "faint noise": np.random.default_rng(0).integers(0, 40, (8, 32, 32, 3), dtype=np.uint8),
    "black": np.zeros((8, 32, 32, 3), np.uint8),
    "white": np.full((8, 32, 32, 3), 255, np.uint8),
    "all red": masked(lambda i: np.ones((32, 32))),
    "soft blob": masked(lambda i: np.exp(-((BOX[0] - 16) ** 2 + (BOX[1] - 9 - 2 * i) ** 2) / 40)),
    "ring": masked(ring),
    "bar": masked(lambda i: ((abs(BOX[0] - 16) < 3) & (abs(BOX[1] - 9 - 2 * i) < 8)).astype(float)),
    "two of a colour": masked(
        lambda i: ((abs(BOX[0] - 16) < 5) & (np.minimum(abs(BOX[1] - 7), abs(BOX[1] - 25)) < 5)).astype(float)
    ),
    "gone half-way": masked(lambda i: (np.hypot(BOX[0] - 16, BOX[1] - 9 - 2 * i) < 6) * float(i < 4)),
}


@pytest.mark.parametrize("name", NO_TOYS)
def test_judge_calls_nothing_right_that_is_no_toy(name):
    assert all("unclear" in thing.triple for thing in judge(NO_TOYS[name]))


def test_judge_sees_a_toy_where_there_is_one():
    """So that the test above does not pass for a judge that is always in doubt."""
    circle = masked(lambda i: np.clip(6.5 - np.hypot(BOX[0] - 16, BOX[1] - 9 - 2 * i), 0, 1))
    assert [thing.triple for thing in judge(circle)] == [("circle", "red", "right")]
