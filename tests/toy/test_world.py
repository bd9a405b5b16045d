"""The toy world: the judge reads clips right, files come out the same, and the held-out combinations stay unseen."""

import functools
import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

from lite_sora.data.clip import read_manifest
from lite_sora.data.video import probe, read_frames, write_video
from lite_sora.toy.dataset import write_toy_dataset
from lite_sora.toy.judge import judge
from lite_sora.toy.sentences import mark_caption, read_caption
from lite_sora.toy.world import (
    BACKGROUNDS,
    COLOURS,
    CORNERS,
    MOTIONS,
    SHAPES,
    WORLD,
    Scene,
    Thing,
    captions,
    combinations,
    draw,
    held_out,
    prompt,
    random_scene,
    random_thing,
)

# ---------------------------------------------------------------- the judge


@functools.cache
def scenes(corner: str) -> list[Scene]:
    """200 fresh scenes, every second one of held-out combinations."""
    return [random_scene(np.random.default_rng([1, i]), CORNERS[corner], unseen=i % 2 == 1) for i in range(200)]


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


# ---------------------------------------------------------------- combinations and scenes


@pytest.mark.parametrize("corner", CORNERS)
def test_training_never_shows_a_held_out_combination_but_every_pair(corner):
    seen, unseen = combinations(CORNERS[corner], False), combinations(CORNERS[corner], True)
    motions = CORNERS[corner].motions
    assert sorted(seen + unseen) == sorted(itertools.product(SHAPES, COLOURS, motions))
    assert len(seen + unseen) == {"default": 9, "world": 12}[corner] * len(unseen)
    for one, other, values in ((0, 1, (SHAPES, COLOURS)), (0, 2, (SHAPES, motions)), (1, 2, (COLOURS, motions))):
        assert {(triple[one], triple[other]) for triple in seen} == set(itertools.product(*values))
        assert len({(triple[one], triple[other]) for triple in unseen}) == len(
            unseen
        )  # each hides only one of its pairs

    for i in range(50):
        for wanted in (False, True):
            scene = random_scene(np.random.default_rng([4, i]), CORNERS[corner], unseen=wanted)
            assert all(held_out(*thing.triple) == wanted for thing in scene.things)


def test_the_readmes_prompt_is_a_seen_combination():
    assert prompt("circle", "red", "right") == "a red circle moving right"
    assert ("circle", "red", "right") in combinations(CORNERS["default"], unseen=False)
    assert not held_out("circle", "red", "right")


def test_words_of_the_world():
    assert {"red", "green", "blue", "yellow", "cyan", "magenta"} <= set(COLOURS)
    assert {"circle", "square", "triangle"} <= set(SHAPES)
    assert {"right", "left", "up", "down", "up-right", "growing", "still", "bouncing"} <= set(MOTIONS)
    assert len({prompt(*triple) for triple in combinations(WORLD, False)}) == len(combinations(WORLD, False))


def test_a_scene_of_one_given_combination():
    scene = random_scene(np.random.default_rng(0), WORLD, triple=("square", "blue", "bouncing"))
    assert [thing.triple for thing in scene.things] == [("square", "blue", "bouncing")]


def test_things_stay_inside_the_frame():
    time = np.linspace(0, 1, 65)
    for i in range(3000):
        triple = ("circle", "red", MOTIONS[i % len(MOTIONS)])
        x, y, half_width = random_thing(np.random.default_rng([5, i]), WORLD, triple).box(time)
        edges = np.concatenate([x - half_width, y - half_width, 1 - x - half_width, 1 - y - half_width])
        assert edges.min() > -1e-9, (i, triple)


def test_things_of_a_scene_never_touch_and_have_their_own_colours():
    for scene in scenes("world"):
        assert len({thing.colour for thing in scene.things}) == len(scene.things)
        alone = [draw(Scene((thing,), "black"), side=32).any(-1) for thing in scene.things]
        assert np.sum(alone, axis=0).max() == 1


def test_drawing_is_anti_aliased_and_in_the_right_place():
    thing = Thing("circle", "red", "right", "large", "quickly", 0.2, 0.5, (0.25, 0.5))
    frames = draw(Scene((thing,), "white"), frames=5, side=32)
    assert frames.shape == (5, 32, 32, 3) and frames.dtype == np.uint8
    assert (frames[0, 16, 8] == (255, 0, 0)).all() and (frames[0, 16, 24] == 255).all()
    assert (frames[4, 16, 24] == (255, 0, 0)).all() and (frames[4, 16, 8] == 255).all()
    assert len(np.unique(frames[0, ..., 1])) > 5  # the edge has shades between red and white
    cover = (255 - frames[0, ..., 1].astype(float)) / 255
    assert cover.mean() == pytest.approx(np.pi * 0.2**2, rel=0.02)


def test_captions_say_what_is_there_in_several_ways():
    for scene in scenes("world")[:40]:
        sentences = captions(scene)
        assert len(sentences) == len(set(sentences)) >= 3
        assert sentences[0] == " and ".join(prompt(*thing.triple) for thing in scene.things)
        for sentence in sentences:  # a word for a colour, a shape or a background is there only where it is true
            words = set(sentence.split())
            assert words & set(COLOURS) <= {thing.colour for thing in scene.things}
            assert words & set(SHAPES) <= {thing.shape for thing in scene.things}
            assert words & set(BACKGROUNDS) <= {scene.background}
            assert sentence.count(" and ") >= len(scene.things) - 1


@pytest.mark.parametrize("corner", CORNERS)
def test_captions_are_read_back_whichever_way_they_say_it(corner):
    for scene in scenes(corner):
        for sentence in captions(scene):
            assert read_caption(sentence) == [thing.triple for thing in scene.things], sentence
            everything = {"right": 3 * len(scene.things), "wrong": 0, "missing": 0}
            assert mark_caption(sentence, [thing.triple for thing in scene.things]) == everything


@pytest.mark.parametrize(
    "caption, facts",
    [
        ("A red circle moves from left to right across a black background.", [("circle", "red", "right")]),
        ("In the upper left corner, a CYAN square is moving downward.", [("square", "cyan", "down")]),
        ("The video shows a yellow triangle moving from the top to the bottom.", [("triangle", "yellow", "down")]),
        ("a blue thing that remains stationary", [(None, "blue", "still")]),
        ("a circle", [("circle", None, None)]),
        ("a cat sleeps on a sofa", []),
        ("", []),
    ],
)
def test_other_captions_say_what_their_words_say(caption, facts):
    assert read_caption(caption) == facts


def test_facts_of_a_caption_are_right_wrong_or_missing():
    truth = [("circle", "red", "right")]
    assert mark_caption("a red square moving", truth) == {"right": 1, "wrong": 1, "missing": 1}
    assert mark_caption("", truth) == {"right": 0, "wrong": 0, "missing": 3}
    invented = "a blue square growing and a red circle moving right"
    assert mark_caption(invented, truth) == {"right": 3, "wrong": 3, "missing": 0}
    assert mark_caption(invented, [*truth, ("square", "blue", "still")]) == {"right": 5, "wrong": 1, "missing": 0}


# ---------------------------------------------------------------- on disk


def contents(folder) -> dict:
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_dataset_is_the_same_for_the_same_seed(tmp_path):
    for name, seed in (("one", 3), ("again", 3), ("other", 4)):
        write_toy_dataset(tmp_path / name, clips=8, corner="world", seed=seed, frames=4, side=32)
    assert len(contents(tmp_path / "one")) == 8 + 2
    assert contents(tmp_path / "one") == contents(tmp_path / "again")
    assert contents(tmp_path / "one") != contents(tmp_path / "other")


def test_dataset_is_written_once(tmp_path):
    settings = {"clips": 4, "frames": 4, "side": 32}
    manifest = write_toy_dataset(tmp_path, **settings)
    video = tmp_path / next(read_manifest(manifest)).video
    video.write_bytes(b"kept")
    write_toy_dataset(tmp_path, **settings)
    assert video.read_bytes() == b"kept"  # all there: nothing is written
    write_toy_dataset(tmp_path, **settings, seed=1)
    assert probe(video).width == 32  # other settings: written anew

    video.write_bytes(b"half")
    manifest.unlink()  # as after an interrupted run
    write_toy_dataset(tmp_path, **settings, seed=1)
    assert probe(video).width == 32 and manifest.exists()


def test_an_interrupted_rewrite_is_never_taken_for_the_whole(tmp_path, monkeypatch):
    settings = {"clips": 4, "frames": 4, "side": 32}
    write_toy_dataset(tmp_path / "whole", **settings)
    write_toy_dataset(tmp_path / "again", **settings)

    def interrupted(path, frames, fps):
        if path.stem == "000002":
            raise KeyboardInterrupt
        write_video(path, frames, fps)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("lite_sora.toy.dataset.write_video", interrupted)
        write_toy_dataset(tmp_path / "again", **settings, seed=1)
    write_toy_dataset(tmp_path / "again", **settings)
    assert contents(tmp_path / "again") == contents(tmp_path / "whole")


def test_manifest_tells_what_its_files_show(toy):
    clips = list(read_manifest(toy))
    assert [clip.split for clip in clips].count("held-out") == len(clips) // 16
    for clip in clips[::5] + [clip for clip in clips if clip.split == "held-out"]:
        facts = clip.stats["toy"]
        things = tuple(Thing(**(thing | {"start": tuple(thing["start"])})) for thing in facts["things"])
        assert all(held_out(*thing.triple) == (clip.split == "held-out") for thing in things)
        scene = Scene(things, facts["background"])
        assert clip.captions == captions(scene) and clip.caption == clip.captions[0]
        info = probe(toy.parent / clip.video)
        assert (info.width, info.height, info.fps, info.duration) == (64, 64, 8, 1)
        frames = read_frames(toy.parent / clip.video, [i / 8 for i in range(8)], 64, 64)
        assert np.abs(frames.astype(float) - draw(scene)).mean() < 3
    assert json.loads((toy.parent / "settings.json").read_text())["clips"] == len(clips)
