"""What all commands do alike: they print UTF-8, and end with one line where the user can mend something."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lite_sora.errors import UserError


@contextmanager
def command(name: str, stopped: str = "stopped", mendable=UserError) -> Iterator[None]:
    """`@command("name")` before a command's main. Its output is UTF-8, whatever the system's encoding is; a `mendable`
    error becomes the line "name: its message" on standard error, and Ctrl-C the line "name: `stopped`"."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a notebook has its own
            stream.reconfigure(encoding="utf-8", errors="replace")
    try:
        yield
    except mendable as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"{name}: {stopped}")
