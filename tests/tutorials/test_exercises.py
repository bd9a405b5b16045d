"""Exercises know right answers from wrong ones, and say which mistake was made. `tutorials/run.py` runs the lessons."""

import re
import sys
from importlib import import_module

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tutorials"))
from exercises import check_of, claim, hint, lesson_of, show_source, solution, verdict

LESSONS = sorted((ROOT / "tutorials").glob("[0-9][0-9]_*.py"))
NUMBERS = [
    f"{int(number[0])}.{number[1]}"
    for number in (
        match
        for lesson in LESSONS
        for match in re.findall(r'@exercise\("(\d+)\.(\d)"\)', lesson.read_text(encoding="utf-8"))
    )
]


ANSWERS = [import_module(f"answers_{lesson.name[:2]}") for lesson in LESSONS]
RIGHT = {number: answer for module in ANSWERS for number, answer in module.RIGHT.items()}
WRONG = {number: answers for module in ANSWERS for number, answers in module.WRONG.items()}


def test_every_lesson_has_three_exercises_and_each_its_answers():
    for lesson in LESSONS:
        assert sum(lesson_of(number) == lesson.name[:2] for number in NUMBERS) >= 3
    assert set(NUMBERS) == RIGHT.keys() == WRONG.keys()
    assert all(len(wrong) >= 2 for wrong in WRONG.values())


@pytest.mark.parametrize("number", NUMBERS)
def test_a_right_answer_is_right(number):
    assert verdict(number, RIGHT[number]).startswith(f"{number}: right. ")


@pytest.mark.parametrize("number, answer, words", [(n, *each) for n in NUMBERS for each in WRONG[n]])
def test_a_wrong_answer_is_told_its_mistake(number, answer, words):
    said = verdict(number, answer)
    assert said.startswith(f"{number}: wrong, because ") and words in said


@pytest.mark.parametrize("number", NUMBERS)
def test_a_stub_is_not_yet_an_answer_and_a_crash_no_end(number):
    assert "not yet" in verdict(number, lambda *_: ...)
    assert "not yet" in verdict(number, lambda *_: None)
    assert "ends with ZeroDivisionError" in verdict(number, lambda *_: 1 / 0)


@pytest.mark.parametrize("number", NUMBERS)
def test_hints_and_solutions_are_printed(number, capsys):
    hint(number)
    assert len(capsys.readouterr().out) > 40
    solution(number)
    assert capsys.readouterr().out.startswith("def right_")


def test_a_part_of_a_long_function_is_shown(capsys):
    show_source(check_of)
    whole = capsys.readouterr().out
    show_source(check_of, "return", "partition")
    assert whole.startswith("def check_of") and capsys.readouterr().out.strip() == whole.splitlines()[1].strip()
    with pytest.raises(StopIteration):
        show_source(check_of, "no such line")


def test_a_claim_that_does_not_hold_ends_the_lesson(capsys):
    claim(2 > 1, "two is more", two=2)
    assert capsys.readouterr().out == "holds: two is more (two 2)\n"
    with pytest.raises(AssertionError, match="one is more"):
        claim(1 > 2, "one is more", one=1)
