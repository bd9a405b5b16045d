"""What a model is asked for, and whether the judge can read its videos at all."""

from collections import Counter

import numpy as np

# From this size on, the judge is right on more than 99 % of real clips. At 12 pixels it takes one shape in twenty of
# the whole world for another, at 8 pixels one in three.
LEAST_SIDE = 16


def balanced(triples: list[tuple], clips: int, seed: int) -> list[tuple]:
    """`clips` combinations (shape, colour, motion): all of them in every whole round. In the last round come those
    whose facts were asked for least so far, so that each shape, colour and motion comes as often as the others. The
    seed decides between equals."""
    rounds, rest = divmod(clips, len(triples))
    asked = triples * rounds
    counts = Counter(fact for triple in asked for fact in triple)
    left = [triples[index] for index in np.random.default_rng(seed).permutation(len(triples))]
    for _ in range(rest):
        rarest = min(left, key=lambda triple: sum(counts[fact] for fact in triple))
        left.remove(rarest)
        asked.append(rarest)
        counts.update(rarest)
    return asked


def unreadable(config) -> str | None:
    """Why adherence cannot be measured for a model of this configuration, in words; None where it can."""
    if config.training.get("toy_corner") is None:
        return "the training clips are not of the toy world, the only one that the judge can read"
    if config.training.get("overfit"):
        return f"with --overfit {config.training['overfit']} a model learns some clips by heart and no others"
    if config.frames < 2 or config.height != config.width or config.height < LEAST_SIDE:
        shape = f"{config.frames} × {config.height} × {config.width}"
        return f"the judge needs 2 frames or more of squares of {LEAST_SIDE} pixels or more, not {shape}"
    return None
