"""The second step of curation: applies a recipe's limits to what was measured. It is fast: try other limits.

Each operator is a generator: clips pass through all of them one at a time, and dropped ones wait on disk. Only the
operators that look for copies need all clips before the first can pass; these wait on disk too, and only their
signatures are held in memory.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from sqlite3 import Connection

from lite_sora.curation.annotate import Row
from lite_sora.curation.duplicates import near, same
from lite_sora.curation.operators import DUPLICATES, FILTERS, SPLITTERS, reason_to_drop
from lite_sora.curation.recipe import Recipe, Step
from lite_sora.data.clip import Clip, read_manifest, write_manifest
from lite_sora.storage.journal import scratch

READABLE = "readable"


@dataclass
class Sample:
    """A random sample of a stream of values (Vitter 1985, "Random Sampling with a Reservoir", algorithm R)."""

    count: int = 0  # of all
    values: list = field(default_factory=list)
    most: int = 10_000
    random: Random = field(default_factory=lambda: Random(0), compare=False, repr=False)

    def __len__(self) -> int:
        return self.count

    def add(self, value) -> None:
        self.count += 1
        if self.count <= self.most:
            self.values.append(value)
        elif (index := self.random.randrange(self.count)) < self.most:
            self.values[index] = value


@dataclass
class Selection:
    """The clips that were kept are in the file `out`; the others in the file `dropped`, operator by operator, with the
    reason in stats["dropped"]."""

    out: Path
    dropped: Path
    counts: list[tuple[str, int, int]] = field(default_factory=list)  # (operator, clips before, clips after)
    drops: list[tuple[str, int]] = field(default_factory=list)  # (operator, how many it dropped), if any
    measured: list[tuple[Step, Sample]] = field(default_factory=list)  # each filter's values, of all clips

    @property
    def kept(self) -> Iterator[Clip]:
        return read_manifest(self.out, allow_outside=True)  # paths were checked when the clips were read


def select(rows: Iterator[Row], recipe: Recipe, out: Path) -> Selection:
    """Which clips a recipe keeps, in the order of the manifest, and which operator dropped the others, and why.

    Each operator sees what the ones before it have kept."""
    selection, stages = Selection(out, out.with_name(out.stem + ".dropped.jsonl")), []
    with closing(scratch()) as database:
        database.execute("CREATE TABLE dropped (stage, clip)")

        def stage(name: str) -> Stage:
            stages.append(Stage(name, len(stages), database))
            return stages[-1]

        for steps in recipe.levels():
            rows = _judged(((row, row.broken) for row in rows), stage(READABLE))
            samples = {index: Sample() for index, step in steps if step.name in FILTERS}
            selection.measured += [(step, samples[index]) for index, step in steps if index in samples]
            rows = _sampled(rows, samples)
            for index, step in steps:
                rows = _applied(rows, stage(str(step)), index, step)
        write_manifest(out, (row.clip for row in rows))  # only now do the rows begin to move
        dropped = database.execute("SELECT clip FROM dropped ORDER BY stage, rowid")
        write_manifest(selection.dropped, (Clip(**json.loads(clip)) for (clip,) in dropped))
    stages = [stage for stage in stages if stage.name != READABLE or stage.index == 0 or stage.dropped]
    selection.counts = [(stage.name, stage.before, stage.after) for stage in stages]
    selection.drops = [(stage.name, stage.dropped) for stage in stages if stage.dropped]
    return selection


@dataclass
class Stage:
    """One operator's counts, and the database for the clips that it drops."""

    name: str
    index: int
    database: Connection
    before: int = 0
    after: int = 0
    dropped: int = 0


def _applied(rows: Iterator[Row], stage: Stage, index: int, step: Step) -> Iterator[Row]:
    if step.name in SPLITTERS:
        return _cut(rows, stage)
    if step.name in DUPLICATES:
        return _judged(_copies(rows, stage, index, step), stage)
    return _judged(((row, reason_to_drop(step.name, row.values[index], **step.applied)) for row in rows), stage)


def _judged(rows: Iterator[tuple[Row, str | None]], stage: Stage) -> Iterator[Row]:
    """The rows, each given with a reason to drop it or None, that are kept."""
    for row, reason in rows:
        stage.before += 1
        if reason:
            stage.dropped += 1
            clip = replace(row.clip, stats=row.clip.stats | {"dropped": reason})
            stage.database.execute("INSERT INTO dropped VALUES (?, ?)", (stage.index, json.dumps(vars(clip))))
        else:
            stage.after += 1
            yield row


def _cut(rows: Iterator[Row], stage: Stage) -> Iterator[Row]:
    for row in rows:
        stage.before += 1
        stage.after += len(row.pieces)
        yield from row.pieces


def _sampled(rows: Iterator[Row], samples: dict[int, Sample]) -> Iterator[Row]:
    for row in rows:
        for index, sample in samples.items():
            sample.add(row.values[index])
        yield row


def _copies(rows: Iterator[Row], stage: Stage, index: int, step: Step) -> Iterator[tuple[Row, str | None]]:
    """Each row, and the reason to drop it if it is a copy. Rows wait in a table until all are there."""
    execute, waiting = stage.database.execute, f"waiting_{stage.index}"
    execute(f"CREATE TABLE {waiting} (n INTEGER PRIMARY KEY, id, key, area, row)")
    for n, row in enumerate(rows):
        clip, key = row.clip, row.values[index]
        if step.name == "exact_duplicates":
            window = float(clip.start or 0), clip.end and float(clip.end)
            key = key, window, clip.caption if step.applied["with_caption"] else ""
        area = clip.stats["width"] * clip.stats["height"]
        execute(f"INSERT INTO {waiting} VALUES (?, ?, ?, ?, ?)", (n, clip.id, json.dumps(key), area, _packed(row)))
    keys = (json.loads(key) for (key,) in execute(f"SELECT key FROM {waiting} ORDER BY n"))
    areas = (area for (area,) in execute(f"SELECT area FROM {waiting} ORDER BY n"))
    copies = near(keys, areas, **step.applied) if step.name == "near_duplicates" else same(keys)
    for n, row in execute(f"SELECT n, row FROM {waiting} ORDER BY n"):
        reason = None
        if n in copies:
            ((first,),) = execute(f"SELECT id FROM {waiting} WHERE n = ?", (copies[n],))
            reason = f"the same as {first}"
        yield _unpacked(json.loads(row)), reason


def _packed(row: Row) -> str:
    return json.dumps(row, default=vars)


def _unpacked(row: dict) -> Row:
    values = {int(index): value for index, value in row["values"].items()}
    return Row(Clip(**row["clip"]), values, row["broken"], [_unpacked(piece) for piece in row["pieces"]])
