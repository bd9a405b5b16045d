"""What was measured or answered, on disk: files that are only appended to, so that a killed run resumes where it was.

A line holds what was found about one clip, each value under a digest of everything that it depends on. Each process of
a torchrun job appends to a file of its own and reads all files. An index on disk says where each clip's lines are, so
that millions of clips need no memory.
"""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any


def digest(*parts: Any) -> str:
    """A short name for the values in `parts` (anything that JSON can hold)."""
    return blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=9).hexdigest()


def scratch() -> sqlite3.Connection:
    """A database in a temporary file without a name, which is deleted when it is closed or the process ends."""
    database = sqlite3.connect("")
    database.execute("PRAGMA journal_mode = OFF")  # nothing is ever rolled back
    return database


class Journal:
    """Values by (clip id, digest), in `folder`/rank-*.jsonl; len() counts lines. The latest value counts."""

    def __init__(self, folder: Path, rank: int = 0):
        self.path, self.files, self.index = folder / f"rank-{rank}.jsonl", [], scratch()
        self.own = self.path.open("ab+", buffering=0)
        size = self.own.seek(0, os.SEEK_END)
        if size and os.pread(self.own.fileno(), 1, size - 1) != b"\n":  # killed in the middle of a line: leave it alone
            self.own.write(b"\n")
        self.read()

    def read(self) -> None:
        """Finds what all processes have written so far. Lines that were cut off count as never written."""
        self.last: tuple[str | None, dict] = None, {}  # the clip that `get` was called for last, and all its values
        others = set(self.path.parent.glob("rank-*.jsonl")) - {self.path}
        self.files = [self.own, *(path.open("rb") for path in sorted(others))]
        self.index.executescript("DROP TABLE IF EXISTS lines; CREATE TABLE lines (id, file, offset, length)")
        for number, path in enumerate([self.path, *sorted(others)]):
            self.index.executemany("INSERT INTO lines VALUES (?, ?, ?, ?)", _lines(path, number))
        self.index.execute("CREATE INDEX ids ON lines (id)")

    def __len__(self) -> int:
        return self.index.execute("SELECT count(*) FROM lines").fetchone()[0]

    def get(self, id: str, key: str) -> Any:
        """The value of a clip under a digest, or None."""
        if self.last[0] != id:
            self.last = id, {}
            where = "SELECT file, length, offset FROM lines WHERE id = ? ORDER BY rowid"
            for file, length, offset in self.index.execute(where, (id,)):
                self.last[1].update(_parse(os.pread(self.files[file].fileno(), length, offset))[1])
        return self.last[1].get(key)

    def add(self, id: str, values: dict[str, Any]) -> None:
        """Keeps {digest: value} of one clip: a single write, which another process cannot interrupt."""
        line = (json.dumps({"id": id, "values": values}, ensure_ascii=False, allow_nan=False) + "\n").encode()
        offset = self.own.seek(0, os.SEEK_END)  # no other process appends to this file
        self.own.write(line)
        self.index.execute("INSERT INTO lines VALUES (?, 0, ?, ?)", (id, offset, len(line)))
        if self.last[0] == id:
            self.last[1].update(values)

    def close(self) -> None:
        for file in self.files:
            file.close()
        self.index.close()


def _lines(path: Path, number: int) -> Iterator[tuple[str, int, int, int]]:
    """(clip id, number of the file, offset, length) of each whole line of a file."""
    offset = 0
    with path.open("rb") as lines:
        for line in lines:
            with suppress(ValueError, KeyError, TypeError):
                yield _parse(line)[0], number, offset, len(line)
            offset += len(line)


def _parse(line: bytes) -> tuple[str, dict[str, Any]]:
    """(clip id, values) of a line; captioning once wrote one value a line, as {"key": digest, "id": …, …}."""
    row = json.loads(line)
    values = {row["key"]: row} if "key" in row else row["values"]
    if not isinstance(row["id"], str) or not isinstance(values, dict):
        raise ValueError("not a line of a journal")
    return row["id"], values
