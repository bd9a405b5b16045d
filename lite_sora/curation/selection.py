"""The second step of curation: applies a recipe's limits to what was measured. Takes no time, so try other limits.

Each operator is a generator: clips pass through all of them one at a time, and those that are dropped wait on disk.
Only who looks for copies must have seen all clips before the first can go on; they wait on disk too, and what they are
compared by is all that is held.
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
    """Some of many values, each with the same chance (Vitter 1985, "Random Sampling with a Reservoir", algorithm R)."""

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
        elif (place := self.random.randrange(self.count)) < self.most:
            self.values[place] = value


@dataclass
class Selection:
    """What became of the clips: those that were kept are in the file `out`; the others in the file `dropped`, operator
    by operator, with the reason in stats["dropped"]."""

    out: Path
    dropped: Path
    counts: list[tuple[str, int, int]] = field(default_factory=list)  # (operator, clips before, clips after)
    drops: list[tuple[str, int]] = field(default_factory=list)  # (operator, how many it dropped), if any
    measured: list[tuple[Step, Sample]] = field(default_factory=list)  # each filter's values, of all clips

    @property
    def kept(self) -> Iterator[Clip]:
        return read_manifest(self.out, allow_outside=True)  # what must not be read was refused when it came in


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
            samples = {place: Sample() for place, step in steps if step.name in FILTERS}
            selection.measured += [(step, samples[place]) for place, step in steps if place in samples]
            rows = _sampled(rows, samples)
            for place, step in steps:
                rows = _applied(rows, stage(str(step)), place, step)
        write_manifest(out, (row.clip for row in rows))  # only now do the rows begin to move
        dropped = database.execute("SELECT clip FROM dropped ORDER BY stage, rowid")
        write_manifest(selection.dropped, (Clip(**json.loads(clip)) for (clip,) in dropped))
    stages = [stage for stage in stages if stage.name != READABLE or stage.place == 0 or stage.dropped]
    selection.counts = [(stage.name, stage.before, stage.after) for stage in stages]
    selection.drops = [(stage.name, stage.dropped) for stage in stages if stage.dropped]
    return selection


# ---------------------------------------------------------------- what an operator does with a stream of rows


@dataclass
class Stage:
    """One operator's counts, and where it puts what it drops."""

    name: str
    place: int
    database: Connection
    before: int = 0
    after: int = 0
    dropped: int = 0

    def drop(self, clip: Clip, reason: str) -> None:
        self.dropped += 1
        clip = replace(clip, stats=clip.stats | {"dropped": reason})
        self.database.execute("INSERT INTO dropped VALUES (?, ?)", (self.place, json.dumps(vars(clip))))


def _applied(rows: Iterator[Row], stage: Stage, place: int, step: Step) -> Iterator[Row]:
    if step.name in SPLITTERS:
        return _cut(rows, stage)
    if step.name in DUPLICATES:
        return _judged(_copies(rows, stage, place, step), stage)
    return _judged(((row, reason_to_drop(step.name, row.values[place], **step.applied)) for row in rows), stage)


def _judged(rows: Iterator[tuple[Row, str | None]], stage: Stage) -> Iterator[Row]:
    """Of rows, each with a reason to drop it or None, those that go on."""
    for row, reason in rows:
        stage.before += 1
        if reason:
            stage.drop(row.clip, reason)
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
        for place, sample in samples.items():
            sample.add(row.values[place])
        yield row


def _copies(rows: Iterator[Row], stage: Stage, place: int, step: Step) -> Iterator[tuple[Row, str | None]]:
    """Each row, and which one it is a copy of. All rows come in before the first goes out; they wait in a table."""
    ask, waiting = stage.database.execute, f"waiting_{stage.place}"
    ask(f"CREATE TABLE {waiting} (n INTEGER PRIMARY KEY, id, key, area, row)")
    for n, row in enumerate(rows):
        clip, key = row.clip, row.values[place]
        if step.name == "exact_duplicates":
            window = float(clip.start or 0), clip.end and float(clip.end)
            key = key, window, clip.caption if step.applied["with_caption"] else ""
        area = clip.stats["width"] * clip.stats["height"]
        ask(f"INSERT INTO {waiting} VALUES (?, ?, ?, ?, ?)", (n, clip.id, json.dumps(key), area, _packed(row)))
    keys = (json.loads(key) for (key,) in ask(f"SELECT key FROM {waiting} ORDER BY n"))
    areas = (area for (area,) in ask(f"SELECT area FROM {waiting} ORDER BY n"))
    copies = near(keys, areas, **step.applied) if step.name == "near_duplicates" else same(keys)
    for n, row in ask(f"SELECT n, row FROM {waiting} ORDER BY n"):
        reason = None
        if n in copies:
            ((first,),) = ask(f"SELECT id FROM {waiting} WHERE n = ?", (copies[n],))
            reason = f"the same as {first}"
        yield _unpacked(json.loads(row)), reason


def _packed(row: Row) -> str:
    return json.dumps(row, default=vars)


def _unpacked(row: dict) -> Row:
    values = {int(place): value for place, value in row["values"].items()}
    return Row(Clip(**row["clip"]), values, row["broken"], [_unpacked(piece) for piece in row["pieces"]])
