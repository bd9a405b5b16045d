"""For each exercise of lesson 02 a right answer, and typical wrong ones with a part of what must be said of them."""

import random

import numpy as np

from lite_sora.toy.world import COLOURS, SHAPES, Scene, Thing, coverage, draw


def right_2_1(cover):
    _, height, width = cover.shape
    total = cover.sum(axis=(1, 2))
    x = (cover.sum(axis=1) * (np.arange(width) + 0.5) / width).sum(axis=1) / total
    y = (cover.sum(axis=2) * (np.arange(height) + 0.5) / height).sum(axis=1) / total
    return np.stack([x, y], axis=1)


def swapped_2_1(cover):
    return right_2_1(cover)[:, ::-1]


def corner_2_1(cover):
    return right_2_1(cover) - 0.5 / np.array(cover.shape[:0:-1])


def pixels_2_1(cover):
    return right_2_1(cover) * cover.shape[:0:-1]


def unweighted_2_1(cover):
    return right_2_1(cover) * cover.sum((1, 2))[:, None]


def square_2_1(cover):
    return right_2_1(cover) * cover.shape[2] / np.array(cover.shape[:0:-1])


def transposed_2_1(cover):
    return right_2_1(cover).T


def one_for_all_2_1(cover):
    return np.tile(right_2_1(cover.sum(0)[None]), (len(cover), 1))


def right_2_2(shape, colour, motion):
    i, j, k = SHAPES.index(shape), list(COLOURS).index(colour), ("right", "left", "up", "down").index(motion)
    return (3 * i + j + 2 * k) % 9 == 0


def random_2_2(shape, colour, motion):
    return random.random() < 0.1


def pair_2_2(shape, colour, motion):
    return (shape, colour) in (("circle", "red"), ("square", "blue"))


def motion_2_2(shape, colour, motion):
    return motion == "left" and colour != "red"


def few_2_2(shape, colour, motion):
    return (shape, colour, motion) == ("circle", "red", "right")


def none_2_2(shape, colour, motion):
    return False


def right_2_3():
    x = np.array([0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.75, 0.7])
    cover = coverage("circle", x, np.full(8, 0.5), np.full(8, 0.2), 32)
    return (cover[..., None] * [255, 0, 0]).round().astype(np.uint8)


def honest_2_3():
    return draw(Scene((Thing("circle", "red", "right", "large", "slowly", 0.2, 0.4, (0.3, 0.5)),), "black"), 8, 32)


def leftwards_2_3():
    return honest_2_3()[::-1]


def bouncing_2_3():
    x = np.array([0.4, 0.35, 0.3, 0.25, 0.75, 0.7, 0.6, 0.55])
    cover = coverage("circle", x, np.full(8, 0.5), np.full(8, 0.2), 32)
    return (cover[..., None] * [255, 0, 0]).round().astype(np.uint8)


def two_2_3():
    return np.maximum(right_2_3(), honest_2_3()[..., ::-1])


def floats_2_3():
    return right_2_3() / 255


def black_2_3():
    return np.zeros((8, 32, 32, 3), np.uint8)


RIGHT = {"2.1": right_2_1, "2.2": right_2_2, "2.3": right_2_3}
WRONG = {
    "2.1": [
        (swapped_2_1, "x and y are swapped"),
        (corner_2_1, "half a pixel too low"),
        (pixels_2_1, "that is in pixels"),
        (unweighted_2_1, "divide by the sum of the cover"),
        (square_2_1, "right shape, wrong values"),
        (transposed_2_1, "and not (2, 1)"),
        (one_for_all_2_1, "each frame has a centre of its own"),
    ],
    "2.2": [
        (random_2_2, "asked twice"),
        (pair_2_2, "no clip of training shows circle and red together"),
        (motion_2_2, "no clip of training shows blue and left together"),
        (few_2_2, "1 of 72 are held out"),
        (none_2_2, "none of the 72"),
    ],
    "2.3": [
        (honest_2_3, "it goes left in 0 of 7 steps"),
        (leftwards_2_3, "the judge is not fooled"),
        (bouncing_2_3, "the judge is not fooled"),
        (two_2_3, "the judge sees 3 things"),
        (floats_2_3, "frames are uint8"),
        (black_2_3, "the judge sees nothing"),
    ],
}
