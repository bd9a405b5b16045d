"""A folder of videos, each with a .txt or .json beside it: cat.mp4, cat.txt."""

import json
from collections.abc import Iterator
from pathlib import Path

from lite_sora.catalogs.rows import Entry, entries
from lite_sora.catalogs.values import CatalogError, Unusable, seconds, split_name
from lite_sora.catalogs.videos import SUFFIXES, walk
from lite_sora.data.clip import Clip

LONGEST_TEXT = 2**20  # bytes of a .txt or .json beside a video


def read(path: Path, language: str | None = None, split: str | None = None) -> Iterator[Entry]:
    """One clip for each video below the folder, in order of path; its id is the path without the suffix."""
    if not path.is_dir():
        raise CatalogError(f"{path}: not a folder (nor a .tar shard)")

    def clip(video: Path) -> Iterator[Clip]:
        name = video.relative_to(path)
        texts = {}
        for kind in ("txt", "json"):
            beside = video.with_suffix(f".{kind}")
            if beside.is_file():
                if beside.stat().st_size > LONGEST_TEXT:
                    raise Unusable(f"a .{kind} that is too long", name)
                texts[kind] = beside.read_bytes()
        yield described(name.with_suffix("").as_posix(), name.as_posix(), texts, language, split)

    return entries(((str(video.relative_to(path)), video) for video in walk(path, SUFFIXES)), clip)


def described(name: str, video: str, texts: dict[str, bytes], language: str | None, split: str | None) -> Clip:
    """The clip `name` with what stands beside it: "txt" is one caption; "json" is an object with "caption" (or
    "text"), "captions", "start", "end", "language", "split" and "source", as far as it has them. The .txt's caption
    goes first."""
    if not texts:
        raise Unusable("no .txt and no .json beside the video", video)
    row, captions = {}, []
    try:
        if "json" in texts:
            row = json.loads(texts["json"])
        if "txt" in texts:
            captions.append(" ".join(texts["txt"].decode("utf-8-sig").split()))
    except (ValueError, RecursionError) as error:
        raise Unusable("a .txt or .json that cannot be read", f"{video}: {error}") from None
    if not isinstance(row, dict):
        raise Unusable("a .json that is no object", video)
    more = row.get("captions")
    captions += [row.get("caption"), row.get("text"), *(more if isinstance(more, list) else [])]
    captions = [caption for caption in captions if isinstance(caption, str)]
    start, end = (None if row.get(key) is None else seconds(row[key]) for key in ("start", "end"))
    known = {key: row[key] if isinstance(row.get(key), str) else None for key in ("language", "split", "source")}
    return Clip(
        name,
        video,
        "",
        captions,
        start,
        end,
        language or known["language"],
        split or split_name(known["split"]),
        known["source"],
    )
