"""The second step of curation: applies a recipe's limits to what was measured. Takes no time, so try other limits."""

from dataclasses import dataclass, field, replace

from lite_sora.curation.annotate import Row
from lite_sora.curation.duplicates import near, same
from lite_sora.curation.operators import DUPLICATES, FILTERS, SPLITTERS, reason_to_drop
from lite_sora.curation.recipe import Recipe, Step
from lite_sora.data.clip import Clip


@dataclass
class Selection:
    kept: list[Clip] = field(default_factory=list)
    counts: list[tuple[str, int, int]] = field(default_factory=list)  # (operator, clips before, clips after)
    dropped: list[tuple[int, Clip]] = field(default_factory=list)  # (place in `counts`, clip with stats["dropped"])
    measured: list[tuple[Step, list]] = field(default_factory=list)  # each filter's values, of all clips


def select(rows: list[Row], recipe: Recipe) -> Selection:
    """Which clips a recipe keeps, in the order of the manifest, and which operator dropped the others, and why.

    Each operator sees what the ones before it have kept."""
    selection = Selection()
    for steps in recipe.levels():
        if not selection.counts or any(row.broken for row in rows):
            rows = _drop(selection, "readable", rows, {i: row.broken for i, row in enumerate(rows) if row.broken})
        level = rows
        for place, step in steps:
            if step.name in FILTERS:
                selection.measured.append((step, [row.values[place] for row in level]))
            if step.name in SPLITTERS:
                cut = [piece for row in rows for piece in row.pieces]
                selection.counts.append((str(step), len(rows), len(cut)))
                rows = cut
            else:
                rows = _drop(selection, str(step), rows, _reasons(step, place, rows))
    selection.kept = [row.clip for row in rows]
    return selection


def _drop(selection: Selection, name: str, rows: list[Row], reasons: dict[int, str]) -> list[Row]:
    for i, reason in sorted(reasons.items()):
        clip = replace(rows[i].clip, stats=rows[i].clip.stats | {"dropped": reason})
        selection.dropped.append((len(selection.counts), clip))
    selection.counts.append((name, len(rows), len(rows) - len(reasons)))
    return [row for i, row in enumerate(rows) if i not in reasons]


def _reasons(step: Step, place: int, rows: list[Row]) -> dict[int, str]:
    """{index of a row that the step drops: why}."""
    values = [row.values[place] for row in rows]
    if step.name not in DUPLICATES:
        reasons = (reason_to_drop(step.name, value, **step.applied) for value in values)
        return {i: reason for i, reason in enumerate(reasons) if reason}
    if step.name == "near_duplicates":
        areas = [row.clip.stats["width"] * row.clip.stats["height"] for row in rows]
        copies = near(values, areas, **step.applied)
    else:
        by_caption = step.applied["with_caption"]
        windows = [(row.clip.start or 0.0, row.clip.end, row.clip.caption if by_caption else "") for row in rows]
        copies = same(list(zip(values, windows, strict=True)))
    return {i: f"the same as {rows[first].clip.id}" for i, first in copies.items()}
