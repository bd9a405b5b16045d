"""For each exercise of lesson 08 a right answer, and typical wrong ones with a part of what must be said of them."""

from lite_sora.diffusion.path import PATHS
from lite_sora.diffusion.samplers import clean, euler, velocity

path = PATHS["linear"]


def right_8_1(x_t, clean, noise, t, t_next):
    return x_t + (t_next - t) * (noise - clean)


def upwards_8_1(x_t, clean, noise, t, t_next):
    return x_t + (t - t_next) * (noise - clean)


def endless_8_1(x_t, clean, noise, t, t_next):
    return x_t - (noise - clean)


def leaping_8_1(x_t, clean, noise, t, t_next):
    return clean


def towards_8_1(x_t, clean, noise, t, t_next):
    return x_t + (t - t_next) * (clean - x_t)


def scaled_8_1(x_t, clean, noise, t, t_next):
    return right_8_1(x_t, clean, noise, t, t_next) * t


def right_8_2(denoise, x, times):
    for t, t_next in zip(times[:-1], times[1:], strict=True):
        if t_next == 0:
            return clean(denoise, x, t)
        slope = velocity(denoise, x, t, path)
        ahead = x + (t_next - t) * slope
        x = x + (t_next - t) * (slope + velocity(denoise, ahead, t_next, path)) / 2
    return x


def euler_8_2(denoise, x, times):
    return euler(denoise, x, times, path)


def unmoved_8_2(denoise, x, times):
    for t, t_next in zip(times[:-1], times[1:], strict=True):
        x = x + (t_next - t) * (velocity(denoise, x, t, path) + velocity(denoise, x, t_next, path)) / 2
    return x


def untimed_8_2(denoise, x, times):
    for t, t_next in zip(times[:-1], times[1:], strict=True):
        slope = velocity(denoise, x, t, path)
        x = x + (t_next - t) * (slope + velocity(denoise, x + (t_next - t) * slope, t, path)) / 2
    return x


def twice_8_2(denoise, x, times):
    for t, t_next in zip(times[:-1], times[1:], strict=True):
        slope = velocity(denoise, x, t, path)
        x = x + (t_next - t) * slope
        x = x + (t_next - t) * (slope + velocity(denoise, x, t_next, path)) / 2
    return x


def summed_8_2(denoise, x, times):
    for t, t_next in zip(times[:-1], times[1:], strict=True):
        slope = velocity(denoise, x, t, path)
        x = x + (t_next - t) * (slope + velocity(denoise, x + (t_next - t) * slope, t_next, path))
    return x


def to_the_end_8_2(denoise, x, times):
    for t, t_next in zip(times[:-1], times[1:], strict=True):
        slope = velocity(denoise, x, t, path)
        x = x + (t_next - t) * (slope + velocity(denoise, x + (t_next - t) * slope, t_next, path)) / 2
    return x


def right_8_3():
    return 3, (0.8, 1.0)


def strong_8_3():
    return 3, (0.0, 1.0)


def free_8_3():
    return 1, (0.0, 1.0)


def late_8_3():
    return 3, (0.0, 0.5)


RIGHT = {"8.1": right_8_1, "8.2": right_8_2, "8.3": right_8_3}
WRONG = {
    "8.1": [
        (upwards_8_1, "the wrong way"),
        (endless_8_1, "the length is missing"),
        (leaping_8_1, "a step to t = 0"),
        (towards_8_1, "shorter than clean - noise"),
        (scaled_8_1, "right shape, wrong values"),
        (lambda x_t, clean, noise, t, t_next: x_t[:, :1].sum(), "shape"),
    ],
    "8.2": [
        (euler_8_2, "that is Euler's sampler"),
        (unmoved_8_2, "where the first one leads"),
        (untimed_8_2, "the time is t_next"),
        (twice_8_2, "it walks twice"),
        (summed_8_2, "the sum of both slopes"),
        (to_the_end_8_2, "asks at t = 0"),
        (lambda denoise, x, times: x + 0.1, "wrong values"),
    ],
    "8.3": [
        (strong_8_3, "end guidance earlier"),
        (free_8_3, "guide more"),
        (late_8_3, "t = 1 is noise"),
        (lambda: 3, "a scale and an interval"),
    ],
}
