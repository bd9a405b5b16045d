"""A folder of videos, each with a .txt or .json next to it: cat.mp4, cat.txt."""

import json
from collections.abc import Iterator
from pathlib import Path

from lite_sora.catalogs.rows import Entry, entries
from lite_sora.catalogs.values import CatalogError, Unusable, window_and_names
from lite_sora.catalogs.videos import SUFFIXES, walk
from lite_sora.data.clip import Clip

LONGEST_TEXT = 2**20  # bytes of a .txt or .json


def read(path: Path, language: str | None = None, split: str | None = None) -> Iterator[Entry]:
    """One clip for each video below the folder, in order of path; its id is the path without the suffix."""
    if not path.is_dir():
        raise CatalogError(f"{path}: not a folder (nor a .tar shard)")

    def clip(video: Path) -> Iterator[Clip]:
        name = video.relative_to(path)
        texts = {}
        for kind in ("txt", "json"):
            file = video.with_suffix(f".{kind}")
            if file.is_file():
                if file.stat().st_size > LONGEST_TEXT:
                    raise Unusable(f"a .{kind} that is too long", name)
                texts[kind] = file.read_bytes()
        yield described(name.with_suffix("").as_posix(), name.as_posix(), texts, language, split)

    return entries(((str(video.relative_to(path)), video) for video in walk(path, SUFFIXES)), clip)


def described(name: str, video: str, texts: dict[str, bytes], language: str | None, split: str | None) -> Clip:
    """The clip `name`, described by its texts. "txt" is one caption. "json" is an object with any of "caption" (or
    "text"), "captions", "start", "end", "language", "split" and "source". The .txt's caption comes first."""
    if not texts:
        raise Unusable("neither a .txt nor a .json next to the video", video)
    row, captions = {}, []
    try:
        if "json" in texts:
            row = json.loads(texts["json"])
        if "txt" in texts:
            captions.append(" ".join(texts["txt"].decode("utf-8-sig").split()))
    except (ValueError, RecursionError) as error:
        raise Unusable("a .txt or .json that cannot be read", f"{video}: {error}") from None
    if not isinstance(row, dict):
        raise Unusable("a .json that is not an object", video)
    more = row.get("captions")
    captions += [row.get("caption"), row.get("text"), *(more if isinstance(more, list) else [])]
    captions = [caption for caption in captions if isinstance(caption, str)]
    return Clip(name, video, "", captions, *window_and_names(row, language, split))
