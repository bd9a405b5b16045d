"""lite-sora's earlier layout: metadata.json, a JSON array of {"path": "videos/….mp4", "text"}, next to videos/."""

from collections.abc import Iterator
from pathlib import Path

from lite_sora.catalogs.rows import Entry, entries, json_rows
from lite_sora.catalogs.values import text
from lite_sora.data.clip import Clip


def read(path: Path, language: str | None = None, split: str | None = None) -> Iterator[Entry]:
    """One clip for each row, whole files; its id is the path."""

    def clip(row: dict) -> Iterator[Clip]:
        video = text(row, "path")
        yield Clip(video, video, text(row, "text"), language=language, split=split)

    return entries(json_rows(path), clip)
