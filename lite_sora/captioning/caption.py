"""A manifest and a captioner in, a manifest with new captions out.

Workers decode ahead while the model describes a batch. Each answer goes to a `Journal` at once, under a digest of
everything that it depends on, so that a run can be killed at any time and no outdated answer is used. At the end the
journal's answers are written into the manifest's rows. The manifest is streamed, never held.
"""

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from lite_sora.captioning.frames import FrameChoice, read_clips
from lite_sora.captioning.history import history
from lite_sora.captioning.output import Output, draw, write
from lite_sora.captioning.request import Request
from lite_sora.data.clip import Clip, ManifestError, check_out, read_manifest
from lite_sora.storage.files import make_folder, version_of
from lite_sora.storage.journal import Journal, digest
from lite_sora.workers import in_processes

VERSION = 1  # of how frames are read and answers judged: raise it with every change, so that old answers are not used
AHEAD = 10_000  # clips that the workers are given at a time: new processes are started for the next ones


def caption_manifest(
    request: Request,
    choice: FrameChoice,
    manifest: Path,
    out: Path,
    batch: int = 8,
    workers: int = 0,
    allow_outside: bool = False,
    show: bool = True,
) -> Output | None:
    """Writes the clips of `manifest` with new captions to `out`, and next to it

        <out>-captions/rank-*.jsonl   the answers, as they come
        <out>-captions/skipped.txt    clips that cannot be read, and why: they are not in `out`
        <out>-captions/examples.png   frames and captions of a few clips

    Under torchrun each process captions a fraction of the rows, and the first one does the rest; the others return
    None. Raises ManifestError, FolderError or ModelError, before anything is captioned, for what cannot be used."""
    from lite_sora.processes import join, leave  # needs torch, which the workers do not

    check_paths(manifest, out)
    request.check(choice.count)
    clips = 0
    for clip in read_manifest(manifest, allow_outside):
        history(clip)
        clips += 1
    if not clips:
        raise ManifestError(f"{manifest}: contains no clips")
    processes = join("cpu")
    rank, world = processes.rank, processes.world
    folder = out.with_name(f"{out.stem}-captions")
    journal, began = Journal(folder, rank), time.monotonic()
    known = len(journal)
    rows = _keyed(manifest, request, choice, allow_outside)
    bar = tqdm(total=len(range(rank, clips, world)), desc="captioning", unit="clip", disable=not show or rank > 0)
    with bar:
        own = islice(rows, rank, None, world)
        _caption(_pending(own, journal, bar), request, choice, manifest.parent, journal, batch, workers, bar)
    if world > 1:
        processes.wait_for_all()
        leave()
        if rank:
            return journal.close()
    seconds = time.monotonic() - began
    journal.read()  # what the other processes have written
    rows = ((clip, journal.get(clip.id, key)) for key, clip in _keyed(manifest, request, choice, allow_outside))
    output = write(rows, request.described, request.language, out, folder / "skipped.txt")
    output.rate = (len(journal) - known) / seconds
    journal.close()
    draw(output.examples, choice, manifest.parent, folder / "examples.png")
    return output


def check_paths(manifest: Path, out: Path) -> None:
    """Raises ManifestError or FolderError if `out` cannot be written for `manifest`."""
    if not manifest.is_file():
        raise ManifestError(f"{manifest}: there is no such manifest")
    check_out(manifest, out)
    make_folder(out.with_name(f"{out.stem}-captions"), f"--out {out}")


def _keyed(manifest: Path, request: Request, choice: FrameChoice, allow_outside: bool) -> Iterator[tuple[str, Clip]]:
    """Each clip, with a digest of everything that its caption depends on."""
    how = vars(choice), request.described, request.language, request.max_tokens, request.retries
    for clip in read_manifest(manifest, allow_outside):
        version = version_of(manifest.parent / clip.video)
        yield digest(VERSION, how, clip.id, clip.video, version, clip.start, clip.end, clip.stats.get("crop")), clip


def _pending(rows: Iterator[tuple[str, Clip]], journal: Journal, bar: tqdm) -> Iterator[tuple[str, Clip]]:
    """The rows that have no caption yet, with those that could not be read: a disk may have been away."""
    for key, clip in rows:
        if "caption" in (journal.get(clip.id, key) or {}):
            bar.update()
        else:
            yield key, clip


def _caption(
    pending, request: Request, choice: FrameChoice, folder: Path, journal: Journal, batch: int, workers: int, bar
) -> None:
    """Writes the answers for (key, clip) to the journal, a batch at a time."""
    while ahead := list(islice(pending, AHEAD)):
        tasks = [(folder / clip.video, [(clip, choice)]) for _, clip in ahead]
        waiting = []  # (key, clip, seconds in the file, frames)
        for index, [found], _ in in_processes(read_clips, tasks, workers):
            key, clip = ahead[index]
            if len(found) == 1:
                journal.add(clip.id, {key: found[0]})
                bar.update()
                continue
            waiting.append((key, clip, *found))
            if len(waiting) == batch:
                _answer(waiting, request, journal, bar)
                waiting = []
        if waiting:
            _answer(waiting, request, journal, bar)


def _answer(waiting: list[tuple], request: Request, journal: Journal, bar: tqdm) -> None:
    keys, clips, times, frames = zip(*waiting, strict=True)
    since = [[time - (clip.start or 0) for time in seconds] for clip, seconds in zip(clips, times, strict=True)]
    try:
        captions = request.captions(list(frames), since)
    except ValueError as error:  # the model cannot take one of the clips: find out which by taking each alone
        if len(waiting) > 1:
            for one in waiting:
                _answer([one], request, journal, bar)
        else:
            journal.add(clips[0].id, {keys[0]: {"broken": str(error)}})
            bar.update()
        return
    for key, clip, seconds, caption in zip(keys, clips, times, captions, strict=True):
        journal.add(clip.id, {key: {"frames": [round(time, 3) for time in seconds]} | caption})
        bar.update()
