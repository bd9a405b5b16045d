"""Short prompts become captions: by the toy world's rules, and with a language model."""

import numpy as np
import pytest
from writer import save_writer

from lite_sora.captioning.answers import Answer
from lite_sora.captioning.language import load_language_model
from lite_sora.captioning.upsampling import training_captions, upsample, upsample_toy
from lite_sora.data.clip import Clip, write_manifest
from lite_sora.toy.sentences import captions, prompt, read_caption
from lite_sora.toy.world import CORNERS, Corner, combinations, random_scene

# ---------------------------------------------------------------- the toy world


@pytest.mark.parametrize(
    "short, caption",
    [
        ("red ball going right", "a red circle moving right"),
        ("a red disc, rightwards", "a red circle moving right"),
        ("A yellow box that falls!", "a yellow square moving down"),
        ("triangle: fuchsia, from left to right", "a magenta triangle moving right"),
        ("the aqua block goes from the top to the bottom", "a cyan square moving down"),
        ("a green dot that rises to the left", "a green circle moving up and left"),
        ("blue triangle standing still", "a blue triangle standing still"),
        ("a tiny red square moving slowly up", "a small red square moving up slowly"),
        ("a red square moving up on a grey background", "the red square moves upwards on a gray background"),
        ("a big red square fast to the left on white", "a large red square moving left quickly on a white background"),
    ],
)
def test_what_the_prompt_says_is_kept(short, caption):
    assert {upsample_toy(short, seed) for seed in range(4)} == {caption}


@pytest.mark.parametrize("corner", CORNERS)
def test_captions_stay_what_they_are(corner):
    for triple in combinations(CORNERS[corner], False):
        assert upsample_toy(prompt(*triple)) == prompt(*triple)
    one = Corner(CORNERS[corner].motions, CORNERS[corner].sizes, CORNERS[corner].backgrounds)
    for index in range(100):
        scene = random_scene(np.random.default_rng(index), one)
        for caption in captions(scene):
            assert read_caption(upsample_toy(caption)) == [scene.things[0].triple]
        assert upsample_toy(captions(scene)[3]) == captions(scene)[3]  # the one that tells size and speed


def test_what_the_prompt_leaves_open_comes_from_the_seed():
    told = {upsample_toy("something green", seed) for seed in range(40)}
    facts = {read_caption(caption)[0] for caption in told}
    assert {colour for _, colour, _ in facts} == {"green"}
    assert {shape for shape, _, _ in facts} == {"circle", "square", "triangle"}
    assert {motion for _, _, motion in facts} == set(Corner().motions)
    assert upsample_toy("something green", 5) == upsample_toy("something green", 5)
    assert len({read_caption(upsample_toy("a thing", seed))[0][1] for seed in range(60)}) == 6


@pytest.mark.parametrize(
    "short, message",
    [
        ("a purple circle", "'purple'"),
        ("a red circle and a blue square", "more than one thing"),
        ("two red circles", "'two'"),
        ("a red circle with a hat", "'with'"),
        ("a red ball on the left", "'on'"),
        ("a red circle not moving left", "'not'"),
        ("红色圆形", "'红色圆形'"),
        ("red and blue ball", "both red and blue"),
        ("a ball going left and right", "both left and right"),
        ("a ball bouncing upwards", "both bouncing and up"),
        ("a ball that quickly stands still", "quickly of a thing that is still"),
        ("…", "no words"),
    ],
)
def test_what_is_not_understood_is_an_error(short, message):
    with pytest.raises(ValueError, match=message):
        upsample_toy(short)


# ---------------------------------------------------------------- a language model


class Scripted:
    """Stands in for a language model: remembers what it was asked, answers as told."""

    name = "scripted"

    def __init__(self, *answers: Answer):
        self.answers, self.requests = answers, []

    def write(self, requests, **settings):
        self.requests += requests
        return list(self.answers)


def test_the_request_has_the_prompt_and_the_training_captions():
    model = Scripted(Answer("one"), Answer("二"))
    assert upsample(model, ["a {dog}", "一只狗"], ["a red circle", "a blue square"]) == ["one", "二"]
    english, chinese = model.requests
    assert "a red circle\na blue square\n" in english and "Prompt: a {dog}\n" in english
    assert "a red circle\na blue square\n" in chinese and "提示：一只狗\n" in chinese
    plain = Scripted(Answer("one"))
    upsample(plain, ["a {dog}"], [])
    assert "a video of a {dog} in" in plain.requests[0]


@pytest.mark.parametrize(
    "answer, told",
    [
        ('"A red ball moves right."', "A red ball moves right."),
        ("**A ball**\nmoves.\n\nI hope that you like it!", "A ball** moves."),
        ("“一个红球。”", "一个红球。"),
    ],
)
def test_a_caption_is_taken_out_of_its_answer(answer, told):
    assert upsample(Scripted(Answer(answer)), ["ball"], []) == [told]


def test_answers_that_end_badly_are_warned_of():
    with pytest.warns(UserWarning, match="did not finish its answer to the prompt 'ball'"):
        assert upsample(Scripted(Answer("A ball. It rolls! And th", False)), ["ball"], []) == ["A ball. It rolls!"]
    with pytest.warns(UserWarning, match="did not finish"):
        assert upsample(Scripted(Answer("a ball tha", False)), ["ball"], []) == ["a ball tha"]
    with pytest.warns(UserWarning, match="wrote nothing for the prompt 'ball', which is kept"):
        assert upsample(Scripted(Answer('""')), ["ball"], []) == ["ball"]


@pytest.mark.filterwarnings("ignore:.*did not come to an end")
def test_the_same_prompt_and_seed_are_written_the_same(tmp_path):
    model = load_language_model(save_writer(tmp_path), "cpu")
    first = upsample(model, ["a dog", "a cat"], [], seed=1)
    assert upsample(model, ["a cat", "a dog"], [], seed=1) == first[::-1]
    assert upsample(model, ["a dog", "a cat"], [], seed=2) != first


def test_training_captions_come_from_the_runs_data(tmp_path):
    held_out = Clip("x", "x.mp4", "not for training", split="held-out")
    clips = [Clip(f"{n}", "../outside.mp4", f"caption {n}" if n else "", split="train") for n in range(20)]
    write_manifest(tmp_path / "m.jsonl", [held_out, *clips])
    run = {"data": str(tmp_path / "m.jsonl")}
    assert training_captions(run, most=3) == ["caption 1", "caption 2", "caption 3"]
    (tmp_path / "m.jsonl").write_text("no manifest\n", encoding="utf-8")
    assert training_captions(run) == training_captions({"data": str(tmp_path / "gone.jsonl")}) == []
    assert training_captions({}) == []


@pytest.mark.parametrize("corner", CORNERS)
def test_training_captions_of_the_toy_world(corner):
    examples = training_captions({"data": None, "toy_corner": corner})
    assert len(set(examples)) > 4
    assert all(motion in CORNERS[corner].motions for caption in examples for _, _, motion in read_caption(caption))
