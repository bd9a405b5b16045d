"""Datasets with several clips in each row: Panda-70M, Shot2Story."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lite_sora.catalogs.rows import LONGEST_FIELD, Entry, csv_rows, entries, json_rows
from lite_sora.catalogs.values import (
    Unusable,
    find_video,
    literal_list,
    numbers,
    span,
    split_of_file,
    text,
    walk,
    youtube_id,
)
from lite_sora.data.clip import Clip
from lite_sora.data.video import ClipError, probe

PARTS = ("both", "whole", "shots")  # of Shot2Story
SCORES = ("matching_score", "desirable_filtering", "shot_boundary_detection")


def panda70m(path: Path, split: str | None = None) -> Iterator[Entry]:
    """Panda-70M, 70 million clips of 3.8 million YouTube videos (2402.19479): windows of them, or cut clips.

    `panda70m_training_full.csv` (8.4 GB), `_training_10m`, `_training_2m`, `_validation` and `_testing` have one row
    for each *source video*: videoID, url, and Python-literal lists of equal length, timestamp [["0:00:16.300",
    "0:00:32.566"], …], caption, matching_score, since October 2024 also desirable_filtering and shot_boundary_detection
    (older files lack both). The authors' fork of video2dataset leaves clips on disk that are cut already,
    {shard}/{key}_{clip:05d}.mp4, each with a .json that contains its caption: give that folder as --annotations.
    """
    if path.is_dir():
        names = (name for name in walk(path, (".json",)) if not name.stem.endswith("_stats"))
        rows = ((str(name.relative_to(path)), name) for name in names)
        return entries(rows, lambda name: [_cut(path, name, split)])
    split = split or split_of_file(path)
    return entries(csv_rows(path, ["videoID", "timestamp", "caption"]), lambda row: _sources(row, split))


def _sources(row: dict, split: str | None) -> Iterator[Clip | Unusable]:
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


def shot2story(
    path: Path, parts: str = "both", videos: Path | None = None, split: str | None = None
) -> Iterator[Entry]:
    """Shot2Story, videos of several shots, with a caption for each shot and a summary of all (2312.10300):
    `43k_human_train.json`, `90k_gptv_train.json`, `134k_full_train.json`, `20k_{train,val,test}.json` become whole
    clips with their summary, shots with their captions, or both. Shots without one (the GPT-V part) are skipped.

    The videos are cut from YouTube already: "LEwayCpIk20.78.mp4" is clip 78 of LEwayCpIk20. A shot
    "LEwayCpIk20.78_95_312.mp4" is frames 95 to 312 of it; video_names lists them, so that the official .pkl, which
    could run code, is not needed.
    A shot is its own file if `videos` has that, else a window of the whole clip: seconds = frame / fps, as in the
    official process_videos.py, with the fps of the file. Without `videos` it is its own file.
    """
    split = split or split_of_file(path)

    def clips(row: dict) -> Iterator[Clip | Unusable]:
        video = text(row, "video")
        name = video.removesuffix(".mp4")
        whole = Clip(name, video, "", language="en", split=split, source=name.rpartition(".")[0] or None)
        if parts != "shots":
            try:
                yield replace(whole, caption=text(row, "whole_caption"))
            except Unusable as error:
                yield error
        if parts != "whole":
            yield from _shots(row, whole, videos)

    return entries(json_rows(path), clips)


def _shots(row: dict, whole: Clip, videos: Path | None) -> Iterator[Clip | Unusable]:
    names, captions = row.get("video_names"), row.get("captions")
    if not isinstance(names, list) or not isinstance(captions, list) or len(names) != len(captions):
        raise Unusable('"video_names" and "captions" are not lists of one length', whole.id)
    fps = None
    for name, caption in zip(names, captions, strict=True):
        if not isinstance(name, str) or not isinstance(caption, str):
            yield Unusable("a shot's name or caption that is not a text", whole.id)
            continue
        if not caption.strip():
            continue
        shot = replace(whole, id=name.removesuffix(".mp4"), video=name, caption=caption)
        if videos is None or find_video(videos, name) or not (file := find_video(videos, whole.video)):
            yield shot
            continue
        try:
            fps = fps or probe(videos / file).fps
            yield _window(shot, whole, fps)
        except ClipError as error:
            yield Unusable("a video that cannot be opened", error)
        except Unusable as error:
            yield error


def _window(shot: Clip, whole: Clip, fps: float) -> Clip:
    """The shot {clip}_{first frame}_{last frame} as a window of the whole clip."""
    try:
        _, first, last = shot.id.rsplit("_", 2)  # YouTube ids may contain "_"
        return replace(shot, video=whole.video, start=int(first) / fps, end=int(last) / fps)
    except ValueError:
        raise Unusable("a shot's name without frame numbers", shot.id) from None
