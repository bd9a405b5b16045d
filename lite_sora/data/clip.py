"""A clip is one training example: a part of a video file and its caption. A manifest is a JSONL file of clips.

Manifests are read and written a row at a time, so a file of millions of rows needs no more memory than one row.
"""

import json
import math
import os
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path

from lite_sora.errors import UserError
from lite_sora.storage.files import write_whole


class ManifestError(UserError):
    """A manifest that cannot be used; the message names the file and the row."""


@dataclass(frozen=True)
class Clip:
    """One row of a manifest. `start` and `end` are seconds in `video`; None means the whole file."""

    id: str
    video: str  # path, relative to the manifest's folder
    caption: str
    captions: list[str] = field(default_factory=list)  # all of them, if there are several
    start: float | None = None
    end: float | None = None
    language: str | None = None
    split: str | None = None
    source: str | None = None  # the video that it was cut from: clips of one source belong in one split
    stats: dict = field(default_factory=dict)  # what curation has measured, and more

    @property
    def all_captions(self) -> list[str]:
        return self.captions or [self.caption]

    @property
    def has_caption(self) -> bool:
        """Whether one of them is more than white space."""
        return any(caption.strip() for caption in self.all_captions)

    @property
    def original_captions(self) -> list[str]:
        """Its captions before `captioning/` replaced them; an empty list if it did not."""
        history = self.stats.get("captioning")
        first = history[0] if isinstance(history, list) and history else None
        if not isinstance(first, dict) or first.get("model") is not None:
            return []
        several = first.get("captions")
        texts = several if isinstance(several, list) and several else [first.get("caption")]
        return [text for text in texts if isinstance(text, str) and text.strip()]

    def signal(self, name: str) -> float:
        """A number in its stats, such as what curation has measured; NaN where there is none."""
        value = self.stats.get(name)
        return float(value) if isinstance(value, int | float) else math.nan

    @property
    def for_training(self) -> bool:
        """Whether its split says so, or there are no splits."""
        return self.split in (None, "train")


KEYS = {item.name for item in fields(Clip)}


def read_manifest(path: Path | str, allow_outside: bool = False) -> Iterator[Clip]:
    """Yields the clips of a JSONL manifest one by one. Keys that `Clip` does not have are ignored.

    A video's path may not leave the manifest's folder (no absolute path, no "..", no link that leads outside)
    unless `allow_outside` is set: a manifest from elsewhere must not be able to read any file on this machine.
    Raises ManifestError, with the file and the line, for a row that is not a clip.
    """
    for _, row in read_rows(path, allow_outside):
        if isinstance(row, ManifestError):
            raise row
        yield row


def read_rows(path: Path | str, allow_outside: bool = False) -> Iterator[tuple[int, Clip | ManifestError]]:
    """The same with each line's number; for a row that is not a clip it yields the error instead of raising it."""
    path = Path(path)
    check_manifest(path)
    folder = path.parent.resolve()
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    clip = _parse(line, f"{path}, line {number}")
                    if not allow_outside and not _inside(folder, clip.video):
                        raise ManifestError(
                            f"{path}, line {number}: video {clip.video!r} is outside the manifest's folder; "
                            "pass --allow-outside if you trust this manifest"
                        )
                except ManifestError as error:
                    clip = error
                yield number, clip


def _inside(folder: Path, video: str) -> bool:
    try:
        path = (folder / video).resolve()
        return path.is_relative_to(folder) and not path.is_symlink()  # a link that stays one leads in a circle
    except (OSError, RuntimeError, ValueError):  # circular links, before Python 3.13; a zero byte in the name
        return False


def _parse(line: bytes, where: str) -> Clip:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:  # ValueError also for bytes that are not UTF-8
        raise ManifestError(f"{where}: not JSON ({error})") from None
    if not isinstance(row, dict):
        raise ManifestError(f'{where}: a row is a JSON object, like {{"id": …, "video": …, "caption": …}}')
    if not isinstance(row.get("video"), str) or not row["video"]:
        raise ManifestError(f'{where}: no "video", the path of the file')
    row = {"id": f"{Path(row['video']).stem}", "caption": ""} | {
        k: v for k, v in row.items() if k in KEYS and v is not None
    }
    wanted = {"id": str, "caption": str, "captions": list, "start": (int, float), "end": (int, float), "stats": dict}
    wanted |= {"language": str, "split": str, "source": str}
    for key, kind in wanted.items():
        if key in row and (not isinstance(row[key], kind) or isinstance(row[key], bool)):
            raise ManifestError(f'{where}: "{key}" is {row[key]!r}, which is not of the right type')
    if not all(isinstance(caption, str) for caption in row.get("captions", [])):
        raise ManifestError(f'{where}: "captions" contains something that is not a text')
    if not 0 <= row.get("start", 0) < row.get("end", math.inf):
        raise ManifestError(f'{where}: "start" and "end" are seconds, with 0 <= start < end')
    if b"\\ud" in line.lower():  # JSON can contain half of a character, which cannot be written to a file
        try:
            json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ManifestError(f"{where}: contains half of a character ({error})") from None
    row["caption"] = row["caption"] if row["caption"].strip() else next(filter(str.strip, row.get("captions", [])), "")
    return Clip(**row)


def captioning_command(manifest: Path) -> str:
    """The command that describes the clips of a manifest, with a captioner of 1 GB."""
    out = manifest.with_name(f"{manifest.stem}-captioned.jsonl")
    words = ["python", "-m", "lite_sora.captioning", str(manifest), "--out", str(out)]
    return shlex.join([*words, "--model", "HuggingFaceTB/SmolVLM2-256M-Video-Instruct"])


def check_manifest(path: Path) -> None:
    """Raises ManifestError if there is no file `path`; for a folder, it names the manifest inside."""
    if path.is_dir():
        inside, make = path / "manifest.jsonl", f"python -m lite_sora.catalogs folder --annotations {path} --out"
        what = f"name the manifest in it, {inside}" if inside.is_file() else f"make a manifest of it: {make} {inside}"
        raise ManifestError(f"{path} is a folder; {what}")
    if not path.is_file():
        raise ManifestError(f"{path}: there is no such manifest")


def check_out(manifest: Path, out: Path) -> None:
    """Raises ManifestError if there is no `manifest`, or if one made from it cannot be written to `out`."""
    check_manifest(manifest)
    if out.resolve().parent != manifest.resolve().parent:
        raise ManifestError(f"{out}: put it into {manifest.resolve().parent}, since videos are named relative to it")
    if out.is_dir():
        raise ManifestError(f"{out}: is a folder; name a file for the new manifest")
    if out.resolve() == manifest.resolve():
        raise ManifestError(f"{out}: would overwrite the manifest that it is made from; choose another --out")


def write_manifest(path: Path | str, clips: Iterable[Clip]) -> int:
    """Writes clips to a JSONL file, without empty keys, and returns their number. It appears whole or not at all."""
    count = 0

    def write(part: Path) -> None:
        nonlocal count
        with part.open("w", encoding="utf-8") as lines:
            for clip in clips:
                count += 1
                row = {key: value for key, value in vars(clip).items() if value not in (None, [], {})}
                lines.write(json.dumps(row, ensure_ascii=False) + "\n")
            lines.flush()
            os.fsync(lines.fileno())

    write_whole(Path(path), write)
    return count
