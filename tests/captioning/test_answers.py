"""Which answers are no captions."""

import numpy as np
import pytest

from lite_sora.captioning.answers import Answer, badness, marks, repeated_fraction, usable, whole_sentences
from lite_sora.toy.sentences import captions
from lite_sora.toy.world import random_scene

GOOD = [
    "A red circle moves to the left.",
    "A man in a red shirt walks along a beach at sunset. The man in a red shirt stops and looks at the waves, which "
    "roll in slowly; behind him, a woman in a red hat throws a ball to a small brown dog.",
    "No people are visible in the image; a sorry-looking house stands at the end of the road, 2.5 metres from a wall.",
    'A woman looks into the camera and says "I\'m sorry, I cannot see you", then a sign that reads “Please provide '
    "identification” comes into view.",
    "Two dogs, two cats and two birds. The dogs bark. The cats sleep. The birds sing.",
    # one of the toy world's, of the most repetitive kind
    "the cyan square moves down and to the left and the yellow square moves down and to the left",
    "一个红色的圆形向左移动，背景是白色的。一个蓝色的正方形停在画面的右侧，没有移动。",
]
REFUSED = [
    "I'm sorry, but I can't help with that.",
    "I’m sorry, I cannot view videos.",
    "Sorry, I can not do this.",
    "As an AI language model, I do not have eyes.",
    "The clip seems short. Unfortunately I am unable to describe it.",
    "There is no video provided. Please upload one.",
    "It looks like no images were attached.",
    '"I don\'t see a video here."',
    "抱歉，我无法查看视频。",
    "作为一个AI助手，这超出了能力。",
    "您没有提供任何视频，请上传。",
    "非常抱歉。",
]


@pytest.mark.parametrize("text", GOOD)
def test_captions_have_no_marks(text):
    assert marks(Answer(text), "zh" if text[0] > "z" else "en") == []


@pytest.mark.parametrize("text", REFUSED)
def test_excuses_are_refusing(text):
    assert marks(Answer(text)) == marks(Answer(text), "zh") == ["refusing"]


@pytest.mark.parametrize("text", ["", " ", "...", "。", "-\n-"])
def test_what_has_no_word_is_empty(text):
    assert marks(Answer(text)) == ["empty"]


@pytest.mark.parametrize(
    "text, language",
    [
        ("A dog runs over the grass. It barks at a car. A dog runs over the grass.", "en"),
        ("A dog\nruns in the park\nA cat\nruns in the park", "en"),
        ("the man is walking and the man is walking and the man is walking and the man", "en"),
        ("A red red Red, red car on a long road that leads to a house with a red door", "en"),
        ("A man in a blue coat looks out of a window at the rain, and a dog, a dog, a dog, a dog", "en"),
        ("A long road, seen from above, a long road, seen from above, a long road, seen from above", "en"),
        ("一只狗在草地上跑。一只猫在睡觉。一只狗在草地上跑。", "zh"),
        ("一只狗在公园里的草地上跑一只狗在公园里的草地上跑一只狗在公园里", "zh"),
    ],
)
def test_circles_are_repeating(text, language):
    assert marks(Answer(text), language) == ["repeating"]


def test_the_repeated_fraction_by_hand():
    words = list("abcdefgh")
    assert repeated_fraction(words, 3) == 0
    assert repeated_fraction([*words, *"abcd"], 3) == 4 / 12  # the first occurrence does not count
    assert repeated_fraction([*words, *"abxcd"], 3) == 0  # pairs only
    assert repeated_fraction([], 3) == 0


def test_marks_come_together_and_the_worst_is_last():
    assert marks(Answer("I cannot see. I cannot see.", finished=False)) == ["truncated", "repeating", "refusing"]
    assert [badness(found) for found in ([], ["truncated"], ["truncated", "repeating"], ["refusing"], ["empty"])] == [
        *range(5)
    ]
    assert usable([]) and usable(["truncated"]) and not usable(["truncated", "repeating"]) and not usable(["empty"])


@pytest.mark.parametrize(
    "text, kept",
    [
        ("A dog runs. It barks at", "A dog runs."),
        ('A sign reads "Stop." A car st', 'A sign reads "Stop."'),
        ("It is 2.5 metres high and", "It is 2.5 metres high and"),
        ("Is it a dog? Yes! It runs.", "Is it a dog? Yes! It runs."),
        ("一只狗在跑。它在叫", "一只狗在跑。"),
        ("", ""),
    ],
)
def test_what_was_cut_off_ends_with_its_last_whole_sentence(text, kept):
    assert whole_sentences(text) == kept


def test_every_caption_of_the_toy_world_passes():
    rng = np.random.default_rng(0)
    texts = [caption for _ in range(20) for caption in captions(random_scene(rng))]
    assert [text for text in texts if marks(Answer(text))] == []
