"""Which functions of lite_sora does `python train.py` run? Each is in a file of the README's reading order, or in one
of the boxes around it.

    python tests/benchmarks/trace_default_run.py            # --functions lists them all

It is the default run with fewer steps and clips. Exits with 1 where a function ran that the README does not name, and
says where it is.
"""

import argparse
import inspect
import os
import re
import sys
import tempfile
import threading
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
SHORT = "--steps 4 --toy-clips 32 --adherence-clips 2 --sample-every 2 --checkpoint-every 2 --batch-size 4 --warmup 2"


def trace() -> dict[str, dict[str, int]]:
    """Runs train.py in the current folder: {file: {function: its number of lines}} of all that ran in lite_sora."""
    seen = set()

    def profile(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(str(ROOT)):
            seen.add(frame.f_code)

    from runpy import run_path

    sys.argv = ["train.py", *SHORT.split()]
    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        run_path(str(ROOT / "train.py"), run_name="__main__")
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    ran = defaultdict(dict)
    for code in seen:
        if code.co_flags & inspect.CO_OPTIMIZED and "<" not in code.co_name:  # functions, not bodies of classes
            lines = {line for _, _, line in code.co_lines() if line}
            file = Path(code.co_filename).relative_to(ROOT).as_posix()
            ran[file][code.co_qualname] = max(lines) - min(lines) + 1
    return ran


def named_in_readme() -> tuple[list[str], list[str]]:
    """The spine's files, and the files and folders of the boxes."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").split("## Reading order")[1].split("\n## ")[0]
    spine = re.findall(r"^\| \d+ \| `([\w/]+\.py)`", text, re.MULTILINE)
    boxes = [row for row in text.splitlines() if row.startswith("| box")]
    return spine, [name for row in boxes for name in re.findall(r"`(lite_sora/[\w/]+(?:\.py)?)`", row)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--functions", action="store_true", help="list every function that ran")
    parser.add_argument("--out", type=Path, help="folder for the run (default: a temporary one)")
    options = parser.parse_args()
    os.chdir(options.out or tempfile.mkdtemp())
    ran, (spine, boxes) = trace(), named_in_readme()
    outside = []
    print(f"\n{'':>8} {'functions':>9} {'lines':>6}  file")
    for file, functions in sorted(ran.items()):
        box = any(file == name or file.startswith(name + "/") for name in boxes)
        place = "spine" if file in spine else "box" if box else "OUTSIDE"
        outside += [file] if place == "OUTSIDE" else []
        print(f"{place:>8} {len(functions):>9} {sum(functions.values()):>6}  {file}")
        if options.functions or place == "OUTSIDE":
            print("".join(f"{'':>26}  {name}\n" for name in sorted(functions)), end="")
    for name in sorted(set(spine) - ran.keys()):
        print(f"{'spine':>8} nothing in it ran: {name}")
    sys.exit(1 if outside or set(spine) - ran.keys() else 0)


if __name__ == "__main__":
    main()
