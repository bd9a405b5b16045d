"""Files that appear whole or not at all, and folders that are made before anything takes long."""

from collections.abc import Callable
from pathlib import Path

from lite_sora.errors import UserError


class FolderError(UserError):
    """A folder that cannot be made; the message names the flag that asks for it."""


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Calls write(temporary path) and moves the result to `path`: a reader sees the old file or the new one. After an
    error the temporary file is removed."""
    part = path.with_name(path.name + ".part")
    try:
        write(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def make_folder(folder: Path, flag: str) -> Path:
    """Makes a folder and those above it. Raises FolderError, which names the flag, if a file is in the way."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderError(f"{flag}: the folder {folder} cannot be made ({error.strerror})") from None
    return folder


def version_of(path: Path) -> tuple[int, int] | None:
    """Size and time of change, which tell a file from another that has taken its place; None without a file."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: the system's encoding has no such name
        return None
    return status.st_size, int(status.st_mtime)
