"""Files that appear whole or not at all."""

from collections.abc import Callable
from pathlib import Path


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Calls write(temporary path) and moves the result to `path`: a reader sees the old file or the new one."""
    part = path.with_name(path.name + ".part")
    write(part)
    part.replace(path)
