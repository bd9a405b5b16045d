"""What the exercises of lesson 04 are checked by."""

import numpy as np
from exercises import Wrong, begun

from lite_sora.toy.alt_text import KINDS, alt_text
from lite_sora.toy.sentences import captions, mark_caption
from lite_sora.toy.world import CORNERS, random_scene

WORDS = ["red", "blue", "circle", "square", "left", "right", "slowly", "small", "moves", "then", "stands", "big", "up"]


def check_1(missing) -> None:
    """So the loss of a whole collection is known from five numbers, before one caption is read.
    A clip has three facts. How many of them does each kind of text leave out? Nothing: three; the whole truth: none. A
    wrong text still says a shape and a colour, so it leaves out one. Weigh these by the fractions; there are three
    facts a text.
    """
    random = np.random.default_rng(0)
    for shares in [list(KINDS.values()), *random.dirichlet(np.ones(len(KINDS)), 20)]:
        kinds = dict(zip(KINDS, map(float, shares), strict=True))
        facts = 3 * kinds["nothing"] + 2 * kinds["shape or colour"] + kinds["shape and colour"] + kinds["wrong"]
        found = float(begun(missing(dict(kinds))))
        if abs(found - facts / 3) < 1e-6:
            continue
        if abs(found - facts) < 1e-6:
            raise Wrong("that is the number of facts that a text leaves out; a text could say three")
        if abs(found - (facts - kinds["wrong"]) / 3) < 1e-6:
            raise Wrong("a wrong text leaves something out too: it says no motion")
        if abs(found - (1 - kinds["true"])) < 1e-6:
            raise Wrong("that is the share of texts that leave something out; count the facts, three a text")
        if abs(found - (1 - facts / 3)) < 1e-6:
            raise Wrong("that is the share that is said, right or wrong")
        if abs(found - facts / 3 - kinds["wrong"] / 3) < 1e-6:
            raise Wrong("a fact that is told wrongly is not left out: a wrong text leaves out its motion alone")
        if abs(found - 100 * facts / 3) < 1e-6:
            raise Wrong("that is in percent; a fraction is from 0 to 1")
        usual = 3 * KINDS["nothing"] + 2 * KINDS["shape or colour"] + KINDS["shape and colour"] + KINDS["wrong"]
        if abs(found - usual / 3) < 1e-6:
            raise Wrong("that is right for `KINDS` alone; use the numbers in `kinds`")
        raise Wrong(f"for {', '.join(f'{kind} {share:.2f}' for kind, share in kinds.items())} it is not {found:.3f}")


def check_2(keep) -> None:
    """What is left is true, and it is one clip in ten. A captioner keeps the other nine.
    A wrong text and a right one of the same kind look alike: "red circle" may be either. So which kind is always right?
    How can you know it by its words?
    """
    texts, truths, random = [], [], np.random.default_rng(4)
    for _ in range(3000):
        scene = random_scene(random, CORNERS["default"])
        shape, colour, _ = scene.things[0].triple
        texts.append(alt_text(shape, colour, captions(scene)[0], random))
        truths.append([scene.things[0].triple])
    kept = [index for index, text in enumerate(texts) if begun(keep(text))]
    marks = [mark_caption(texts[index], truths[index]) for index in kept]
    if len(kept) < 0.08 * len(texts):
        example = next(
            text for text, truth in zip(texts, truths, strict=True) if mark_caption(text, truth)["right"] == 3
        )
        raise Wrong(
            f"it keeps {len(kept)} of {len(texts)} clips: too few are left to learn from. It should keep, for example,"
            f' "{example}"'
        )
    right, wrong, missing = (sum(mark[kind] for mark in marks) for kind in ("right", "wrong", "missing"))
    total = right + wrong + missing
    if right >= 0.99 * total:
        return
    if len(kept) == len(texts):
        raise Wrong(f"it keeps every text, and only {right / total:.0%} of the facts are right")
    if wrong > 0.01 * total:
        raise Wrong(
            f"of the facts, {right / total:.0%} are right, {wrong / total:.0%} wrong and {missing / total:.0%} missing:"
            " some wrong texts read like right ones"
        )
    raise Wrong(f"of the facts, {missing / total:.0%} are missing: texts that say little are still among them")


def check_3(repeats) -> None:
    """The package asks again when an answer does this, with some chance in the choice of words.
    Split the text into words. For each start and each length n of the pattern: do the n words there come four times,
    one after another? (In lists of words, `words[i : i + n] * 4 == words[i : i + 4 * n]`.)
    """
    if begun(repeats("a red circle moving right")):
        raise Wrong('"a red circle moving right" repeats nothing')
    for text, mistake in (
        ("a red red red red circle", "one word four times in a row is not found: {}"),
        ("a red circle red circle red circle red circle", "it finds single words only; here two words loop: {}"),
        ("red red red red", "a loop may be the whole text, with no space after it: {}"),
    ):
        if not repeats(text):
            raise Wrong(mistake.format(f'"{text}"'))
    for text, mistake in (
        ("a red circle and a red square and a red ball and a red box", "a word may come often, but not in a row: {}"),
        ("a very very very small circle", "three times is not four: {}"),
        ("bus 1111 moves right", "it compares letters, not words: {}"),
        ("left left lefty lefty", "it compares letters, not words: {}"),
        ("", "an empty text repeats nothing: {}"),
    ):
        if repeats(text):
            raise Wrong(mistake.format(f'"{text}"'))
    random = np.random.default_rng(0)
    for _ in range(100):
        before, loop, after = (random.choice(WORDS, random.integers(low, 5), replace=False) for low in (0, 1, 0))
        for times in (2, 4, 6):
            text = " ".join([*before, *list(loop) * times, *after])
            if bool(repeats(text)) != _loops(text.split()):
                raise Wrong(f'"{text}" does {"" if times > 3 else "not "}repeat {len(loop)} words four times in a row')


def _loops(words: list[str]) -> bool:
    """The slow loop."""
    for size in range(1, len(words) // 4 + 1):
        for first in range(len(words) - 4 * size + 1):
            parts = [words[first + size * part : first + size * (part + 1)] for part in range(4)]
            if parts[0] == parts[1] == parts[2] == parts[3]:
                return True
    return False
