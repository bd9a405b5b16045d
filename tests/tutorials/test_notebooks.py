"""Notebooks are what was built from their lessons, and show what every viewer can; translations are up to date."""

import ast
import json
import re
import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tutorials"))
import build

COURSE = build.COURSE
LESSONS = build.lessons()
each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)


def source_of(lesson):
    return lesson.read_text(encoding="utf-8")


@each_lesson
def test_a_notebook_is_the_one_built_from_its_lesson(lesson):
    assert not build.is_stale(lesson), f"run: python tutorials/build.py {lesson.name[:2]}"
    made, fresh = build.read(lesson.with_suffix(".ipynb")), build.notebook_of(source_of(lesson))
    assert [(cell["id"], "".join(cell["source"])) for cell in made["cells"]] == [
        (cell["id"], cell["source"]) for cell in fresh["cells"]
    ]


@each_lesson
def test_a_notebook_shows_what_every_viewer_can(lesson):
    made = build.read(lesson.with_suffix(".ipynb"))
    outputs = [output for cell in made["cells"] for output in cell.get("outputs", [])]
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert {kind for output in outputs for kind in output.get("data", {})} <= {"image/png", "text/plain"}
    assert all(output["name"] == "stdout" for output in outputs if output["output_type"] == "stream")
    assert not re.search(r"/(root|home|tmp|Users|work)/", json.dumps([o for o in outputs if "text" in o]))
    assert lesson.with_suffix(".ipynb").stat().st_size <= build.LARGEST


def test_the_course_is_small():
    assert sum(path.stat().st_size for path in COURSE.glob("*.ipynb")) <= 4_000_000


@each_lesson
def test_a_lesson_is_as_long_as_a_lesson(lesson):
    cells = build.cells_of(source_of(lesson))
    words = sum(len(text.split()) for kind, text in cells if kind == "markdown")
    lines = [line for kind, text in cells if kind == "code" for line in text.splitlines()]
    code = sum(bool(line.strip()) and not line.strip().startswith("#") for line in lines)
    assert 900 <= words <= 1300 and 80 <= code <= 140, f"{words} words, {code} lines of code"


@each_lesson
def test_the_shop_window_has_the_lesson(lesson):
    number, page = lesson.name[:2], (COURSE / "README.md").read_text(encoding="utf-8")
    minutes = build.read(lesson.with_suffix(".ipynb"))["metadata"]["lesson"]["seconds"] / 60
    row = next(line for line in page.splitlines() if f"]({lesson.stem}.ipynb)" in line)
    assert row.endswith(f"| {minutes:.1f} |") and f"(covers/{number}.gif)" in row
    question = re.search(r"\*\*(.*?\?)\*\*", source_of(lesson).replace("\n# ", " ")).group(1)
    assert question in row


def test_a_script_becomes_cells():
    source = "# %% [markdown]\n# # Title\n#\n#     code in text\n\n# %%\nx = 1\n\n\n# %%\nprint(x)  # %% no cell\n"
    assert build.cells_of(source) == [
        ("markdown", "# Title\n\n    code in text"),
        ("code", "x = 1"),
        ("code", "print(x)  # %% no cell"),
    ]
    assert build.notebook_of(source) == build.notebook_of(source) != build.notebook_of(source + "\n")


@pytest.mark.parametrize("path", sorted(COURSE.glob("zh/*.md")), ids=lambda path: path.stem)
def test_a_translation_is_up_to_date(path):
    original = build.read(COURSE / f"{path.stem}.ipynb")
    made = build.translated(original, path.read_text(encoding="utf-8"), path.name)
    assert made == build.read(path.with_suffix(".ipynb"))
    for cell, other in zip(original["cells"], made["cells"], strict=True):
        assert cell == other or cell["cell_type"] == "markdown"


def test_a_translation_that_is_stale_is_named():
    notebook = build.notebook_of("# %% [markdown]\n# Hello\n\n# %%\nx = 1\n")
    good = f"<!-- {build.hash_of('Hello')} -->\n你好\n"
    assert build.translated(notebook, good, "07.md")["cells"][0]["source"] == "你好"
    with pytest.raises(build.BuildError, match='07.md: translate .* "Hello …"'):
        build.translated(notebook, good.replace(build.hash_of("Hello"), "0" * 12), "07.md")
    with pytest.raises(build.BuildError, match="000000000000 translate nothing any more"):
        build.translated(notebook, good + f"\n<!-- {'0' * 12} -->\n你好\n", "07.md")


def test_a_notebook_keeps_what_its_cells_printed_and_showed(tmp_path):
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    source = (
        "# %%\nimport sys\nfrom PIL import Image\nfrom exercises import exercise\nfrom pictures import film\n"
        'import numpy as np\nprint("bar", file=sys.stderr)\nprint("shown")\n\n'
        '# %%\n@exercise("7.3")\ndef patch(): ...\n\n\n'
        '# %%\nfilm([np.random.randint(0, 255, (3, 32, 32, 3), np.uint8)] * 2, ["a", "b"], "x")\n'
    )
    made = build.execute(build.notebook_of(source), tmp_path)
    printed, verdict, pictures = (cell["outputs"] for cell in made["cells"])
    assert ["".join(output["text"]) for output in printed] == ["shown\n"]
    assert "not yet" in "".join(verdict[0]["text"])
    assert [list(output["data"]) for output in pictures] == [["image/png"]] * 2
    cover = build.cover_of(made)
    assert cover.startswith(b"GIF89a") and cover.count(b"\x21\xf9\x04") == 3  # three frames
    with pytest.raises(build.BuildError, match="ZeroDivisionError"):
        build.execute(build.notebook_of("# %%\n1 / 0\n"), tmp_path)


@each_lesson
def test_a_lesson_never_retypes_the_package(lesson):
    """No function of a lesson has the body of a function of the package."""
    bodies = {
        ast.dump(ast.Module(node.body, []))
        for path in (ROOT / "lite_sora").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    for node in ast.walk(ast.parse(source_of(lesson))):
        if isinstance(node, ast.FunctionDef) and len(node.body) > 1:
            assert ast.dump(ast.Module(node.body, [])) not in bodies, node.name
