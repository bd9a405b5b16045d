"""Videos, with or without a .txt or .json next to them: cat.mp4, cat.txt; in a folder, or in WebDataset's tar files."""

import json
import shutil
import tarfile
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path, PurePosixPath

from lite_sora.catalogs.rows import Entry, entries, progress
from lite_sora.catalogs.values import SUFFIXES, CatalogError, Unusable, leaves, walk, window_and_names
from lite_sora.data.clip import Clip
from lite_sora.storage.files import write_whole

LONGEST_TEXT = 2**20  # bytes of a .txt or .json


def read(path: Path, home: Path, language: str | None = None, split: str | None = None) -> Iterator[Entry]:
    """One clip for each video of a folder, or of a tar file, whose videos are extracted below `home`."""
    return read_folder(path, language, split) if path.is_dir() else read_shard(path, home, language, split)


def read_folder(path: Path, language: str | None, split: str | None) -> Iterator[Entry]:
    """One clip for each video below the folder, in order of path; its id is the path without the suffix."""

    def clip(video: Path) -> Iterator[Clip]:
        name = video.relative_to(path)
        texts = {}
        for suffix in (".txt", ".json"):
            file = video.with_suffix(suffix)
            if file.is_file() and file.stat().st_size > LONGEST_TEXT:
                raise Unusable(f"a {suffix} that is too long", name)
            if file.is_file():
                texts[suffix[1:]] = file.read_bytes()
        yield described(name.with_suffix("").as_posix(), name.as_posix(), texts, language, split)

    return entries(((str(video.relative_to(path)), video) for video in walk(path, SUFFIXES)), clip)


def described(name: str, video: str, texts: dict[str, bytes], language: str | None, split: str | None) -> Clip:
    """The clip `name`, described by its texts, if there are any. "txt" is one caption, the first. "json" is an object
    with any of "caption" (or "text"), "captions", "start", "end", "language", "split" and "source"."""
    try:
        row = json.loads(texts.get("json", b"{}"))
        captions = [" ".join(texts.get("txt", b"").decode("utf-8-sig").split())]
    except (ValueError, RecursionError) as error:
        raise Unusable("a .txt or .json that cannot be read", f"{video}: {error}") from None
    if not isinstance(row, dict):
        raise Unusable("a .json that is not an object", video)
    more = row.get("captions")
    captions += [row.get("caption"), row.get("text"), *(more if isinstance(more, list) else [])]
    captions = [caption for caption in captions if isinstance(caption, str)]
    return Clip(name, video, "", captions, *window_and_names(row, language, split))


def read_shard(path: Path, home: Path, language: str | None, split: str | None) -> Iterator[Entry]:
    """One clip for each sample of a shard, key.mp4 with its neighbours key.txt and key.json; its id is shard/key. A
    manifest points to files, so the videos are extracted, into `home`/shard/. Those that are there already, whole, are
    not extracted again: an interrupted run resumes where it was.

    Nothing is written anywhere else: only regular members are extracted, with relative names without "..", and only in
    the size that the archive states. Links, devices and sparse members are reported.
    """
    shard, done = shard_name(path), set()

    def clip(members: list[tarfile.TarInfo]) -> Iterator[Clip]:
        name = _key(members[0])
        if name in done:  # its video would overwrite the first one
            raise Unusable("a second sample of the same key", name)
        done.add(name)
        texts, videos = {}, []
        for member in members:
            suffix = PurePosixPath(member.name).suffix.lower()
            if leaves(member.name) or "\0" in member.name or "\\" in member.name:
                raise Unusable("a member whose name leads out of the folder", member.name)
            if not member.isreg() or member.issparse():
                raise Unusable("a member that is not a plain file", member.name)
            if suffix in SUFFIXES:
                videos.append(member)
            elif suffix in (".txt", ".json"):
                if member.size > LONGEST_TEXT:
                    raise Unusable(f"a {suffix} that is too long", member.name)
                texts[suffix[1:]] = _text(tar, member)
        if not videos:
            raise Unusable("a sample without a video", name)
        video = f"{shard}/{PurePosixPath(videos[0].name)}"
        found = described(f"{shard}/{name}", video, texts, language, split)
        _extract(tar, videos[0], home / video)
        yield found

    with _opened(path) as tar, progress(path) as at:
        yield from entries(_samples(tar, path, at), clip)


def shard_name(path: Path) -> str:
    """The folder that a shard's videos go into: 00000.tar → 00000."""
    name = path.name.split(".tar")[0]
    if not name.strip("."):
        raise CatalogError(f"{path}: give the shard a name before its .tar")
    return name


def check_names(paths: list[Path]) -> None:
    """Raises CatalogError for two shards whose videos would share a folder."""
    for name, count in Counter(map(shard_name, paths)).items():
        if count > 1:
            raise CatalogError(f"{count} shards called {name}: their videos would share a folder; rename one")


def _opened(path: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(path, "r:")  # a compressed one could not be read out of order
    except (OSError, tarfile.TarError) as error:
        raise CatalogError(f"{path}: not a tar file without compression ({error})") from None


def _key(member: tarfile.TarInfo) -> str:
    """WebDataset's key: the path up to the first dot of the file's name."""
    name = PurePosixPath(member.name)
    return (name.parent / name.name.split(".")[0]).as_posix()


def _samples(tar: tarfile.TarFile, path: Path, at) -> Iterator[tuple[str, list[tarfile.TarInfo] | Unusable]]:
    broken = []

    def members() -> Iterator[tarfile.TarInfo]:
        try:
            while (member := tar.next()) is not None:
                tar.members = []  # tarfile keeps every member: a long shard would fill the memory
                at(member.offset)
                if not member.isdir():
                    yield member
        except tarfile.TarError as error:
            broken.append(error)

    for key, group in groupby(members(), _key):
        yield f"{path.name}, {key}", list(group)
    if broken:
        yield path.name, Unusable("a shard that breaks off: download it again", broken[0])


def _text(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    try:
        return tar.extractfile(member).read()
    except tarfile.TarError as error:
        raise Unusable("a member that cannot be read", f"{member.name}: {error}") from None


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """Writes a member to `target`, unless it is there already."""
    if target.is_file() and target.stat().st_size == member.size:
        return

    def write(part: Path) -> None:
        with part.open("wb") as file:
            shutil.copyfileobj(tar.extractfile(member), file)
        if part.stat().st_size != member.size:
            raise tarfile.ReadError("too short")

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(target.parent).free < member.size:
            raise CatalogError(f"{target}: no room for {member.size} bytes")
        write_whole(target, write)
    except (OSError, tarfile.TarError) as error:  # also a name that is too long, or a file where a folder should be
        raise Unusable("a member that cannot be extracted", f"{member.name}: {error}") from None
