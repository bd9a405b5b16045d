"""Facts ↔ sentences: captions of the toy world, the facts in a caption, and how many of them are right."""

import itertools
import operator
import re

from lite_sora.data.clip import Clip
from lite_sora.toy.world import COLOURS, CORNERS, SHAPES, Scene

# ---------------------------------------------------------------- facts → captions

MOVES = {  # motion → (…ing form, finite form)
    "right": ("moving right", "moves to the right"),
    "left": ("moving left", "moves to the left"),
    "up": ("moving up", "moves upwards"),
    "down": ("moving down", "moves downwards"),
    "up-right": ("moving up and right", "moves up and to the right"),
    "up-left": ("moving up and left", "moves up and to the left"),
    "down-right": ("moving down and right", "moves down and to the right"),
    "down-left": ("moving down and left", "moves down and to the left"),
    "still": ("standing still", "stands still"),
    "growing": ("growing", "grows"),
    "shrinking": ("shrinking", "shrinks"),
    "bouncing": ("bouncing", "bounces"),
}


def prompt(shape: str, colour: str, motion: str) -> str:
    """The plainest caption of one thing: "a red circle moving right"."""
    return f"a {colour} {shape} {MOVES[motion][0]}"


def captions(scene: Scene) -> list[str]:
    """Four captions of a scene, the first in `prompt`'s words. A black background is not mentioned."""
    sentences: list[list[str]] = [[], [], [], []]
    for thing in scene.things:
        moving, moves = MOVES[thing.motion]
        how = f" {thing.speed}" if thing.distance else ""
        phrases = (
            prompt(*thing.triple),
            f"the {thing.colour} {thing.shape} {moves}",
            f"the {thing.shape} is {thing.colour} and {moving}",
            f"a {thing.size} {thing.colour} {thing.shape} {moving}{how}",
        )
        for sentence, phrase in zip(sentences, phrases, strict=True):
            sentence.append(phrase)
    where = "" if scene.background == "black" else f" on a {scene.background} background"
    return [" and ".join(phrases) + where * (index % 2) for index, phrases in enumerate(sentences)]


# ---------------------------------------------------------------- captions → facts

Facts = tuple[str | None, str | None, str | None]  # shape, colour and motion of one thing; None if not in the caption


def read_caption(caption: str) -> list[Facts]:
    """The facts about each thing in a caption, in its order. Understood are sentences like those of `captions` and a
    few more ("moves upward", "from left to right"). Other words are ignored."""
    words = re.findall("[a-z]+", re.sub(r"\bfrom (the )?(left|right|top|bottom)\b", "", caption.lower()))
    nouns = [index for index, word in enumerate(words) if word.removesuffix("s") in SHAPES]
    # a thing's words begin with the article before its noun, and end where those of the next begin
    articles = [max((i for i in range(noun) if words[i] in ("a", "an", "the")), default=noun) for noun in nouns]
    ends = [0, *articles[1:], len(words)]
    things = [_facts(words[first:last]) for first, last in itertools.pairwise(ends)]
    return [thing for thing in things if any(thing)]


def _facts(words: list[str]) -> Facts:
    """The first of each fact in the words about one thing."""
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
    """Shape, colour and motion of each thing in a clip, by its manifest; an empty list if the clip is not a toy's."""
    try:
        return [(thing["shape"], thing["colour"], thing["motion"]) for thing in clip.stats["toy"]["things"]]
    except (KeyError, TypeError):
        return []


def corner_of(clips: list[Clip]) -> str | None:
    """The smallest corner of the toy world that has the motions of all clips; None if one of them is not a toy's."""
    facts = [facts_of(clip) for clip in clips]
    motions = {motion for things in facts for _, _, motion in things}
    return next((name for name, corner in CORNERS.items() if all(facts) and motions <= {*corner.motions}), None)


def mark_caption(caption: str, things: list[tuple[str, str, str]]) -> dict[str, int]:
    """How many facts about `things` (shape, colour, motion) are {"right", "wrong", "missing"} in a caption. Facts about
    things that are not there are wrong too."""
    said, marks = read_caption(caption), {"right": 0, "wrong": 0, "missing": 0}
    for thing in things:
        found = max(said, key=lambda one: sum(map(operator.eq, thing, one)), default=(None, None, None))
        said = [one for one in said if one is not found]
        for truth, fact in zip(thing, found, strict=True):
            marks["missing" if fact is None else "right" if fact == truth else "wrong"] += 1
    marks["wrong"] += sum(fact is not None for one in said for fact in one)
    return marks
