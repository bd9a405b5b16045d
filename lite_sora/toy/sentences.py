"""A caption → facts: what a sentence says of the toy world, and how much of it is right."""

import itertools
import operator
import re

from lite_sora.data.clip import Clip
from lite_sora.toy.world import COLOURS, SHAPES

Facts = tuple[str | None, str | None, str | None]  # shape, colour and motion of one thing; None is not said


def read_caption(caption: str) -> list[Facts]:
    """What a caption says of each thing, in its order: anything in the manner of `captions`, and a little more ("moves
    upward", "from left to right"). A word that the toy world does not have says nothing."""
    words = re.findall("[a-z]+", re.sub(r"\bfrom (the )?(left|right|top|bottom)\b", "", caption.lower()))
    nouns = [index for index, word in enumerate(words) if word.removesuffix("s") in SHAPES]
    # a thing's words begin with the article before its noun, and end where those of the next begin
    articles = [max((i for i in range(noun) if words[i] in ("a", "an", "the")), default=noun) for noun in nouns]
    ends = [0, *articles[1:], len(words)]
    things = [_facts(words[first:last]) for first, last in itertools.pairwise(ends)]
    return [thing for thing in things if any(thing)]


def _facts(words: list[str]) -> Facts:
    """The first of each fact in the words that are about one thing."""
    shape = next((word.removesuffix("s") for word in words if word.removesuffix("s") in SHAPES), None)
    colour = next((word for word in words if word in COLOURS), None)
    moves = next((index for index, word in enumerate(words) if word.startswith("mov")), 0)  # before it: a position
    ways = [re.sub("wards?$", "", word) for word in words[moves:]]
    ways = [{"top": "up", "bottom": "down"}.get(way, way) for way in ways]
    vertical = next((way for way in ways if way in ("up", "down")), None)
    horizontal = next((way for way in ways if way in ("left", "right")), None)
    stems = {"grow": "growing", "shrink": "shrinking", "shrunk": "shrinking", "bounc": "bouncing"}
    stems |= {"still": "still", "stationary": "still"}
    other = next((motion for word in words for stem, motion in stems.items() if word.startswith(stem)), None)
    return shape, colour, other or "-".join(filter(None, (vertical, horizontal))) or None


def facts_of(clip: Clip) -> list[tuple[str, str, str]]:
    """Shape, colour and motion of each thing in a clip of the toy world, as its manifest says; none of another clip."""
    try:
        return [(thing["shape"], thing["colour"], thing["motion"]) for thing in clip.stats["toy"]["things"]]
    except (KeyError, TypeError):
        return []


def mark_caption(caption: str, things: list[tuple[str, str, str]]) -> dict[str, int]:
    """How many facts of things, (shape, colour, motion) each, a caption has {"right", "wrong", "missing"}; what it says
    of things that are not there is wrong too."""
    said, marks = read_caption(caption), {"right": 0, "wrong": 0, "missing": 0}
    for thing in things:
        found = max(said, key=lambda one: sum(map(operator.eq, thing, one)), default=(None, None, None))
        said = [one for one in said if one is not found]
        for truth, fact in zip(thing, found, strict=True):
            marks["missing" if fact is None else "right" if fact == truth else "wrong"] += 1
    marks["wrong"] += sum(fact is not None for one in said for fact in one)
    return marks
