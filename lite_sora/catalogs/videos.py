"""Where a dataset's videos are on disk."""

import os
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".flv", ".m4v")  # the likeliest first


def leaves(video: str) -> bool:
    """Whether a path leads out of the folder that it is relative to."""
    return video.startswith("/") or ".." in video.split("/")


def find_video(folder: Path | str, video: str) -> str | None:
    """The file of `video` below `folder`, as a path relative to it, or None.

    `video` is the dataset's path. Other suffixes are tried too, since downloads come in any container, and the path
    without its leading folders, so that `folder` may be one of these.
    """
    stem, suffix = os.path.splitext(video)
    parts = [part for part in stem.split("/") if part not in ("", ".")]
    first = max((index + 1 for index, part in enumerate(parts) if part == ".."), default=0)
    for start in range(first, len(parts)):
        for ending in dict.fromkeys((suffix, *SUFFIXES)):
            path = "/".join(parts[start:]) + ending
            if os.path.isfile(f"{folder}/{path}"):
                return path
    return None


def walk(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """The files below `folder` that end in one of `suffixes`, in order. Holds one folder's names at a time."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(suffixes) and not name.startswith("."):
                yield Path(root, name)
