"""Entries of any catalog → a manifest, and a report of what could not be used. Checked here, for all datasets: videos
exist, paths do not leave their folder, ids are unique, captions are there where a catalog has them, times are in
order."""

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path

from lite_sora.catalogs.rows import Entry
from lite_sora.catalogs.values import CatalogError, Unusable, find_video, leaves
from lite_sora.data.clip import Clip, captioning_command, write_manifest
from lite_sora.storage.files import write_whole
from lite_sora.storage.journal import scratch

SHOWN = 3  # rejected rows of each reason that are printed; all of them are in the side file


@dataclass(frozen=True)
class Source:
    """One annotation file or folder, with the folder that its videos are relative to."""

    entries: Iterable[Entry]
    folder: Path | None = None  # None: unknown, so paths are written as the dataset has them
    must_exist: bool = True
    captioned: bool = True  # whether a clip without a caption is rejected


@dataclass
class Report:
    """What was written, and the rows that could not be used: how many for each reason, and the first of them."""

    clips: int = 0
    outside: int = 0  # clips whose videos are outside the manifest's folder
    captionless: int = 0
    rejected: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    first: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def lines(self, out: Path) -> Iterator[str]:
        yield f"{out}: {self.clips} clips"
        if self.outside:
            yield f"{self.outside} of them are outside the manifest's folder: read it with --allow-outside"
        if self.captionless:
            yield f"{self.captionless} of them have no caption; describe them: {captioning_command(out)}"
        if self.rejected:
            yield f"{sum(self.rejected.values())} rows could not be used; all of them are in {side_file(out)}"
        for reason, count in sorted(self.rejected.items(), key=lambda item: -item[1]):
            yield f"{count:>10}  {reason}"
            yield from (" " * 12 + line for line in self.first[reason])


def side_file(out: Path) -> Path:
    return out.with_suffix(".rejected.jsonl")


def convert(sources: Iterable[Source], out: Path, limit: int | None = None) -> Report:
    """Writes the manifest `out`, and next to it NAME.rejected.jsonl with {"where", "reason", "detail", "row"} for every
    row that could not be used. The memory does not grow with the rows, unless that of a source does."""
    report = Report()

    def write_both(part: Path) -> None:
        with part.open("w", encoding="utf-8", errors="backslashreplace") as lines:
            clips = islice(_usable(sources, str(out.parent.resolve()), report, lines), limit)
            first = next(clips, None)
            if first is not None:
                report.clips = write_manifest(out, chain([first], clips))

    write_whole(side_file(out), write_both)
    if not report.rejected:
        side_file(out).unlink()
    return report


def _usable(sources: Iterable[Source], home: str, report: Report, side) -> Iterator[Clip]:
    used = Used()
    for source in sources:
        folder = str(source.folder.resolve()) if source.folder else home
        must_exist = source.must_exist and source.folder is not None
        for entry in source.entries:
            try:
                if isinstance(entry.clip, Unusable):
                    raise entry.clip
                if source.captioned and not entry.clip.has_caption:
                    raise Unusable("no caption")
                clip = _checked(entry.clip, folder, must_exist, home)
                if not used.add(clip.id):
                    raise Unusable("a second clip of the same id", clip.id)
            except Unusable as error:
                _reject(entry, error, report, side)
                continue
            report.outside += leaves(clip.video)
            report.captionless += not clip.caption
            yield clip


def _checked(clip: Clip, folder: str, must_exist: bool, home: str) -> Clip:
    """A clip as it goes into a manifest in `home`; before, its path is relative to `folder`. (Both are strings: a
    Path for each of ten million rows would take longer than all the rest.)"""
    captions = list(dict.fromkeys(caption.strip() for caption in clip.all_captions if caption.strip()))
    if clip.start is not None and clip.end is not None and not clip.start < clip.end:
        raise Unusable("ends before it starts", f"{clip.start} to {clip.end} s")
    try:
        "".join((clip.id, clip.video, *captions)).encode()
    except UnicodeEncodeError:
        raise Unusable("text that is not valid Unicode") from None
    video = find_video(folder, clip.video) if must_exist else clip.video
    if video is None:
        raise Unusable("no such video file", clip.video)
    if leaves(video):
        raise Unusable("a path that leads out of the folder; name the folder of the videos with --videos", video)
    path = os.path.relpath(f"{folder}/{video}", home).replace(os.sep, "/")
    return replace(clip, video=path, caption="".join(captions[:1]), captions=captions if len(captions) > 1 else [])


def _reject(entry: Entry, error: Unusable, report: Report, side) -> None:
    report.rejected[error.reason] += 1
    row = entry.row if isinstance(entry.clip, Unusable) else {"id": entry.clip.id, "video": entry.clip.video}
    row = json.dumps(row, ensure_ascii=False, default=str)
    known = {"where": entry.where, "reason": error.reason, "detail": error.detail}
    side.write(json.dumps(known, ensure_ascii=False)[:-1] + f', "row": {row}}}\n')
    if len(report.first[error.reason]) < SHOWN:
        shown = f"{entry.where}: {error.detail or row}"
        report.first[error.reason].append(shown if len(shown) < 400 else shown[:400] + " …")


class Used:
    """The ids that have been used, in a temporary database with 64 MiB in memory: a set would grow with the file."""

    def __init__(self):
        self.ids = scratch()
        self.ids.executescript("PRAGMA synchronous = OFF; PRAGMA cache_size = -65536")
        self.ids.execute("CREATE TABLE ids (id TEXT PRIMARY KEY) WITHOUT ROWID")

    def add(self, name: str) -> bool:
        """Returns False if the id was there already."""
        return self.ids.execute("INSERT OR IGNORE INTO ids VALUES (?)", (name,)).rowcount == 1


def check_inputs(annotations: list[Path], out: Path) -> None:
    """Raises CatalogError for a file that is not there, and for what would be overwritten."""
    for path in annotations:
        if not path.exists():
            raise CatalogError(f"{path}: there is no such file; see --help for where to get it")
        if path.resolve() == out.resolve():
            raise CatalogError(f"{out}: --out would overwrite the annotations; choose another name")
