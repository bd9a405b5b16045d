"""For each exercise of lesson 04 a right answer, and typical wrong ones with a part of what must be said of them."""

import re

from lite_sora.toy.sentences import read_caption


def right_4_1(kinds):
    return (3 * kinds["nothing"] + 2 * kinds["shape or colour"] + kinds["shape and colour"] + kinds["wrong"]) / 3


def facts_4_1(kinds):
    return 3 * right_4_1(kinds)


def innocent_4_1(kinds):
    return right_4_1(kinds) - kinds["wrong"] / 3


def texts_4_1(kinds):
    return 1 - kinds["true"]


def said_4_1(kinds):
    return 1 - right_4_1(kinds)


def silent_4_1(kinds):
    return kinds["nothing"]


def lies_4_1(kinds):
    return right_4_1(kinds) + kinds["wrong"] / 3


def percent_4_1(kinds):
    return 100 * right_4_1(kinds)


def usual_4_1(kinds):
    return 0.25 + 2 / 3 * 0.3 + 0.35 / 3


def right_4_2(text):
    facts = read_caption(text)
    return len(facts) == 1 and None not in facts[0]


def all_4_2(text):
    return True


def none_4_2(text):
    return False


def coloured_4_2(text):
    facts = read_caption(text)
    return len(facts) == 1 and None not in facts[0][:2]


def named_4_2(text):
    return "animation" in text or len(text.split()) > 4


def finite_4_2(text):
    return "moves" in text


def right_4_3(text):
    words = text.split()
    for size in range(1, len(words) // 4 + 1):
        for first in range(len(words) - 4 * size + 1):
            if words[first : first + size] * 4 == words[first : first + 4 * size]:
                return True
    return False


def single_4_3(text):
    words = text.split()
    return any(words[first : first + 4] == [words[first]] * 4 for first in range(len(words) - 3))


def often_4_3(text):
    words = text.split()
    return any(words.count(word) > 3 for word in words) or right_4_3(text)


def letters_4_3(text):
    return bool(re.search(r"(.+)\1\1\1", text)) or right_4_3(text)


def thrice_4_3(text):
    words = text.split()
    return any(
        words[first : first + size] * 3 == words[first : first + 3 * size]
        for size in range(1, len(words))
        for first in range(len(words) - 3 * size + 1)
    )


def short_4_3(text):
    words = text.split()
    return any(
        words[first : first + size] * 4 == words[first : first + 4 * size]
        for size in range(1, len(words) // 4 + 1)
        for first in range(len(words) - 4 * size)  # the last start is left out
    )


RIGHT = {"4.1": right_4_1, "4.2": right_4_2, "4.3": right_4_3}
WRONG = {
    "4.1": [
        (facts_4_1, "a text could say three"),
        (innocent_4_1, "it says no motion"),
        (texts_4_1, "count the facts"),
        (said_4_1, "the share that is said"),
        (silent_4_1, "it is not"),
        (lies_4_1, "is not left out"),
        (percent_4_1, "in percent"),
        (usual_4_1, "use the numbers in `kinds`"),
    ],
    "4.2": [
        (all_4_2, "keeps every text"),
        (none_4_2, "too few are left"),
        (coloured_4_2, "read like right ones"),
        (named_4_2, "are missing"),
        (finite_4_2, "It should keep"),
    ],
    "4.3": [
        (single_4_3, "single words only"),
        (often_4_3, "not in a row"),
        (letters_4_3, "letters, not words"),
        (thrice_4_3, "three times is not four"),
        (short_4_3, "circle red circle"),
        (lambda text: True, "repeats nothing"),
    ],
}
