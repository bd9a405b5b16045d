"""Annotation files → rows, one at a time: CSV, JSONL, and JSON arrays, which may be a single line.

Every reader yields (where, row). `where` names the file and the line (or the item of an array); a row that cannot be
parsed is an `Unusable` in the row's place. A bar shows how much of the file has been read.
"""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path

from tqdm import tqdm

from lite_sora.catalogs.values import CatalogError, Unusable
from lite_sora.data.clip import Clip

LONGEST_FIELD = 2**24  # characters in one cell or line: a quote that is never closed must not swallow a whole file
CHUNK = 2**20  # characters of a JSON array that are read at a time
SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True)
class Entry:
    """A row's clip, or the reason why there is none. A row may give several entries."""

    where: str
    row: object
    clip: Clip | Unusable


def entries(rows: Iterable[tuple[str, object]], clips: Callable[[dict], Iterable[Clip | Unusable]]) -> Iterator[Entry]:
    """Applies `clips` to every row. `clips` may yield an Unusable for one clip, or raise it for the rest of the row."""
    for where, row in rows:
        if isinstance(row, Unusable):
            yield Entry(where, row.detail, row)
            continue
        try:
            for clip in clips(row):
                yield Entry(where, row, clip)
        except Unusable as error:
            yield Entry(where, row, error)


@contextmanager
def progress(path: Path):
    """A function that takes the position in a file, and draws the bar."""
    with tqdm(total=path.stat().st_size, desc=path.name, unit="B", unit_scale=True, disable=None) as bar:
        yield lambda position: bar.update(position - bar.n)


def csv_header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            return next(csv.reader(file), [])
    except csv.Error as error:
        raise CatalogError(f"{path}: not a CSV file ({error})") from None


def csv_rows(path: Path, needed: Iterable[str]) -> Iterator[tuple[str, dict | Unusable]]:
    """The rows of a CSV file with a header, as dicts. Raises CatalogError if a needed column is missing."""
    header = csv_header(path)
    missing = [name for name in needed if name not in header]
    if missing:
        raise CatalogError(f"{path}: no column {missing[0]!r} among {str(header)[:300]}; is this the official file?")
    csv.field_size_limit(LONGEST_FIELD)  # the default, 128 Ki, is too little for Panda-70M
    with path.open("rb") as file, progress(path) as at:
        # Bytes that are not UTF-8 become surrogates, which a manifest refuses: only that row is reported, not the file.
        lines = csv.reader(TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline=""))
        next(lines)
        while True:
            where = f"{path.name}, line {lines.line_num + 1}"
            try:
                cells = next(lines)
            except StopIteration:
                return
            except csv.Error as error:
                yield where, Unusable("not CSV", error)
                continue
            at(file.tell())
            if len(cells) == len(header):
                yield where, dict(zip(header, cells, strict=True))
            elif cells:
                yield where, Unusable("another number of cells than in the header", cells)


def jsonl_rows(path: Path) -> Iterator[tuple[str, dict | Unusable]]:
    """The objects of a JSONL file."""
    with path.open("rb") as file, progress(path) as at:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_FIELD), b""), 1):
            where = f"{path.name}, line {number}"
            at(file.tell())
            if len(line) == LONGEST_FIELD and not line.endswith(b"\n"):
                raise CatalogError(f"{path}, line {number}: longer than {LONGEST_FIELD} bytes; is this a JSONL file?")
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = Unusable("not JSON", line[:1000].decode(errors="replace"))
            yield where, row if isinstance(row, (dict, Unusable)) else Unusable("not a JSON object", repr(row)[:1000])


def json_rows(path: Path) -> Iterator[tuple[str, dict]]:
    """The objects of a JSON array, however long its lines, with only a few megabytes of it in memory."""
    decoder = json.JSONDecoder()
    with path.open("rb") as file, progress(path) as at:
        text = TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape")
        buffer = text.read(CHUNK)
        position, number, ended = SPACE.match(buffer).end() + 1, 0, False  # everything before `position` is done
        if buffer[position - 1 : position] != "[":
            raise _broken(path, number, "this is not a JSON array of objects")
        while True:  # each round takes a comma and an item, or reads more if the buffer ends too early
            at_item, reason = SPACE.match(buffer, position).end(), "the array is not closed"
            if buffer[at_item : at_item + 1] == "]":
                return
            if number and buffer[at_item : at_item + 1] == ",":
                at_item = SPACE.match(buffer, at_item + 1).end()
            elif number and at_item < len(buffer):
                raise _broken(path, number, f"{buffer[at_item]!r} where a comma should be")
            try:
                row, position = decoder.raw_decode(buffer, at_item)
            except (ValueError, RecursionError) as error:
                reason = error if at_item < len(buffer) else reason
            else:
                if not isinstance(row, dict):
                    raise _broken(path, number, "the next item is not a JSON object")
                number += 1
                yield f"{path.name}, item {number}", row
                continue
            if ended or len(buffer) - position > LONGEST_FIELD:
                raise _broken(path, number, reason)
            more = text.read(max(CHUNK, len(buffer) - position))  # doubling: few tries for a long item
            at(file.tell())
            ended, buffer, position = not more, buffer[position:] + more, 0


def _broken(path: Path, number: int, reason: object) -> CatalogError:
    hint = "download it again if it was cut off, and see --help for the file that this catalog reads"
    return CatalogError(f"{path}, after item {number}: {reason}; {hint}")
