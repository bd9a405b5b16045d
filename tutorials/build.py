"""Builds notebooks from lessons: python tutorials/build.py [07 08 …] [--again]. Without a number, those that are stale.

A lesson's source is its script. Its notebook holds the same cells with what came of them, and is never edited: a stamp,
the hash of the source, tells whether it is that source's. A translation has the notebook's code and outputs; its
paragraphs stand in zh/NN_name.md, each beneath the hash of the English one, so that a stale one is found.

Lessons run in out/course/, which lesson 01 finds empty, and in which it leaves the model that later ones use. Needed:
pip install nbclient ipykernel.
"""

import argparse
import base64
import hashlib
import io
import json
import os
import re
import resource
import shutil
import sys
import time
from pathlib import Path

from PIL import Image, ImageSequence

COURSE, ROOT = Path(__file__).parent, Path(__file__).parents[1]
WORK = ROOT / "out" / "course"
COVERS = COURSE / "covers"  # the last picture of each lesson, for README.md
COVER_WIDTH = 200
LARGEST = 300_000  # bytes of a notebook


class BuildError(Exception):
    """A lesson that makes no notebook; the message says why, and what to do."""


# ---------------------------------------------------------------- source → cells


def cells_of(source: str) -> list[tuple[str, str]]:
    """("markdown" or "code", text) of each cell of a script in percent format."""
    cells = []
    for part in re.split(r"^# %%", source, flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n")
        if head.strip() == "[markdown]":
            lines = [line.removeprefix("#").removeprefix(" ") for line in body.strip().splitlines()]
            cells.append(("markdown", "\n".join(lines)))
        else:
            cells.append(("code", body.strip("\n")))
    return cells


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def notebook_of(source: str) -> dict:
    """A notebook without outputs. A cell's id is made of its place and text, so that it is the same each time."""
    cells = []
    for place, (kind, text) in enumerate(cells_of(source)):
        cell = {"cell_type": kind, "id": f"{place:02d}-{hash_of(text)}", "metadata": {}, "source": text}
        cells.append(cell | ({"execution_count": None, "outputs": []} if kind == "code" else {}))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}, "lesson": {"source": hash_of(source)}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


# ---------------------------------------------------------------- cells → outputs


def execute(notebook: dict, folder: Path) -> dict:
    """Runs a notebook in `folder`, and keeps what it printed and showed, and its seconds. Raises BuildError."""
    import nbformat  # for the build alone
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    client = NotebookClient(
        nbformat.from_dict(notebook), timeout=900, record_timing=False, resources={"metadata": {"path": str(folder)}}
    )
    start, before = time.perf_counter(), _children_seconds()
    try:
        done = client.execute(env=environment())
    except CellExecutionError as error:
        raise BuildError(str(error)) from None
    for cell in done.cells:
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = [_plain(output) for output in cell.outputs if output.get("name") != "stderr"]  # no bars
    done.metadata.language_info = notebook["metadata"]["language_info"]  # without this Python's version
    done.metadata.lesson |= {
        "seconds": round(time.perf_counter() - start),
        "cpu_seconds": round(_children_seconds() - before),
    }
    return json.loads(nbformat.writes(done))


def environment() -> dict[str, str]:
    """Of a lesson that runs in another folder than its own."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(COURSE), str(ROOT)])}


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _plain(output: dict) -> dict:
    """A picture without the words that stand for it."""
    if "image/png" in output.get("data", {}):
        output["data"] = {"image/png": output["data"]["image/png"]}
    if "execution_count" in output:
        output["execution_count"] = None
    return output


# ---------------------------------------------------------------- what is made of a notebook


def cover_of(notebook: dict) -> bytes:
    """The last picture of a notebook as a small GIF, which plays if the picture does."""
    pictures = [
        output["data"]["image/png"]
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    picture = Image.open(io.BytesIO(base64.b64decode(pictures[-1])))
    size = (COVER_WIDTH, round(picture.height * COVER_WIDTH / picture.width))
    frames, milliseconds = [], []  # each frame's own: one that stands still is stored once, for longer
    for frame in ImageSequence.Iterator(picture):
        frames.append(frame.convert("RGB").resize(size, Image.Resampling.LANCZOS).quantize(64))
        milliseconds.append(frame.info.get("duration", 0))
    first, *others = frames
    data = io.BytesIO()
    if others:
        first.save(data, "GIF", save_all=True, append_images=others, duration=milliseconds, loop=0)
    else:
        first.save(data, "GIF")
    return data.getvalue()


def translated(notebook: dict, translation: str, name: str) -> dict:
    """A notebook with paragraphs of a translation. Raises BuildError where one is missing, or has no original."""
    blocks = re.split(r"^<!-- ([0-9a-f]{12}) -->\n", translation, flags=re.MULTILINE)
    texts = dict(zip(blocks[1::2], (block.strip() for block in blocks[2::2]), strict=True))
    cells = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            english = "".join(cell["source"])
            if hash_of(english) not in texts:
                start = english[:60].replace("\n", " ")
                raise BuildError(f'{name}: translate {hash_of(english)}, which is new or was changed: "{start} …"')
            cell = cell | {"source": texts.pop(hash_of(english))}
        cells.append(cell)
    if texts:
        raise BuildError(f"{name}: {', '.join(texts)} translate nothing any more: remove them")
    return notebook | {"cells": cells}


def row_with_minutes(readme: str, number: str, lesson: dict) -> str:
    """The course's page with the minutes of a lesson: the last column of its row."""
    minutes = f"{lesson['seconds'] / 60:.1f}"
    return re.sub(rf"^(\| .*\]\({number}_\w+\.ipynb\).*\| )[^|]*( \|)$", rf"\g<1>{minutes}\g<2>", readme, flags=re.M)


# ---------------------------------------------------------------- files


def lessons() -> list[Path]:
    return sorted(COURSE.glob("[0-9][0-9]_*.py"))


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def write(path: Path, notebook: dict) -> None:
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def is_stale(lesson: Path) -> bool:
    built = lesson.with_suffix(".ipynb")
    return not built.exists() or read(built)["metadata"]["lesson"]["source"] != hash_of(
        lesson.read_text(encoding="utf-8")
    )


def build(lesson: Path) -> None:
    """Writes a lesson's notebook, its cover, and its minutes on the course's page."""
    number = lesson.name[:2]
    if number == "01":
        shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True, exist_ok=True)
    notebook = execute(notebook_of(lesson.read_text(encoding="utf-8")), WORK)
    size = len(json.dumps(notebook))
    if size > LARGEST:
        raise BuildError(
            f"{lesson.name}: its notebook has {size:,} bytes, more than {LARGEST:,}; show smaller pictures"
        )
    write(lesson.with_suffix(".ipynb"), notebook)
    COVERS.mkdir(exist_ok=True)
    (COVERS / f"{number}.gif").write_bytes(cover_of(notebook))
    page = COURSE / "README.md"
    page.write_text(row_with_minutes(page.read_text("utf-8"), number, notebook["metadata"]["lesson"]), "utf-8")


def build_translations() -> None:
    """Writes the notebook of each translation."""
    for path in sorted(COURSE.glob("zh/*.md")):
        notebook = read(COURSE / f"{path.stem}.ipynb")
        write(path.with_suffix(".ipynb"), translated(notebook, path.read_text(encoding="utf-8"), f"zh/{path.name}"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("numbers", nargs="*", help="two digits each, such as 07")
    parser.add_argument("--again", action="store_true", help="also those that are not stale")
    options = parser.parse_args()
    try:
        for lesson in lessons():
            named = lesson.name[:2] in options.numbers
            if named or not options.numbers and (options.again or is_stale(lesson)):
                print(lesson.name, end=" ", flush=True)
                build(lesson)
                done = read(lesson.with_suffix(".ipynb"))["metadata"]["lesson"]
                print(f"{done['seconds']} s, of CPU {done['cpu_seconds']} s")
        build_translations()
    except BuildError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
