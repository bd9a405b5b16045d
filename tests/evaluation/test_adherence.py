"""The adherence measure itself: right for a model that draws what it is told, wrong for others."""

import json
from collections import Counter

import numpy as np
import pytest
import torch

from lite_sora.data.loading import to_model_range
from lite_sora.evaluation.adherence import measure, wilson
from lite_sora.evaluation.adherence.questions import LEAST_SIDE, balanced, unreadable
from lite_sora.evaluation.adherence.report import report
from lite_sora.pipeline import TextToVideoConfig
from lite_sora.toy.judge import judge
from lite_sora.toy.sentences import prompt
from lite_sora.toy.world import COLOURS, CORNERS, SHAPES, WORLD, Corner, combinations, draw, random_scene


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


# ---------------------------------------------------------------- what is asked


def spread(asked: list[tuple], facts) -> int:
    """How much oftener the most frequent of these facts is asked for than the rarest."""
    counts = Counter(fact for triple in asked for fact in triple)
    return max(counts[fact] for fact in facts) - min(counts[fact] for fact in facts)


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("unseen", [False, True])
@pytest.mark.parametrize("clips", [8, 32, 64, 128, 198, 256])
def test_every_fact_is_asked_for_as_often_as_the_others(corner, unseen, clips):
    triples = combinations(CORNERS[corner], unseen)
    rounds, rest = divmod(clips, len(triples))
    for seed in range(3):
        asked = balanced(triples, clips, seed)
        times = Counter(asked)
        assert len(asked) == clips and set(times) <= set(triples)
        assert {times[triple] for triple in triples} <= {rounds, rounds + (rest > 0)}
        for facts in (SHAPES, COLOURS, CORNERS[corner].motions):
            # what whole rounds force (a corner's combinations are not themselves balanced), and 1; among the few
            # held-out ones, where no third has all of its facts, 2
            forced = max(spread(triples * rounds, facts), spread(triples * (rounds + 1), facts) if rest else 0)
            assert spread(asked, facts) <= max(2 if unseen else 1, forced)


def test_the_seed_says_what_is_asked_and_whole_rounds_need_none():
    triples = combinations(WORLD, False)
    assert balanced(triples, 32, 5) == balanced(triples, 32, 5) != balanced(triples, 32, 6)
    assert balanced(triples, 2 * len(triples), 5) == triples + triples


def test_a_few_clips_show_every_shape_to_the_judge():
    result = measure(Painter("deaf"), clips=32)  # which always draws a red circle that moves right
    assert result["seen"]["shape"]["accuracy"] == pytest.approx(1 / 3, abs=1 / 32)
    assert result["seen"]["colour"]["accuracy"] == pytest.approx(1 / 6, abs=1 / 32)
    assert result["seen"]["motion"]["accuracy"] == pytest.approx(1 / 4, abs=1 / 32)


# ---------------------------------------------------------------- what is said


def test_too_few_clips_are_said_to_be_too_few():
    result = measure(Painter("good"), clips=16)
    assert result["diversity"] == {"position": None, "size": None, "distance": None}
    json.dumps(result, allow_nan=False)
    text = report(result)
    assert "diversity: not known, since no prompt was asked for twice; --clips 128 does so for all" in text
    assert "16 of the 64 seen combinations were asked for" in text and "held-out combinations were" not in text
    assert "nan" not in text


def test_no_diversity_of_videos_that_are_wrong():
    class Black(Painter):
        def generate(self, prompts, seeds):
            return torch.full((len(prompts), 3, 8, 32, 32), -1.0)

    result = measure(Black("good"), clips=65)
    assert "diversity: not known, since no prompt has two right videos" in report(result)
    assert "were asked for" not in report(result)


@pytest.mark.parametrize(
    ("training", "sizes", "reason"),
    [
        ({"toy_corner": "default"}, {}, None),
        ({"toy_corner": "world"}, {"height": LEAST_SIDE, "width": LEAST_SIDE, "frames": 2}, None),
        ({"toy_corner": None}, {}, "the training clips are not of the toy world"),
        ({}, {}, "the training clips are not of the toy world"),
        ({"toy_corner": "default", "overfit": 2}, {}, "with --overfit 2 a model learns some clips by heart"),
        ({"toy_corner": "default"}, {"height": 64}, "squares of 16 pixels or more, not 8 × 64 × 32"),
        ({"toy_corner": "default"}, {"height": 8, "width": 8}, "not 8 × 8 × 8"),
        ({"toy_corner": "default"}, {"frames": 1}, "2 frames or more"),
    ],
)
def test_what_the_judge_cannot_read(training, sizes, reason):
    found = unreadable(TextToVideoConfig(training=training, **sizes))
    assert found is None if reason is None else reason in found


def test_the_judge_reads_real_clips_from_the_least_size_on():
    triples = combinations(WORLD, False)
    videos = [draw(random_scene(np.random.default_rng(i), WORLD, triple=triple)) for i, triple in enumerate(triples)]
    small = [video.reshape(8, LEAST_SIDE, 4, LEAST_SIDE, 4, 3).mean((2, 4)).astype(np.uint8) for video in videos]
    right = [
        bool(seen := judge(video)) and seen[0].triple == triple for video, triple in zip(small, triples, strict=True)
    ]
    assert np.mean(right) > 0.98


def test_wilson_interval():
    low, high = wilson(95, 100)  # Newcombe 1998 gives such values for Wilson's interval without correction
    assert low == pytest.approx(0.8882, abs=1e-3) and high == pytest.approx(0.9785, abs=1e-3)
    assert wilson(0, 10)[0] == 0.0 and wilson(10, 10)[1] == 1.0
