"""What has been measured, on disk: files that are only ever appended to, so that a run can be killed at any time and
goes on where it was, and a threshold can be changed without measuring again.

A line holds what was measured of one clip in one visit, each value under a digest of everything that it depends on.
Each process of a torchrun job appends to a file of its own, and reads those of all.
"""

import json
import os
from hashlib import blake2b
from pathlib import Path
from typing import Any


def digest(*parts: Any) -> str:
    """A short name for the values in `parts` (anything that JSON can hold)."""
    return blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=9).hexdigest()


class Store:
    """Values by (clip id, digest), in `folder`/rank-*.jsonl."""

    def __init__(self, folder: Path, rank: int = 0):
        self.path, self.values = folder / f"rank-{rank}.jsonl", {}
        folder.mkdir(parents=True, exist_ok=True)
        self.read()
        self.file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        size = os.fstat(self.file).st_size
        if size and os.pread(self.file, 1, size - 1) != b"\n":  # killed in the middle of a line: leave it alone
            os.write(self.file, b"\n")

    def read(self) -> None:
        """Reads what all processes have written so far. Lines that were cut off count as never written."""
        for path in sorted(self.path.parent.glob("rank-*.jsonl")):
            with path.open("rb") as lines:
                for line in lines:
                    try:
                        row = json.loads(line)
                        self.values |= {(row["id"], key): value for key, value in row["values"].items()}
                    except (ValueError, KeyError, TypeError, AttributeError):
                        continue

    def get(self, id: str, key: str) -> Any:
        """The value of a clip under a digest, or None."""
        return self.values.get((id, key))

    def add(self, id: str, values: dict[str, Any]) -> None:
        """Keeps {digest: value} of one clip: a single write, which another process cannot interrupt."""
        line = json.dumps({"id": id, "values": values}, ensure_ascii=False, allow_nan=False) + "\n"
        os.write(self.file, line.encode())
        self.values |= {(id, key): value for key, value in values.items()}

    def close(self) -> None:
        os.close(self.file)
