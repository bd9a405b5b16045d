"""What lessons are made of: exercises that check themselves at once, and claims that are measured where they are made.

    @exercise("7.1")                    # checks the function below at once; says what is wrong, and never raises
    def estimate(x_t, velocity, t):
        ...                             # your two lines

A lesson's checks are in `checks_07.py`: functions that are given the reader's answer, and raise Wrong where it is.
"""

import inspect
import os
import sys
import textwrap
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

COURSE, ROOT = Path(__file__).parent, Path(__file__).parents[1]
ANSWERS = ROOT / "tests" / "tutorials"
sys.path[:0] = [str(ROOT), str(COURSE)]  # lite_sora, wherever a lesson is opened
if COURSE in (Path.cwd(), *Path.cwd().parents):  # a notebook begins in its own folder
    os.chdir(ROOT)


class Wrong(Exception):
    """An answer that is not right; the message says why, as far as the mistake is a known one."""


class NotYet(Exception):
    """An answer that was not begun."""


def exercise(number: str) -> Callable[[Callable], Callable]:
    """Before a function: checks it, prints what came of it, and leaves it as it is."""

    def decorate(answer: Callable) -> Callable:
        print(verdict(number, answer))
        return answer

    return decorate


def verdict(number: str, answer: Callable) -> str:
    """ "7.1: right. …", "7.1: wrong, because …", or "7.1: not yet. …"."""
    check = check_of(number)
    try:
        check(answer)
    except Wrong as mistake:
        return f"{number}: wrong, because {mistake}"
    except Exception as error:  # of the reader's code
        if isinstance(error, NotYet | NotImplementedError) and not error.args:  # PyTorch's own say something
            return f'{number}: not yet. hint("{number}") helps'
        return f"{number}: wrong, because it ends with {type(error).__name__}: {error}"
    return f"{number}: right. {inspect.getdoc(check).splitlines()[0]}"


def begun(value: object) -> object:
    """A value that the reader's function returned. Raises NotYet for `...` and None."""
    if value is None or value is ...:
        raise NotYet
    return value


def check_of(number: str) -> Callable[[Callable], None]:
    return getattr(import_module(f"checks_{lesson_of(number)}"), f"check_{number.partition('.')[2]}")


def lesson_of(number: str) -> str:
    """ "07", for "7.1"."""
    return f"{int(number.partition('.')[0]):02d}"


def hint(number: str) -> None:
    """Prints the hint of an exercise: the lines after the first of its check's docstring."""
    print("\n".join(inspect.getdoc(check_of(number)).splitlines()[1:]).strip())


def solution(number: str) -> None:
    """Prints a right answer."""
    sys.path.insert(0, str(ANSWERS))
    print(inspect.getsource(import_module(f"answers_{lesson_of(number)}").RIGHT[number]))


def claim(holds: bool, what: str, **measured: float) -> None:
    """Prints a claim with the numbers behind it. Raises AssertionError where it does not hold."""
    numbers = ", ".join(f"{name} {value:.3g}" for name, value in measured.items())
    print(f"{'holds' if holds else 'DOES NOT HOLD'}: {what} ({numbers})")
    assert holds, what


def show_source(thing: object, first: str = "", last: str = "") -> None:
    """Prints the package's own lines; of a long function those from one that holds `first` to one that holds `last`."""
    lines = inspect.getsource(thing).splitlines(keepends=True)
    start = next(index for index, line in enumerate(lines) if first in line)
    end = next(index for index, line in enumerate(lines[start:], start + 1) if last in line) if last else len(lines)
    print(textwrap.dedent("".join(lines[start:end])))
