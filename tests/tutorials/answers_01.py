"""For each exercise of lesson 01 a right answer, and typical wrong ones with a part of what must be said of them."""

import numpy as np
import torch

from lite_sora.toy.judge import judge
from lite_sora.toy.sentences import read_caption


def right_1_1():
    return "a blue circle moving left"  # ("circle", "blue", "left") is not in `seen`


def example_1_1():
    return "a magenta triangle moving up"


def shown_1_1():
    return "a red circle moving right"


def diagonal_1_1():
    return "a red circle moving up and right"


def unknown_1_1():
    return "a purple circle moving right"


def empty_1_1():
    return "something new"


def two_1_1():
    return "a magenta triangle moving up and a red circle moving right"


def triple_1_1():
    return "triangle", "magenta", "up"


def right_1_2(prompts, videos):
    right = []
    for sentence, frames in zip(prompts, videos, strict=True):
        said, seen = read_caption(sentence), judge(frames)
        right.append({*said} == {thing.triple for thing in seen})
    return np.mean(right)


def colour_1_2(prompts, videos):
    pairs = [(read_caption(text)[0], judge(frames)[0].triple) for text, frames in zip(prompts, videos, strict=True)]
    return np.mean([said[1] == seen[1] for said, seen in pairs])


def count_1_2(prompts, videos):
    return right_1_2(prompts, videos) * len(prompts)


def any_1_2(prompts, videos):
    pairs = [(read_caption(text)[0], judge(frames)[0].triple) for text, frames in zip(prompts, videos, strict=True)]
    return np.mean([any(a == b for a, b in zip(said, seen, strict=True)) for said, seen in pairs])


def largest_1_2(prompts, videos):
    pairs = [(read_caption(text), judge(frames)[0].triple) for text, frames in zip(prompts, videos, strict=True)]
    return np.mean([seen in said for said, seen in pairs])


def ordered_1_2(prompts, videos):
    pairs = [(read_caption(text), judge(frames)) for text, frames in zip(prompts, videos, strict=True)]
    return np.mean([said == [thing.triple for thing in seen] for said, seen in pairs])


def nothing_1_2(prompts, videos):
    pairs = [({*read_caption(text)}, judge(frames)) for text, frames in zip(prompts, videos, strict=True)]
    return np.mean([seen[0].triple in said and {thing.triple for thing in seen} == said for said, seen in pairs])


def things_1_2(prompts, videos):
    return np.mean([read_caption(text) == judge(frames) for text, frames in zip(prompts, videos, strict=True)])


def wrong_share_1_2(prompts, videos):
    return 1 - right_1_2(prompts, videos)


def right_1_3(generate):
    mine, longer = "a red circle moving right", "a red circle moving right and a blue square moving left"
    alone = generate([mine], [7])
    together = generate([longer, mine], [3, 7])
    return torch.allclose(alone[0], together[1], atol=1e-4)


def exact_1_3(generate):
    return torch.equal(generate(["red"], [7])[0], generate(["a blue square", "red"], [3, 7])[1])


def first_1_3(generate):
    return torch.allclose(generate(["red"], [7])[0], generate(["red", "a blue square"], [7, 3])[0], atol=1e-4)


def shorter_1_3(generate):
    return torch.allclose(generate(["a red circle"], [7])[0], generate(["blue", "a red circle"], [3, 7])[1], atol=1e-4)


def twice_1_3(generate):
    first, second = (generate(["a blue square moving left", "red"], [3, 7])[1] for _ in range(2))
    return torch.allclose(first, second, atol=1e-4)


def two_batches_1_3(generate):
    one = generate(["a blue square", "red"], [3, 7])[1]
    return torch.allclose(one, generate(["a blue square moving left", "red"], [3, 7])[1], atol=1e-4)


def inverse_1_3(generate):
    return not right_1_3(generate)


RIGHT = {"1.1": right_1_1, "1.2": right_1_2, "1.3": right_1_3}
WRONG = {
    "1.1": [
        (example_1_1, "the one of the text"),
        (shown_1_1, 'training shows "a red circle moving right"'),
        (diagonal_1_1, 'no training clip moves "up-right"'),
        (unknown_1_1, "names no colour"),
        (empty_1_1, "names no shape and no colour and no motion"),
        (two_1_1, "it speaks of 2 things"),
        (triple_1_1, "a prompt is a sentence"),
    ],
    "1.2": [
        (colour_1_2, "it only compares the colour"),
        (count_1_2, "the share is between 0 and 1"),
        (any_1_2, "0.75 is right, and not 1"),
        (largest_1_2, "there is a second thing in the video"),
        (ordered_1_2, "compare sets"),
        (nothing_1_2, "an empty list"),
        (things_1_2, "each thing has a .triple"),
        (wrong_share_1_2, "the share of wrong ones"),
    ],
    "1.3": [
        (exact_1_3, "sums are rounded"),
        (first_1_3, "put yours second"),
        (shorter_1_3, "a longer prompt beside yours"),
        (twice_1_3, "it does not see this fault"),
        (two_batches_1_3, "it does not see this fault"),
        (inverse_1_3, "the other way round"),
    ],
}
