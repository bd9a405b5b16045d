"""Scenes that more than one test file looks at."""

import functools

import numpy as np

from lite_sora.toy.world import CORNERS, Scene, random_scene


@functools.cache
def scenes(corner: str) -> list[Scene]:
    """200 fresh scenes, every second one of held-out combinations."""
    return [random_scene(np.random.default_rng([1, i]), CORNERS[corner], unseen=i % 2 == 1) for i in range(200)]
