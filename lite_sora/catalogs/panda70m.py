"""Panda-70M: 70 million clips of 3.8 million YouTube videos (2402.19479).

`panda70m_training_full.csv` (8.4 GB), `_training_10m`, `_training_2m`, `_validation` and `_testing` have one row for
each *source video*: videoID, url, and Python-literal lists of equal length, timestamp [["0:00:16.300", "0:00:32.566"],
…], caption, matching_score, since October 2024 also desirable_filtering and shot_boundary_detection (older files lack
both).

The authors' fork of video2dataset leaves clips on disk that are cut already, {shard}/{key}_{clip:05d}.mp4,
each with a .json that contains its caption: give that folder as --annotations.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from lite_sora.catalogs.rows import LONGEST_FIELD, Entry, csv_rows, entries
from lite_sora.catalogs.values import Unusable, literal_list, numbers, span, split_of_file, text, walk, youtube_id
from lite_sora.data.clip import Clip

SCORES = ("matching_score", "desirable_filtering", "shot_boundary_detection")


def read(path: Path, split: str | None = None) -> Iterator[Entry]:
    """Clips of whole source videos from a CSV, or cut clips from a folder of video2dataset's."""
    if path.is_dir():
        names = (name for name in walk(path, (".json",)) if not name.stem.endswith("_stats"))
        rows = ((str(name.relative_to(path)), name) for name in names)
        return entries(rows, lambda name: [_cut(path, name, split)])
    split = split or split_of_file(path)
    return entries(csv_rows(path, ["videoID", "timestamp", "caption"]), lambda row: _windows(row, split))


def _windows(row: dict, split: str | None) -> Iterator[Clip | Unusable]:
    """The clips of one source video: windows of it."""
    source = text(row, "videoID")
    lists = {name: literal_list(row[name]) for name in ("timestamp", "caption")}
    lists |= {name: literal_list(row[name]) for name in SCORES if row.get(name)}
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
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
    """A clip that video2dataset has cut; the whole file is the clip. Its id is the same as from the CSV."""
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
    source = row["videoID"] if isinstance(row.get("videoID"), str) else youtube_id(row.get("url"))
    number = name.stem.rpartition("_")[2]
    stats = _stats({key: _of_clip(row[key], number) for key in SCORES if key in row})
    if spans := literal_list(row.get("clips") or []):
        stats["source_start"], stats["source_end"] = span(spans[0])
    video = name.relative_to(folder).with_suffix(".mp4").as_posix()
    clip = f"{source}_{number}" if source else name.stem
    return Clip(clip, video, text(row, "caption"), language="en", split=split, source=source, stats=stats)


def _of_clip(value: object, number: str) -> object:
    """One clip's value: video2dataset picks its matching score, and leaves the other lists as they are for all."""
    try:
        return literal_list(value)[int(number)]
    except (Unusable, ValueError, IndexError):
        return value
