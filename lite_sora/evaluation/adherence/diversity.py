"""How much the videos of one prompt vary, compared with real clips of it."""

from collections import defaultdict

import numpy as np

from lite_sora.toy.judge import Seen, judge
from lite_sora.toy.world import Corner, draw, random_scene


def facts_right(asked: tuple[str, str, str], things: list[Seen]) -> list[bool]:
    """Whether shape, colour, motion and all are right. The largest thing counts; a second one makes "all" wrong."""
    if not things:
        return [False] * 4
    facts = [a == b for a, b in zip(asked, things[0].triple, strict=True)]
    return [*facts, all(facts) and len(things) == 1]


def diversity(asked: list[tuple], seen: list[list[Seen]], corner: Corner, seed: int = 0) -> dict[str, float | None]:
    """Spread of position, size and distance over videos of one prompt, divided by that over real clips: 1 is ideal.

    The spread is the standard deviation within prompts, pooled over prompts. Only videos with the right facts count.
    None where no prompt has two such videos.
    """
    real = []
    for index, triple in enumerate(asked):
        scene = random_scene(np.random.default_rng([seed, 17, index]), corner, triple=triple)
        real.append(judge(draw(scene, side=32)))
    result = {}
    for name, measured in {
        "position": lambda thing: thing.start,
        "size": lambda thing: (thing.size,),
        "distance": lambda thing: (thing.distance,),
    }.items():
        spread, of_real = (_spread_within(asked, things, measured) for things in (seen, real))
        result[name] = spread / of_real if spread is not None and of_real else None
    return result


def _spread_within(asked: list[tuple], seen: list[list[Seen]], measured) -> float | None:
    groups = defaultdict(list)
    for triple, things in zip(asked, seen, strict=True):
        if all(facts_right(triple, things)):
            groups[triple].append(measured(things[0]))
    groups = [np.array(values) for values in groups.values() if len(values) > 1]  # each (videos, numbers)
    if not groups:
        return None
    squares = sum(((values - values.mean(0)) ** 2).sum(0) for values in groups)  # (numbers,)
    return float(np.sqrt((squares / sum(len(values) - 1 for values in groups)).mean()))
