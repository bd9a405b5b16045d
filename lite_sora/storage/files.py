"""Atomic writes: a file appears whole or not at all."""

from collections.abc import Callable
from pathlib import Path


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Calls write(temporary path) and renames the result to `path`. A reader sees the old file or the new one."""
    part = path.with_name(path.name + ".part")
    write(part)
    part.replace(path)
