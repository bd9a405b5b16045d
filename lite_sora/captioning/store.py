"""What captioners have answered, on disk: files that are only ever appended to, so that a run can be killed at any time
and goes on where it was. Curation's store for millions of long texts: only their places are held in memory.

Each process of a torchrun job appends to a file of its own, and finds what all had written when it began.
"""

import json
import os
from array import array
from pathlib import Path

import numpy as np


class Store:
    """Records (dicts) by key, a digest of everything that they depend on, in `folder`/rank-*.jsonl. The last one that
    was added counts, from the next time that the store is opened. 18 bytes of memory for each."""

    def __init__(self, folder: Path, rank: int = 0):
        folder.mkdir(parents=True, exist_ok=True)
        self.paths = sorted(folder.glob("rank-*.jsonl"))
        keys, files, places = array("Q"), array("H"), array("Q")
        for number, path in enumerate(self.paths):
            place = 0
            with path.open("rb") as lines:
                for line in lines:
                    if (record := _parse(line)) is not None:
                        keys.append(_short(record["key"]))
                        files.append(number)
                        places.append(place)
                    place += len(line)
        order = np.argsort(np.asarray(keys), kind="stable")
        self.keys, self.files, self.places = (np.asarray(column)[order] for column in (keys, files, places))
        self.file = os.open(folder / f"rank-{rank}.jsonl", os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        size = os.fstat(self.file).st_size
        if size and os.pread(self.file, 1, size - 1) != b"\n":  # killed in the middle of a line: leave it alone
            os.write(self.file, b"\n")

    def __len__(self) -> int:
        return len(self.keys)

    def get(self, key: str) -> dict | None:
        """What was kept under a key before this store was opened, or None."""
        found = int(np.searchsorted(self.keys, np.uint64(_short(key)), side="right")) - 1
        if found < 0 or self.keys[found] != _short(key):
            return None
        with self.paths[self.files[found]].open("rb") as lines:
            lines.seek(int(self.places[found]))
            record = _parse(lines.readline())
        return record if record and record["key"] == key else None

    def add(self, key: str, record: dict) -> None:
        """Keeps a record: a single write, which another process cannot interrupt."""
        os.write(self.file, (json.dumps({"key": key} | record, ensure_ascii=False) + "\n").encode())

    def close(self) -> None:
        os.close(self.file)


def _short(key: str) -> int:
    """A digest's first 8 bytes."""
    return int(key[:16], 16)


def _parse(line: bytes) -> dict | None:
    """A record; None for a line that was cut off."""
    try:
        record = json.loads(line)
        _short(record["key"])
        return record
    except (ValueError, KeyError, TypeError):
        return None
