"""Runs lessons as scripts, one after another, and prints how long each took: python tutorials/run.py [07 08 …].

They run in one temporary folder, so that lesson 01 trains the model that later ones use. Exits with 1 where one fails.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("numbers", nargs="*", help="two digits each, such as 07 (default: all)")
    numbers = parser.parse_args().numbers
    lessons = [path for path in sorted(Path(__file__).resolve().parent.glob("[0-9][0-9]_*.py"))]
    chosen = [path for path in lessons if not numbers or path.name[:2] in numbers]
    if unknown := {*numbers} - {path.name[:2] for path in lessons}:
        parser.error(f"there is no lesson {', '.join(sorted(unknown))}")

    rows, failed = [], False
    with tempfile.TemporaryDirectory() as folder:
        for path in chosen:
            start, before = time.perf_counter(), cpu_seconds()
            done = subprocess.run([sys.executable, path], cwd=folder, capture_output=True, encoding="utf-8")
            failed |= bool(done.returncode)
            if done.returncode:
                print(f"{done.stdout}\n{done.stderr[-5000:]}")
            rows.append((path.stem, time.perf_counter() - start, cpu_seconds() - before, done.stdout.count("holds: ")))
            print(row(*rows[-1], "FAILED" if done.returncode else ""), flush=True)
    print(row("all", *(sum(column) for column in zip(*(numbers for _, *numbers in rows), strict=True))))
    sys.exit(failed)


def cpu_seconds() -> float:
    """Of all processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def row(name: str, seconds: float, cpu: float, claims: int, more: str = "") -> str:
    return f"{name:<20}{seconds / 60:6.1f} min{cpu / 60:6.1f} CPU-min{claims:4} claims hold  {more}".rstrip()


if __name__ == "__main__":
    main()
