"""A manifest and a captioner in, a manifest with new captions out.

Workers decode ahead while the model describes a batch. Each answer goes to a `Store` at once, under a digest of
everything that it depends on, so that a run can be killed at any time, and nothing stale is taken. At the end the
store's answers are put into the manifest's rows. The manifest is streamed, never held.
"""

import os
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from lite_sora.captioning.asking import Asking
from lite_sora.captioning.frames import Looking, look_or_say_why
from lite_sora.captioning.history import history
from lite_sora.captioning.outcome import Outcome, draw, write
from lite_sora.captioning.store import Store
from lite_sora.curation.annotate import version_of
from lite_sora.curation.processes import in_processes
from lite_sora.curation.run import join, wait_for_all
from lite_sora.curation.store import digest
from lite_sora.data.clip import Clip, ManifestError, check_out, read_manifest

VERSION = 1  # of how frames are read and answers judged: raise it with every change, so that nothing old is taken
AHEAD = 10_000  # clips of which the workers know: new processes are started after so many


def caption_manifest(
    asking: Asking,
    looking: Looking,
    manifest: Path,
    out: Path,
    batch: int = 8,
    workers: int = 0,
    allow_outside: bool = False,
    show: bool = True,
) -> Outcome | None:
    """Writes the clips of `manifest` with new captions to `out`, and beside it

        <out>-captions/rank-*.jsonl   the answers, as they come
        <out>-captions/skipped.txt    clips that cannot be read, and why: they are not in `out`
        <out>-captions/examples.png   frames and captions of a few clips

    Under torchrun each process captions its share of the rows, and the first one does the rest; the others return None.
    Raises ManifestError or ModelError, before anything is captioned, for what cannot be used."""
    check_paths(manifest, out)
    asking.check(looking.count)
    clips = 0
    for clip in read_manifest(manifest, allow_outside):
        history(clip)
        clips += 1
    if not clips:
        raise ManifestError(f"{manifest}: holds no clip")
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if world > 1:
        join()
    folder = out.with_name(f"{out.stem}-captions")
    store, began = Store(folder, rank), time.monotonic()
    rows = _keyed(manifest, asking, looking, allow_outside)
    bar = tqdm(total=len(range(rank, clips, world)), desc="captioning", unit="clip", disable=not show or rank > 0)
    with bar:
        for_me = islice(rows, rank, None, world)
        _caption(_pending(for_me, store, bar), asking, looking, manifest.parent, store, batch, workers, bar)
    store.close()
    if world > 1:
        wait_for_all()
        if rank:
            return None
    known, seconds = len(store), time.monotonic() - began
    store = Store(folder)  # with what all have answered
    rows = ((clip, store.get(key)) for key, clip in _keyed(manifest, asking, looking, allow_outside))
    outcome = write(rows, asking.described, asking.language, out, folder / "skipped.txt")
    outcome.rate = (len(store) - known) / seconds
    store.close()
    draw(outcome.examples, looking, manifest.parent, folder / "examples.png")
    return outcome


def check_paths(manifest: Path, out: Path) -> None:
    """Raises ManifestError where `out` cannot be written for `manifest`."""
    if not manifest.is_file():
        raise ManifestError(f"{manifest}: there is no such manifest")
    check_out(manifest, out)


def _keyed(manifest: Path, asking: Asking, looking: Looking, allow_outside: bool) -> Iterator[tuple[str, Clip]]:
    """Each clip, with a digest of everything that its caption depends on."""
    how = vars(looking), asking.described, asking.language, asking.max_tokens, asking.retries
    for clip in read_manifest(manifest, allow_outside):
        version = version_of(manifest.parent / clip.video)
        yield digest(VERSION, how, clip.id, clip.video, version, clip.start, clip.end, clip.stats.get("crop")), clip


def _pending(rows: Iterator[tuple[str, Clip]], store: Store, bar: tqdm) -> Iterator[tuple[str, Clip]]:
    """The rows that have no caption yet. Clips that could not be read are tried again: a disk may have been away."""
    for key, clip in rows:
        if "caption" in (store.get(key) or {}):
            bar.update()
        else:
            yield key, clip


def _caption(pending, asking: Asking, looking: Looking, folder: Path, store: Store, batch: int, workers: int, bar):
    """Answers for (key, clip) into the store, a batch at a time."""
    while ahead := list(islice(pending, AHEAD)):
        tasks = [(folder / clip.video, [(clip, looking)]) for _, clip in ahead]
        waiting = []  # (key, clip, seconds in the file, frames)
        for index, [found], _ in in_processes(look_or_say_why, tasks, workers):
            key, clip = ahead[index]
            if len(found) == 1:
                store.add(key, {"id": clip.id} | found[0])
                bar.update()
                continue
            waiting.append((key, clip, *found))
            if len(waiting) == batch:
                _ask(waiting, asking, store, bar)
                waiting = []
        if waiting:
            _ask(waiting, asking, store, bar)


def _ask(waiting: list[tuple], asking: Asking, store: Store, bar: tqdm) -> None:
    keys, clips, times, frames = zip(*waiting, strict=True)
    since = [[time - (clip.start or 0) for time in seconds] for clip, seconds in zip(clips, times, strict=True)]
    try:
        captions = asking.captions(list(frames), since)
    except ValueError as error:  # a clip that the model cannot take: which of them is it?
        if len(waiting) > 1:
            for one in waiting:
                _ask([one], asking, store, bar)
        else:
            store.add(keys[0], {"id": clips[0].id, "broken": str(error)})
            bar.update()
        return
    for key, clip, seconds, caption in zip(keys, clips, times, captions, strict=True):
        store.add(key, {"id": clip.id, "frames": [round(time, 3) for time in seconds]} | caption)
        bar.update()
