"""Captions say what is there, and are read back."""

import pytest
from fresh_scenes import scenes

from lite_sora.data.clip import Clip
from lite_sora.toy.sentences import captions, corner_of, mark_caption, prompt, read_caption
from lite_sora.toy.world import BACKGROUNDS, COLOURS, CORNERS, MOTIONS, SHAPES, WORLD, combinations, held_out


def test_the_readmes_prompt_is_a_seen_combination():
    assert prompt("circle", "red", "right") == "a red circle moving right"
    assert ("circle", "red", "right") in combinations(CORNERS["default"], unseen=False)
    assert not held_out("circle", "red", "right")


def test_words_of_the_world():
    assert {"red", "green", "blue", "yellow", "cyan", "magenta"} <= set(COLOURS)
    assert {"circle", "square", "triangle"} <= set(SHAPES)
    assert {"right", "left", "up", "down", "up-right", "growing", "still", "bouncing"} <= set(MOTIONS)
    assert len({prompt(*triple) for triple in combinations(WORLD, False)}) == len(combinations(WORLD, False))


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


def test_clips_are_of_the_smallest_corner_that_has_their_motions():
    def clip(*motions: str) -> Clip:
        things = [{"shape": "circle", "colour": "red", "motion": motion} for motion in motions]
        return Clip("a", "a.mp4", "a circle", stats={"toy": {"things": things}})

    own = Clip("b", "b.mp4", "a cat", stats={})
    assert corner_of([clip("right"), clip("up")]) == "default"
    assert corner_of([clip("right"), clip("up", "bouncing")]) == "world"
    assert corner_of([clip("right"), own]) is None and corner_of([clip("dancing")]) is None
