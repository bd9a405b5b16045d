"""Panda-70M: 70 million clips of 3.8 million YouTube videos (2402.19479).

`panda70m_training_full.csv` (8.4 GB), `_training_10m`, `_training_2m`, `_validation` and `_testing` have one row for
each *source video*: videoID, url, and Python-literal lists of equal length, timestamp [["0:00:16.300", "0:00:32.566"],
…], caption, matching_score, since October 2024 also desirable_filtering and shot_boundary_detection (older files lack
both).

What the authors' fork of video2dataset leaves on disk are clips that are cut already, {shard}/{key}_{clip:05d}.mp4,
with a .json beside each that holds its own caption: give that folder as --annotations.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from lite_sora.data.catalogs.files import walk
from lite_sora.data.catalogs.rows import LONGEST_FIELD, Entry, csv_rows, entries
from lite_sora.data.catalogs.values import (
    Unusable,
    literal_list,
    numbers,
    seconds,
    span,
    split_of_file,
    text,
    youtube_id,
)
from lite_sora.data.clip import Clip


def read(path: Path, split: str | None = None) -> Iterator[Entry]:
    """Clips of whole source videos from a CSV, or cut clips from a folder of video2dataset's."""
    if path.is_dir():
        rows = ((str(name.relative_to(path)), name) for name in walk(path, (".json",)) if "_stats" not in name.stem)
        return entries(rows, lambda name: [_cut(path, name, split)])
    split = split or split_of_file(path)
    return entries(csv_rows(path, ["videoID", "timestamp", "caption"]), lambda row: _windows(row, split))


def _windows(row: dict, split: str | None) -> Iterator[Clip | Unusable]:
    """The clips of one source video: windows of it."""
    source = text(row, "videoID")
    columns = {"timestamp", "caption", "matching_score", "desirable_filtering", "shot_boundary_detection"}
    lists = {name: literal_list(row[name]) for name in columns if row.get(name)}
    if len({len(values) for values in lists.values()}) > 1:
        lengths = {name: len(values) for name, values in lists.items()}
        raise Unusable("lists of different lengths", f"{source}: {lengths}")
    for index, pair in enumerate(lists["timestamp"]):
        name, one = f"{source}_{index:05d}", {key: values[index] for key, values in lists.items()}
        try:
            start, end = span(pair)
            caption = text(one, "caption")
        except Unusable as error:
            yield Unusable(error.reason, f"{name}: {error.detail}")
            continue
        yield Clip(name, f"{source}.mp4", caption, [], start, end, "en", split, source, _stats(one))


def _stats(one: dict) -> dict:
    """Matching score (of 0.43 and more in the 10M and 2M sets), why it may be undesirable, and the number of shots."""
    stats: dict = numbers(one, matching_score="matching_score")
    if isinstance(one.get("desirable_filtering"), str):
        stats["desirable_filtering"] = one["desirable_filtering"]
    if isinstance(one.get("shot_boundary_detection"), (list, tuple)):
        stats["shots"] = len(one["shot_boundary_detection"])
    return stats


def _cut(folder: Path, name: Path, split: str | None) -> Clip:
    """A clip that video2dataset has cut; the whole file is the clip."""
    if name.stat().st_size > LONGEST_FIELD:
        raise Unusable("a .json that is too long", name)
    try:
        row = json.loads(name.read_bytes())
    except (ValueError, RecursionError):
        raise Unusable("not JSON", name) from None
    if not isinstance(row, dict):
        raise Unusable("not a JSON object", name)
    if row.get("status") not in (None, "success"):
        raise Unusable(f"video2dataset: {row['status']}", row.get("error_message") or name)
    source = row.get("videoID") or youtube_id(row.get("url"))
    pair = literal_list(row["clips"])[0] if row.get("clips") else None
    stats = numbers(row, matching_score="matching_score")
    if pair:
        stats |= {"source_start": seconds(pair[0]), "source_end": seconds(pair[1])}
    video = name.relative_to(folder).with_suffix(".mp4").as_posix()
    return Clip(name.stem, video, text(row, "caption"), language="en", split=split, source=source, stats=stats)
