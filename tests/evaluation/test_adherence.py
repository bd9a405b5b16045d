"""The adherence measure itself: right for a model that draws what it is told, wrong for others."""

import numpy as np
import pytest
import torch

from lite_sora.data.loading import to_model_range
from lite_sora.evaluation.adherence import measure, report, wilson
from lite_sora.toy.sentences import prompt
from lite_sora.toy.world import Corner, combinations, draw, random_scene


class Painter:
    """Draws what the prompt says, from the prompt's seed or (dull) always the same, or something else (deaf)."""

    def __init__(self, kind):
        triples = combinations(Corner(), False) + combinations(Corner(), True)
        self.kind, self.meanings = kind, {prompt(*triple): triple for triple in triples}

    def generate(self, prompts, seeds):
        videos = []
        for text, seed in zip(prompts, seeds, strict=True):
            triple = ("circle", "red", "right") if self.kind == "deaf" else self.meanings[text]
            rng = np.random.default_rng(0 if self.kind == "dull" else seed)
            videos.append(draw(random_scene(rng, Corner(), triple=triple), side=32))
        return to_model_range(torch.from_numpy(np.stack(videos)).movedim(-1, 1))


def test_a_painter_that_listens_is_right_and_varied():
    result = measure(Painter("good"), clips=180)
    for name in ("seen", "held-out"):
        assert result[name]["all"]["accuracy"] == 1.0 and result[name]["clips"] == 180
    assert all(0.75 < share < 1.3 for share in result["diversity"].values())


def test_one_video_per_prompt_is_right_but_not_varied():
    result = measure(Painter("dull"), clips=128)
    assert result["seen"]["all"]["accuracy"] == 1.0
    assert all(share < 0.05 for share in result["diversity"].values())


def test_a_painter_that_does_not_listen_is_as_good_as_chance():
    result = measure(Painter("deaf"), clips=120)
    assert result["seen"]["shape"]["accuracy"] == pytest.approx(1 / 3, abs=0.05)
    assert result["seen"]["colour"]["accuracy"] == pytest.approx(1 / 6, abs=0.05)
    assert result["held-out"]["all"]["accuracy"] == 0.0
    assert "held-out" in report(result)


def test_wilson_interval():
    low, high = wilson(95, 100)  # Newcombe 1998 gives such values for Wilson's interval without correction
    assert low == pytest.approx(0.8882, abs=1e-3) and high == pytest.approx(0.9785, abs=1e-3)
    assert wilson(0, 10)[0] == 0.0 and wilson(10, 10)[1] == 1.0
