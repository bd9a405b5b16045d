"""Held-out combinations stay unseen, and things are drawn where their facts say."""

import itertools

import numpy as np
import pytest
from fresh_scenes import scenes

from lite_sora.toy.world import (
    COLOURS,
    CORNERS,
    MOTIONS,
    SHAPES,
    WORLD,
    Scene,
    Thing,
    combinations,
    draw,
    held_out,
    random_scene,
    random_thing,
)


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
