"""Prompt adherence on the toy world: does the video show what the prompt said?

    python -m lite_sora.evaluation.adherence --run runs/toy --clips 256

The model makes videos for combinations of shape, colour and motion, and the toy world's judge, which has no learned
part, reads them. Combinations that training showed and ones that it held out are counted apart, and so is diversity: a
model that always draws the same video has a high adherence and a diversity near 0.
"""

import math

import numpy as np
from tqdm import tqdm

from lite_sora.data.loading import to_frames
from lite_sora.evaluation.adherence.diversity import diversity, facts_right
from lite_sora.evaluation.adherence.questions import balanced
from lite_sora.toy.judge import judge
from lite_sora.toy.sentences import prompt
from lite_sora.toy.world import CORNERS, combinations

FACTS = ("shape", "colour", "motion", "all")


def measure(model, corner: str = "default", clips: int = 128, batch: int = 32, seed: int = 0, **options) -> dict:
    """Adherence on `clips` videos of seen and as many of held-out combinations. `options` go to `model.generate`.

    Returns {"seen": …, "held-out": …}, each with "clips", the number of "combinations" and, for shape, colour, motion
    and all three together, {"accuracy", "low", "high"}: the fraction that is right and its 95 % confidence interval;
    and "diversity".
    """
    result = {}
    for name, unseen in (("seen", False), ("held-out", True)):
        triples = combinations(CORNERS[corner], unseen)
        asked = balanced(triples, clips, seed)
        seen = [things for _, things in watch(model, asked, batch, seed, name, **options)]
        right = [facts_right(triple, things) for triple, things in zip(asked, seen, strict=True)]
        result[name] = {"clips": clips, "combinations": len(triples)}
        for fact, column in zip(FACTS, np.array(right).T, strict=True):
            low, high = wilson(int(column.sum()), clips)
            result[name][fact] = {"accuracy": float(column.mean()), "low": low, "high": high}
        if not unseen:
            result["diversity"] = diversity(asked, seen, CORNERS[corner], seed)
    return result


def watch(model, asked: list[tuple], batch: int, seed: int, name: str, **options):
    """Yields (frames, what the judge sees in them) of a generated video for each (shape, colour, motion)."""
    with tqdm(total=len(asked), desc=f"adherence ({name})", unit="clip") as bar:
        for first in range(0, len(asked), batch):
            triples = asked[first : first + batch]
            seeds = [seed * 10**6 + first + i for i in range(len(triples))]
            videos = model.generate([prompt(*triple) for triple in triples], seeds=seeds, **options)
            for frames in to_frames(videos):
                yield frames, judge(frames)
                bar.update()


def wilson(right: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % confidence interval of a fraction (Wilson 1927)."""
    fraction = right / of
    centre = (fraction + z**2 / (2 * of)) / (1 + z**2 / of)
    half = z / (1 + z**2 / of) * math.sqrt(fraction * (1 - fraction) / of + z**2 / (4 * of**2))
    return max(0.0, centre - half), min(1.0, centre + half)
