"""Copies are found whatever their size and quality, what is not a copy is not, and the best one is kept."""

import numpy as np
import pytest
from films import FPS, film

from lite_sora.curation.duplicates import near, perceptual_hash, same
from lite_sora.curation.operators import OPERATORS
from lite_sora.data.video import read_frames, write_video
from lite_sora.toy.world import draw as draw_scene
from lite_sora.toy.world import random_scene

LIMITS = OPERATORS["near_duplicates"].applied


def signature(frames: np.ndarray) -> list[str]:
    return perceptual_hash(frames[:: len(frames) // 8][:8])


def bits_apart(one: list[str], other: list[str]) -> float:
    return np.mean([(int(a[:16], 16) ^ int(b[:16], 16)).bit_count() for a, b in zip(one, other, strict=True)])


def test_a_hash_is_64_bits_and_a_colour():
    (plain,) = perceptual_hash(np.full((1, 90, 160, 3), (255, 16, 0), np.uint8))
    assert plain == "0" * 16 + "ff1000"
    hashes = perceptual_hash(film(1, 8))
    assert len(hashes) == 8 and all(len(text) == 22 and int(text, 16) for text in hashes)
    assert all(
        24 <= int(text[:16], 16).bit_count() <= 32 for text in hashes
    )  # half of the frequencies lie above the median


@pytest.mark.parametrize(
    "height, width, quality", [(96, 128, 14), (96, 128, 35), (48, 64, 23), (192, 256, 23), (120, 120, 14)]
)
def test_copies_have_nearly_the_same_hash(height, width, quality, tmp_path):
    """Also the last one, which is squeezed to another aspect ratio."""
    original = signature(film(7, 16, 288, 384))
    write_video(tmp_path / "copy.mp4", film(7, 16, height, width), FPS, quality)
    copy = signature(read_frames(tmp_path / "copy.mp4", [(i + 0.5) / FPS for i in range(16)], height, width))
    assert bits_apart(original, copy) < 4
    assert near([original, copy], [2, 1], **LIMITS) == {1: 0}


def test_other_films_are_no_copies():
    signatures = [signature(film(seed, 16)) for seed in range(40)]
    apart = [bits_apart(signatures[i], signatures[j]) for i in range(40) for j in range(i)]
    assert min(apart) > 12
    assert near(signatures, [1] * 40, **LIMITS) == {}


def test_no_clip_of_the_toy_world_is_a_copy_of_another():
    """Drawn shapes over black are as alike as clips can be: many differ in colour or in a few pixels only."""
    scenes = [random_scene(np.random.default_rng(i)) for i in range(60)]
    signatures = [perceptual_hash(draw_scene(scene)) for scene in scenes]
    assert near(signatures, [1] * 60, **LIMITS) == {}


def test_colour_tells_apart_what_is_drawn_alike():
    grey = np.broadcast_to(film(3, 8).mean(-1, keepdims=True), (8, 96, 128, 3))
    red, blue = (np.clip(grey + shade, 0, 255).astype(np.uint8) for shade in ([30, 0, 0], [0, 0, 60]))
    signatures = [perceptual_hash(red), perceptual_hash(blue)]
    assert bits_apart(*signatures) < 3
    assert near(signatures, [1, 1], distance=8, colour=6) == {}
    assert near(signatures, [1, 1], distance=8, colour=40) == {1: 0}


def test_plain_clips_are_not_taken_for_copies():
    plain = perceptual_hash(np.full((8, 90, 160, 3), 16, np.uint8))
    assert near([plain, plain, plain], [1, 1, 1], **LIMITS) == {}


def test_the_largest_copy_is_kept_then_the_first():
    a, b = signature(film(1)), signature(film(2))
    assert near([a, b, a, b, a], [10, 30, 20, 30, 20], **LIMITS) == {0: 2, 4: 2, 3: 1}
    assert near([], [], **LIMITS) == {}


def test_copies_of_copies_do_not_chain():
    """What is kept is what others are compared with: a is like b and b like c, but c is not like a."""
    steps = [0, 5, 10]
    chain = [[f"{(1 << bits) - 1 << 32 | 0xF0F0F0F0:016x}808080"] * 8 for bits in steps]
    assert near(chain, [3, 2, 1], **LIMITS) == {1: 0}
    assert near(chain, [1, 3, 1], **LIMITS) == {0: 1, 2: 1}


def test_limits_are_what_they_say():
    one = ["0" * 8 + "0f0f0f0f" + "808080"] * 8
    other = ["00000fff" + "0f0f0f0f" + "808080"] * 8  # 12 bits
    assert near([one, other], [1, 1], distance=11.9, colour=0) == {}
    assert near([one, other], [1, 1], distance=12, colour=0) == {1: 0}
    shade = [text[:16] + "838383" for text in one]
    assert near([one, shade], [1, 1], distance=0, colour=2.9) == {}
    assert near([one, shade], [1, 1], distance=0, colour=3) == {1: 0}


def test_same_keys():
    assert same(["x", "y", "x", "z", "y", "x"]) == {2: 0, 4: 1, 5: 0}
    assert same([]) == {}
