"""For each exercise of lesson 07 a right answer, and typical wrong ones with a part of what must be said of them."""

import math

import torch

from lite_sora.diffusion.path import PATHS
from lite_sora.diffusion.prediction import ROWS


def along(t, x):
    return t.reshape(-1, *[1] * (x.dim() - 1))


def right_7_1(x_t, velocity, t):
    t = along(t, x_t)
    return x_t - t * velocity, x_t + (1 - t) * velocity


def swapped_7_1(x_t, velocity, t):
    return right_7_1(x_t, velocity, t)[::-1]


def reversed_7_1(x_t, velocity, t):
    return right_7_1(x_t, velocity, 1 - t)


def flat_7_1(x_t, velocity, t):
    return x_t - t * velocity, x_t + (1 - t) * velocity


def against_7_1(x_t, velocity, t):
    return right_7_1(x_t, -velocity, t)


def halved_7_1(x_t, velocity, t):
    x, noise = right_7_1(x_t, velocity, t)
    return x / 2, noise


def right_7_2(name, log_snr, values, channels):
    alpha, sigma, *slopes = PATHS["linear"].coefficients(PATHS["linear"].time_at(torch.tensor([log_snr])))
    a, b = ROWS[name](alpha, sigma, *slopes)
    return float((sigma * b / (alpha * b - sigma * a)) ** 2) * max(0.0, 1 - channels / values)


def kept_7_2(name, log_snr, values, channels):
    lost = max(1e-9, 1 - channels / values)
    return right_7_2(name, log_snr, values, channels) / lost * channels / values


def rooted_7_2(name, log_snr, values, channels):
    return math.sqrt(right_7_2(name, log_snr, values, channels))


def negative_7_2(name, log_snr, values, channels):
    if channels > values:
        return right_7_2(name, log_snr, values, 1) / (1 - 1 / values) * (1 - channels / values)
    return right_7_2(name, log_snr, values, channels)


def of_y_7_2(name, log_snr, values, channels):
    alpha, sigma, *slopes = PATHS["linear"].coefficients(PATHS["linear"].time_at(torch.tensor([log_snr])))
    return float(ROWS[name](alpha, sigma, *slopes)[1] ** 2) * max(0.0, 1 - channels / values)


def all_lost_7_2(name, log_snr, values, channels):
    return right_7_2(name, log_snr, 1, 0)


def right_7_3():
    return 2, 4, 4


def large_7_3():
    return 2, 8, 8


def small_7_3():
    return 1, 4, 4


def odd_7_3():
    return 2, 3, 7


RIGHT = {"7.1": right_7_1, "7.2": right_7_2, "7.3": right_7_3}
WRONG = {
    "7.1": [
        (swapped_7_1, "the other way round"),
        (reversed_7_1, "t runs the wrong way"),
        (flat_7_1, "can be multiplied"),
        (against_7_1, "the sign is wrong"),
        (halved_7_1, "right shapes, wrong values"),
        (lambda x_t, velocity, t: x_t, "two things"),
    ],
    "7.2": [
        (kept_7_2, "the share that comes out"),
        (rooted_7_2, "squared"),
        (negative_7_2, "never below 0"),
        (of_y_7_2, "the error of y"),
        (all_lost_7_2, "the floor is"),
    ],
    "7.3": [(large_7_3, "67% of noise is lost"), (small_7_3, "256 are enough"), (odd_7_3, "does not divide")],
}
