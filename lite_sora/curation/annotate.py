"""The first step of curation: measures clips by all steps of a recipe, and keeps the values in a `Journal`.

Splitting is part of it: steps after a splitter in the recipe are measured on the pieces. Clips that are close together
in one file are measured in one task, and tasks are spread over processes. A manifest is read a group of clips at a
time, so that its length does not matter.
"""

import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from lite_sora.curation.footage import MOST, RATE, Footage, Reader, attempt
from lite_sora.curation.operators import MODELS, OPERATORS, SPLITTERS, jsonable, model_scores
from lite_sora.curation.recipe import Recipe, Step, Steps
from lite_sora.curation.splitting import pieces
from lite_sora.data.clip import Clip
from lite_sora.data.video import ClipError
from lite_sora.storage.files import version_of
from lite_sora.storage.journal import Journal, digest
from lite_sora.workers import in_processes

VERSION = 1  # of all formulas: raise it with every change, so that old values are not used
GROUP = 4096  # clips, and about as many pieces, that are held at a time: enough to make starting processes pay
TOGETHER = 2 * MOST  # sampled frames of one file that a process holds at a time
FACTS = ("duration", "width", "height", "fps")


@dataclass
class Row:
    """A clip and what is known about it."""

    clip: Clip  # with everything that was measured in its stats
    values: dict[int, Any] = field(default_factory=dict)  # a step's index in the recipe → what it measured
    broken: str | None = None  # why the clip cannot be used
    pieces: list["Row"] = field(default_factory=list)  # what the next splitter makes of it


Job = tuple[Clip, list[Step], list]  # a clip, the steps to measure it by, and their values, None where not known yet


def annotate(
    clips: Iterable[Clip], recipe: Recipe, folder: Path, journal: Journal, workers: int, device: str | None, bar: tqdm
) -> Iterator[Row]:
    """Measures clips, whose videos are in `folder`, by all steps of the recipe, and yields a row for each, in order.

    Values in the journal are not measured again. Frames are decoded and measured by `workers` processes (0: by this
    one); models run in this one, on `device`."""
    clips, (first, *others) = iter(clips), recipe.levels()
    while waiting := deque(Row(clip) for clip in islice(clips, GROUP)):
        _measure(waiting, first, folder, journal, workers, device, bar)
        while waiting:
            group, size = [], 0
            while waiting and size < GROUP:
                group.append(waiting.popleft())
                _split(group[-1], first)
                size += 1 + len(group[-1].pieces)
            level = group
            for steps in others:
                level = [piece for row in level for piece in row.pieces]
                bar.total += len(level)
                _measure(level, steps, folder, journal, workers, device, bar)
                for row in level:
                    _split(row, steps)
            yield from group


def fraction_of(clips: Iterable[Clip], rank: int, world: int) -> Iterator[Clip]:
    """The clips that one of `world` processes measures: all clips of a file go to the same one."""
    return (clip for clip in clips if zlib.crc32(clip.video.encode()) % world == rank)


def _split(row: Row, steps: Steps) -> None:
    """Cuts a clip into pieces, if the last step that measured it is a splitter."""
    if steps and steps[-1][1].name in SPLITTERS and not row.broken:
        index, step = steps[-1]
        cut = pieces(row.clip, row.clip.stats["duration"], row.values[index], **step.applied)
        row.pieces = [Row(clip) for clip in cut]


def _measure(
    rows: Iterable[Row], steps: Steps, folder: Path, journal: Journal, workers: int, device: str | None, bar: tqdm
) -> None:
    """Fills in what all rows' clips are by these steps."""
    pending, plain = [], [step for _, step in steps]
    for row in rows:
        keys = _keys(row.clip, plain, version_of(folder / row.clip.video))
        if _fill(row, steps, keys, {key: journal.get(row.clip.id, key) for key in keys}):
            bar.update()
        else:
            pending.append((row, keys))
    groups, tasks = _groups(pending), []
    for group in groups:
        jobs = [(row.clip, plain, [journal.get(row.clip.id, key) for key in keys[1:]]) for row, keys in group]
        tasks.append((folder / group[0][0].clip.video, jobs))
    for index, results, crashed in in_processes(measure_together, tasks, workers):
        _score(tasks[index][1], results, device)
        for (row, keys), values in zip(groups[index], results, strict=True):
            found = dict(zip(keys, values, strict=False))  # a broken clip has only the first
            if not crashed:
                new = {key: value for key, value in found.items() if journal.get(row.clip.id, key) != value}
                journal.add(row.clip.id, new)
            _fill(row, steps, keys, found)
            bar.update()


def _score(jobs: list[Job], results: list[list[dict]], device: str | None) -> None:
    """Replaces the frames that `measure_together` picked for a model by the model's score, all clips in one batch."""
    for number, step in enumerate(jobs[0][1], 1):
        if step.name in MODELS:
            measured = [(clip, values[number]) for (clip, *_), values in zip(jobs, results, strict=True) if values[1:]]
            picked = [(clip.caption, value) for clip, value in measured if isinstance(value["value"], np.ndarray)]
            if picked:
                captions, values = zip(*picked, strict=True)
                clips = [value["value"] for value in values]
                scores = model_scores(step.name, step.measured, clips, list(captions), device)
                for value, score in zip(values, scores, strict=True):
                    value["value"] = jsonable(score)


def _keys(clip: Clip, steps: list[Step], version: tuple | None) -> list[str]:
    """Digests of everything that the header's facts, and then each step's value, depend on."""
    inside = clip.stats.get("crop")
    base = (VERSION, clip.video, version, clip.start, clip.end)
    keys = [digest(*base)]
    for step in steps:
        caption = clip.caption if OPERATORS[step.name].reads_caption else None
        keys.append(digest(*base, inside, step.name, step.measured, caption))
        if step.name == "border_crop":
            inside = keys[-1]  # later steps are measured inside this step's crop
    return keys


def _fill(row: Row, steps: Steps, keys: list[str], found: dict[str, Any]) -> bool:
    """Fills a row with the values under its keys; returns whether none is missing."""
    facts = found.get(keys[0])
    if facts and "broken" in facts:
        row.broken = facts["broken"]
        return True
    if not facts or any(found.get(key) is None for key in keys[1:]):
        return False
    row.values = {index: found[key]["value"] for (index, _), key in zip(steps, keys[1:], strict=True)}
    stats = row.clip.stats | facts
    for index, step in steps:
        if step.name not in SPLITTERS:
            stats["crop" if step.name == "border_crop" else step.name] = row.values[index]
    row.clip = replace(row.clip, stats=stats)
    return True


def _groups(pending: list[tuple[Row, list[str]]]) -> list[list[tuple[Row, list[str]]]]:
    """Clips of one file, neighbours together, as many as can be held at a time."""

    def window(item: tuple[Row, list[str]]) -> tuple[str, float, float]:
        clip = item[0].clip
        return clip.video, clip.start or 0.0, inf if clip.end is None else clip.end

    groups, last, size = [], None, 0
    for item in sorted(pending, key=window):
        video, start, end = now = window(item)
        length = int(min(MOST, (end - start) * RATE + 1)) if now != last else 0  # 0: it shares frames
        size += length
        if last is None or video != last[0] or (length and size > TOGETHER):
            groups.append([])
            size = length
        groups[-1].append(item)
        last = now
    return groups


def measure_together(path: Path, jobs: list[Job]) -> list[list[dict]]:
    """For each clip of one file, [facts, {"value": …} of each step], or [{"broken": reason}]. The value of a step with
    a model is the frames that the model will see."""
    try:
        reader = Reader(path)
    except ClipError as error:
        return [[{"broken": error.reason}] for _ in jobs]
    footages = [attempt(Footage, clip, path, reader) for clip, *_ in jobs]  # all of them, before the first is decoded
    return [_values(footage, steps, known) for footage, (_, steps, known) in zip(footages, jobs, strict=True)]


def _values(footage: Footage | ClipError, steps: list[Step], known: list) -> list[dict]:
    try:
        if isinstance(footage, ClipError):
            raise footage
        info = footage.info
        facts = map(jsonable, (footage.duration, info.width, info.height, info.fps))
        values = [dict(zip(FACTS, facts, strict=True))]
        for step, found in zip(steps, known, strict=True):
            if found is None:
                value = OPERATORS[step.name].measure(footage, **step.measured)
                found = {"value": value if step.name in MODELS else jsonable(value)}
            if step.name == "border_crop":
                footage.crop = found["value"]
            values.append(found)
        return values
    except ClipError as error:
        return [{"broken": error.reason}]
