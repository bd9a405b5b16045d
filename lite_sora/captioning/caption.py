"""A manifest and a captioner in, a manifest with new captions out. Workers decode ahead while the model describes a
batch. Each answer goes to a `Journal` at once, under a digest of everything that it depends on, so that a run can be
killed at any time and no outdated answer is used. The manifest is streamed, never held."""

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from lite_sora.captioning.frames import FrameChoice, read_clips
from lite_sora.captioning.output import Output, draw, history, write
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
) -> Output | None:
    """Writes the clips of `manifest` with new captions to `out`, and next to it

        <out>-captions/rank-*.jsonl   the answers, as they come
        <out>-captions/skipped.txt    clips that cannot be read, and why: they are not in `out`
        <out>-captions/examples.png   frames and captions of a few clips

    Under torchrun each process captions a fraction of the rows, and the first one does the rest; the others return
    None. Raises ManifestError, FolderError or ModelError, before anything is captioned, for what cannot be used."""
    from lite_sora.processes import join, leave  # needs torch, which the workers do not

    folder = make_answers_folder(manifest, out)
    request.check(choice.count)
    clips = 0
    for clip in read_manifest(manifest, allow_outside):
        history(clip)
        clips += 1
    if not clips:
        raise ManifestError(f"{manifest}: contains no clips")
    processes = join("cpu")
    rank, world = processes.rank, processes.world
    journal, began = Journal(folder, rank), time.monotonic()
    known, total = len(journal), len(range(rank, clips, world))
    with tqdm(total=total, desc="captioning", unit="clip", disable=rank > 0) as bar:
        own = islice(_keyed(manifest, request, choice, allow_outside), rank, None, world)
        pending = _pending(own, journal, bar)
        for key, clip, answer in _captions(pending, request, choice, manifest.parent, batch, workers):
            journal.add(clip.id, {key: answer})
            bar.update()
    if world > 1:
        processes.wait_for_all()
        leave()
        if rank:
            return journal.close()
    seconds = time.monotonic() - began
    journal.read()  # what the other processes have written
    rows = ((clip, journal.get(clip.id, key)) for key, clip in _keyed(manifest, request, choice, allow_outside))
    output = write(rows, clips, request, out, folder / "skipped.txt")
    output.rate = (len(journal) - known) / seconds
    journal.close()
    draw(output.examples, choice, manifest.parent, folder / "examples.png")
    return output


def make_answers_folder(manifest: Path, out: Path) -> Path:
    """Makes <out>-captions. Raises ManifestError or FolderError if `out` cannot be written for `manifest`."""
    check_out(manifest, out)
    return make_folder(out.with_name(f"{out.stem}-captions"), f"--out {out}")


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


def _captions(
    pending, request: Request, choice: FrameChoice, folder: Path, batch: int, workers: int
) -> Iterator[tuple]:
    """Yields (key, clip, answer) of each (key, clip), a batch at a time."""
    while ahead := list(islice(pending, AHEAD)):
        tasks = [(folder / clip.video, [(clip, choice)]) for _, clip in ahead]
        waiting = []  # (key, clip, seconds in the file, frames)
        for index, [found], _ in in_processes(read_clips, tasks, workers):
            if len(found) == 1:
                yield *ahead[index], found[0]
                continue
            waiting.append((*ahead[index], *found))
            if len(waiting) == batch:
                yield from _answers(waiting, request)
                waiting = []
        if waiting:
            yield from _answers(waiting, request)


def _answers(waiting: list[tuple], request: Request) -> Iterator[tuple[str, Clip, dict]]:
    keys, clips, times, frames = zip(*waiting, strict=True)
    since = [[time - (clip.start or 0) for time in seconds] for clip, seconds in zip(clips, times, strict=True)]
    try:
        captions = request.captions(list(frames), since)
    except ValueError as error:  # the model cannot take one of the clips: find out which by taking each alone
        if len(waiting) == 1:
            yield keys[0], clips[0], {"broken": str(error)}
        else:
            for one in waiting:
                yield from _answers([one], request)
        return
    for key, clip, seconds, caption in zip(keys, clips, times, captions, strict=True):
        yield key, clip, {"frames": [round(time, 3) for time in seconds]} | caption
