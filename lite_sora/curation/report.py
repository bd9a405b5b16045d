"""What a recipe did to a manifest, for people: report.md, with a picture of the numbers and a grid of frames."""

from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path

from lite_sora.curation.recipe import Recipe
from lite_sora.curation.selection import Selection
from lite_sora.data.clip import Clip, read_manifest
from lite_sora.data.preview import sheet
from lite_sora.data.video import ClipError, probe, read_frames
from lite_sora.storage.files import write_whole

EXAMPLES = 5  # of what each operator dropped, in words; pictures of the first three
FRAMES, HEIGHT = 6, 96  # of each example in the grid


def write_report(report: Path, recipe: Recipe, selection: Selection, folder: Path) -> None:
    """Writes report.md, numbers.png and frames.png into the folder `report`. `folder` is that of the videos."""
    _numbers(report / "numbers.png", selection)
    dropped = read_manifest(selection.dropped, allow_outside=True)  # operator by operator
    examples = [(name, count, _spread(islice(dropped, count), count, EXAMPLES)) for name, count in selection.drops]
    _frames(report / "frames.png", examples, _spread(selection.kept, selection.counts[-1][2], 2 * EXAMPLES), folder)
    words = _words(recipe, selection, examples)
    write_whole(report / "report.md", lambda part: part.write_text(words, encoding="utf-8"))


def _spread(clips: Iterable[Clip], length: int, count: int) -> list[Clip]:
    """`count` of `length` clips, or all if they are fewer."""
    wanted = {i * length // count for i in range(count)}
    return [clip for i, clip in enumerate(clips) if i in wanted]


def _words(recipe: Recipe, selection: Selection, examples: list[tuple[str, int, list[Clip]]]) -> str:
    hours = sum(clip.stats["duration"] for clip in selection.kept) / 3600
    came, kept = selection.counts[0][1], selection.counts[-1][2]
    lines = [f"# Curation by `{recipe.name}`", ""]
    lines += [f"{came:,} clips came in, {kept:,} clips ({hours:.2f} hours) were kept.", ""]
    lines += ["| operator | clips before | clips after | kept |", "|---|---:|---:|---:|"]
    for name, before, after in selection.counts:
        lines.append(f"| {name} | {before:,} | {after:,} | {after / before if before else 0:.1%} |")
    lines += ["", "![how many clips are left, and how the measures are spread](numbers.png)", ""]
    if examples:
        lines += ["## What was dropped", ""]
    for name, count, some in examples:
        lines += [f"**{name}**: {count:,}", ""]
        lines += [*(f"- `{clip.id}` ({_where(clip)}): {clip.stats['dropped']}" for clip in some), ""]
    lines += ["## Frames", "", "![frames of clips that were dropped and kept](frames.png)", ""]
    if recipe.left_out:
        lines += ["## Left out of the recipe", "", *(f"- {reason}" for reason in recipe.left_out), ""]
    return "\n".join(lines)


def _where(clip: Clip) -> str:
    if clip.start is None and clip.end is None:
        return clip.video
    return f"{clip.video}, {clip.start or 0:.2f} to {'the end' if clip.end is None else f'{clip.end:.2f}'} s"


def _numbers(path: Path, selection: Selection) -> None:
    """How many clips are left after each operator, and a histogram of each filter's measure between its limits."""
    from matplotlib.figure import Figure

    measured = [item for item in selection.measured if item[0].name not in ("integrity", "border_crop")]
    columns, tall = 4, max(2, len(selection.counts) // 3)
    rows = -(-len(measured) // columns)
    figure = Figure(figsize=(13, tall + 2.2 * rows), layout="constrained")
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=[tall, *[2.2] * rows])
    funnel = figure.add_subplot(grid[0, :])
    names, before, after = zip(*selection.counts, strict=True)
    rungs = range(len(names))
    funnel.barh(rungs, before, color="0.88", label="before")
    bars = funnel.barh(rungs, after, color="C0", label="after")
    funnel.bar_label(bars, [f"{count:,}" for count in after], padding=3, fontsize=8)
    funnel.set_yticks(rungs, [name.split("(")[0] for name in names])
    funnel.invert_yaxis()
    funnel.set(title="clips that each operator kept")
    funnel.legend(loc="lower right")
    for index, (step, sample) in enumerate(measured):
        axes = figure.add_subplot(grid[1 + index // columns, index % columns])
        values = [value for value in sample.values if value is not None]
        weight = len(sample) / max(1, len(sample.values))  # of each, if they are a sample of more
        axes.hist(values, bins=30, weights=[weight] * len(values), color="0.6")
        low, high = axes.get_xlim()
        for limit in step.applied.values():
            if limit is not None:
                axes.axvline(limit, color="C3")
        axes.set_xlim(low - 0.2 * (high - low), high + 0.2 * (high - low))  # a limit may lie far outside
        axes.set_title(str(step), fontsize=8)
        axes.tick_params(labelsize=8)
    write_whole(path, lambda part: figure.savefig(part, dpi=100, format="png"))


def _frames(path: Path, examples: list, kept: list[Clip], folder: Path) -> None:
    """A grid of frames: three clips that each operator dropped, and some that were kept."""
    rows, labels = [], []
    wanted = [(f"DROPPED {clip.id}: {clip.stats['dropped']}", clip) for _, _, some in examples for clip in some[:3]]
    wanted += [(f"kept {clip.id}: {clip.caption[:80]}", clip) for clip in kept]
    for label, clip in wanted:
        with suppress(ClipError):  # it was dropped because it cannot be read
            info = probe(folder / clip.video)
            start, end = clip.start or 0.0, info.duration if clip.end is None else clip.end
            times = [start + (i + 0.5) * (end - start) / FRAMES for i in range(FRAMES)]
            width = max(1, round(HEIGHT * info.width / info.height))
            rows.append(read_frames(folder / clip.video, times, HEIGHT, width))
            labels.append(label)
    if rows:
        write_whole(path, lambda part: sheet(rows, labels, at_least=1).save(part, format="png"))
