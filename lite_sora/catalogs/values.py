"""The values in an annotation file: times in every notation, Python-literal lists, texts, splits, and videos' paths."""

import ast
import hashlib
import math
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from lite_sora.errors import UserError


class CatalogError(UserError):
    """A file that cannot be read; the message names it and says what to do."""


class Unusable(Exception):
    """A row, or one clip of a row, that cannot be used. Rows are counted by `reason`; `detail` is this one's."""

    def __init__(self, reason: str, detail: object = ""):
        super().__init__(reason)
        self.reason, self.detail = reason, str(detail)


CLOCK = re.compile(r"(?:(\d+) days?, )?(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?)", re.ASCII)
ISO_8601 = re.compile(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?", re.ASCII)
LONGEST_LIST = 4 * 2**20  # characters; Panda-70M's longest cells are some hundred thousand


def seconds(value: object) -> float:
    """A time as seconds: a number, "12.5", "MM:SS", "H:MM:SS.mmm", "1 day, 2:03:04.5", "PT00H01M30S".

    Hours may exceed 24, and the fraction may be missing or have more than six digits, unlike in strptime.
    """
    total = math.nan
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        total = float(value)
    elif isinstance(value, str) and (found := CLOCK.fullmatch(value.strip())):
        days, hours, minutes, rest = (float(part or 0) for part in found.groups())
        total = days * 86400 + hours * 3600 + minutes * 60 + rest
    elif isinstance(value, str) and value.strip() != "PT" and (found := ISO_8601.fullmatch(value.strip())):
        hours, minutes, rest = (float(part or 0) for part in found.groups())
        total = hours * 3600 + minutes * 60 + rest
    if not (math.isfinite(total) and total >= 0):
        raise Unusable("a time that cannot be read", repr(value)[:100])
    return total


def literal_list(value: object) -> list:
    """A list in Python's notation, with '…' and "…" mixed, as pandas writes it. Only literals are read."""
    found = value
    if isinstance(value, str) and len(value) <= LONGEST_LIST:
        with suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            found = ast.literal_eval(value.strip())
    if not isinstance(found, (list, tuple)):
        raise Unusable("a list that cannot be read", repr(value)[:100])
    return list(found)


def span(pair: object) -> tuple[float, float]:
    """(start, end) in seconds of a pair of times."""
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        raise Unusable("a time that cannot be read", repr(pair)[:100])
    return seconds(pair[0]), seconds(pair[1])


def text(row: dict, key: str) -> str:
    """A required text, stripped. Raises Unusable if it is missing."""
    value = row.get(key)
    if isinstance(value, int) and not isinstance(value, bool):  # ids are numbers in some copies of a file
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise Unusable(f'no "{key}"')
    return value.strip()


def numbers(row: dict, **names: str) -> dict[str, float]:
    """{our name: number} for the row's keys that contain one: scores that a release may lack."""
    found = {}
    for name, key in names.items():
        with suppress(TypeError, ValueError):
            if math.isfinite(value := float(row.get(key))):
                found[name] = value
    return found


SPLITS = {"train": "train", "training": "train", "pretrain": "train"}
SPLITS |= {"val": "val", "valid": "val", "validate": "val", "validation": "val", "test": "test", "testing": "test"}


def split_name(name: object) -> str | None:
    """ "validate" → "val". An unknown name is returned unchanged."""
    return SPLITS.get(name.lower(), name) if isinstance(name, str) and name else None


def window_and_names(row: dict, language: str | None, split: str | None) -> tuple:
    """(start, end, language, split, source) of a row with these keys, each of which may be missing; `language` and
    `split` override the row's."""
    start, end = (None if row.get(key) is None else seconds(row[key]) for key in ("start", "end"))
    known = {key: row[key] if isinstance(row.get(key), str) else None for key in ("language", "split", "source")}
    return start, end, language or known["language"], split or split_name(known["split"]), known["source"]


def split_of_file(path: Path) -> str | None:
    """The split in a file's name, as in results_10M_val.csv; None if there is none, or two."""
    found = {SPLITS[word] for word in re.split(r"[^a-z]+", path.stem.lower()) if word in SPLITS}
    return found.pop() if len(found) == 1 else None


def youtube_id(url: object) -> str | None:
    """The id in https://www.youtube.com/watch?v=… or https://youtu.be/…"""
    found = re.search(r"(?:[?&]v=|youtu\.be/)([\w-]{11})(?![\w-])", url, re.ASCII) if isinstance(url, str) else None
    return found.group(1) if found else None


def digest(*texts: str) -> str:
    """Twelve hexadecimal digits of a hash of these texts, for ids that do not depend on the order of rows."""
    return hashlib.blake2b("\0".join(texts).encode(errors="replace"), digest_size=6).hexdigest()


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
