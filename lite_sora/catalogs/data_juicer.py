"""Data-Juicer's JSONL, in both directions (2309.02033, DJ-SORA).

A sample is {"text": "<__dj__video> a caption <|__dj__eoc|>", "videos": ["videos/a.mp4"], …}: the text is cut into
chunks by the end-of-chunk token, and the k-th video token means videos[k]. Paths are relative to the file's own
folder. There are no start and end: Data-Juicer sees whole files. Measured numbers are in "__dj__stats__", one for
each video.
"""

import json
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path, PurePosixPath

from lite_sora.catalogs.rows import Entry, entries, jsonl_rows
from lite_sora.catalogs.values import Unusable, digest, window_and_names
from lite_sora.data.clip import Clip, read_manifest
from lite_sora.storage.files import write_whole

VIDEO, END = "<__dj__video>", "<|__dj__eoc|>"
OTHER_TOKENS = ("<__dj__image>", "<__dj__audio>")
STATS = {  # ours: (theirs, factor) if both mean the same; their motion score, in pixels, does not
    "duration": ("video_duration", 1),
    "width": ("video_width", 1),
    "height": ("video_height", 1),
    "aesthetic": ("video_frames_aesthetics_score", 0.1),  # LAION's scale of 1 to 10, theirs of 0 to 1
}


def read(path: Path, language: str | None = None, split: str | None = None) -> Iterator[Entry]:
    """One clip for each video of each chunk. Keys that `write` adds are read back. A sample without "id" gets one from
    its video and caption, which does not depend on the order."""

    def clips(row: dict) -> Iterator[Clip]:
        videos, content = row.get("videos"), row.get("text")
        if not isinstance(videos, list) or not videos or not all(isinstance(video, str) and video for video in videos):
            raise Unusable('no "videos"')
        if not isinstance(content, str):
            raise Unusable('no "text"')
        if VIDEO not in content and len(videos) == 1:
            content = VIDEO + content.replace(END, " ")
        if content.count(VIDEO) != len(videos):
            raise Unusable("another number of video tokens than of videos", f"{content.count(VIDEO)} for {len(videos)}")
        index = 0
        for chunk in content.split(END):
            for _ in range(chunk.count(VIDEO)):
                yield _clip(row, videos, index, _words(chunk), language, split)
                index += 1

    return entries(jsonl_rows(path), clips)


def _words(chunk: str) -> str:
    for token in (VIDEO, *OTHER_TOKENS):
        chunk = chunk.replace(token, " ")
    return " ".join(chunk.split())


def _clip(row: dict, videos: list[str], index: int, caption: str, language: str | None, split: str | None) -> Clip:
    video, name = videos[index], row.get("id")
    if isinstance(name, (str, int)) and str(name):
        name = f"{name}-{index}" if len(videos) > 1 else str(name)
    else:
        name = f"{PurePosixPath(video).stem}-{digest(video, caption)}"
    more = row.get("captions")
    captions = [caption, *(one for one in more if isinstance(one, str))] if isinstance(more, list) else [caption]
    stats = _stats(row, index, len(videos))
    return Clip(name, video, caption, captions, *window_and_names(row, language, split), stats)


def _stats(row: dict, index: int, count: int) -> dict:
    """Numbers under our names if there are such, else under theirs."""
    stats = dict(row["stats"]) if isinstance(row.get("stats"), dict) else {}
    ours = {theirs: (name, factor) for name, (theirs, factor) in STATS.items()}
    measured = row.get("__dj__stats__")
    for theirs, values in (measured if isinstance(measured, dict) else {}).items():
        value = values[index] if isinstance(values, list) and len(values) == count else None
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            name, factor = ours.get(theirs, (theirs, 1))
            stats[name] = value if factor == 1 else round(value / factor, 9)
    return stats


def write(manifest: Path, out: Path) -> tuple[int, int]:
    """Writes a manifest as Data-Juicer's JSONL, whole or not at all. Returns the number of samples, and of those that
    are windows (start, end) of a longer file, which Data-Juicer would see whole."""
    samples = windows = 0
    prefix = os.path.relpath(manifest.parent.resolve(), out.parent.resolve())

    def write_samples(part: Path) -> None:
        nonlocal samples, windows
        with part.open("w", encoding="utf-8") as lines:
            for clip in read_manifest(manifest, allow_outside=True):  # no video is opened here
                windows += clip.start is not None or clip.end is not None
                samples += 1
                lines.write(json.dumps(_sample(clip, prefix), ensure_ascii=False) + "\n")

    write_whole(out, write_samples)
    return samples, windows


def _sample(clip: Clip, prefix: str) -> dict:
    video = os.path.normpath(os.path.join(prefix, clip.video)).replace(os.sep, "/")
    sample = {"text": f"{VIDEO} {clip.all_captions[0]} {END}", "videos": [video], "id": clip.id}
    for key in ("captions", "start", "end", "language", "split", "source"):
        if getattr(clip, key) not in (None, []):
            sample[key] = getattr(clip, key)
    stats, theirs = dict(clip.stats), {}
    if clip.start is None and clip.end is None:  # for a window they would be wrong: they are those of the whole file
        for name, (key, factor) in STATS.items():
            if isinstance(stats.get(name), (int, float)):
                theirs[key] = [stats.pop(name) * factor]
        width, height = (round(theirs.get(key, [0])[0]) for key in ("video_width", "video_height"))
        if width and height:
            theirs["video_aspect_ratios"] = [str(Fraction(width, height))]
    if stats:
        sample["stats"] = stats
    if theirs:
        sample["__dj__stats__"] = theirs
    return sample
