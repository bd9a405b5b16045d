"""What a comparison found: a table (README.md, results.csv), curves (curves.png), and a sheet of samples (samples.png).

A number is the mean over seeds; after ± stands its standard deviation over seeds, where there are several.
"""

import csv
import io
import itertools
import json
import math
import textwrap
from pathlib import Path
from statistics import mean, stdev

from PIL import Image, ImageDraw

from lite_sora.evaluation.x0_error import LOG_SNRS
from lite_sora.storage.files import write_whole
from lite_sora.training.metrics import read_lines

COLUMNS = {  # heading: key of result.json, and its format
    "seen": ("seen", "{:.1%}"),
    "held-out": ("held-out", "{:.1%}"),
    "shape": ("shape", "{:.0%}"),
    "colour": ("colour", "{:.0%}"),
    "motion": ("motion", "{:.0%}"),
    "diversity": ("diversity", "{:.2f}"),
    "x0 error": ("x0_error", "{:.4f}"),
}


def write_report(out: Path, plan: dict) -> None:
    """Writes the report of all runs in `out` that are finished."""
    results = read_results(out)
    if not results:
        return
    rows = []
    for name in sorted(results, key=lambda name: mean(result["x0_error"] for result in results[name])):
        row, runs = plan["variants"][name], results[name]
        seconds = mean(run["seconds"] for run in runs)
        cells = {"variant": name, "seeds": len(runs), "steps": row["steps"], "parameters": f"{row['parameters']:,}"}
        cells |= {"TFLOPs": f"{row['steps'] * row['flops'] / 1e12:.3g}", "seconds": f"{seconds:.0f}"}
        cells |= {heading: spread([run[key] for run in runs], form) for heading, (key, form) in COLUMNS.items()}
        rows.append(cells)
    lines = ["Sorted by the error of the clean video; ± is the standard deviation over seeds.", ""]
    lines += ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    lines += ["| " + " | ".join(str(cell) for cell in row.values()) + " |" for row in rows]
    notes = [f"- {name}: {limit}" for name in results for limit in plan["variants"][name]["limits"]]
    lines += ["", "Known beforehand:", "", *notes] if notes else []
    text = "\n".join([*lines, "", "![curves](curves.png)", "![samples](samples.png)", ""])
    write_whole(out / "README.md", lambda path: path.write_text(text, encoding="utf-8"))
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["variant", "seed", *COLUMNS])
    for run in (run for runs in results.values() for run in runs):
        writer.writerow([run["variant"], run["seed"], *(run[key] for key, _ in COLUMNS.values())])
    write_whole(out / "results.csv", lambda path: path.write_text(table.getvalue(), encoding="utf-8"))
    plot(out / "curves.png", results)
    sample_sheet(results).save(out / "samples.png")


def read_results(out: Path) -> dict[str, list[dict]]:
    """{variant: its finished runs, by seed}."""
    results: dict[str, list[dict]] = {}
    for path in sorted(out.glob("*/seed-*/result.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        run |= run.pop("facts")
        run["folder"] = path.parent
        points = {point["step"]: point for point in read_lines(path.parent / "curve.jsonl")}
        run["curve"] = [points[step] for step in sorted(points)]
        run["seconds"] = run["curve"][-1]["seconds"] if run["curve"] else math.nan
        results.setdefault(run["variant"], []).append(run)
    return results


def spread(values: list[float | None], form: str) -> str:
    values = [value for value in values if value is not None]
    if not values:
        return "–"
    return form.format(mean(values)) + (" ± " + form.format(stdev(values)).rstrip("%") if len(values) > 1 else "")


def plot(path: Path, results: dict[str, list[dict]]) -> None:
    """Adherence and the error of the clean video over FLOPs and seconds, and the error by noise level at the end."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplot_mosaic(
        [["seen at flops", "seen at seconds", "levels"], ["x0_error at flops", "x0_error at seconds", "levels"]],
        figsize=(16, 9),
        layout="constrained",
    )
    for number, (name, runs) in enumerate(results.items()):
        line = ("-", "--", ":", "-.")[number // 10 % 4]
        style = {"color": plt.get_cmap("tab10")(number % 10), "linestyle": line, "marker": "o", "markersize": 3}
        at: dict[int, list[dict]] = {}  # step: a point of each seed
        for point in (point for run in runs for point in run["curve"]):
            at.setdefault(point["step"], []).append(point)
        points = [at[step] for step in sorted(at)]
        for value, key in itertools.product(("seen", "x0_error"), ("flops", "seconds")):
            x, y = ([mean(point[which] for point in seeds) for seeds in points] for which in (key, value))
            axes[f"{value} at {key}"].plot(x, y, **style)
        levels = list(zip(*(run["x0_errors"] for run in runs), strict=True))
        axes["levels"].plot(LOG_SNRS, [mean(values) for values in levels], **style, label=name)
    for key, text in (("flops", "FLOPs"), ("seconds", "seconds")):
        axes[f"seen at {key}"].set(ylim=(-0.02, 1.02), xlabel=text, ylabel="adherence, seen combinations")
        axes[f"x0_error at {key}"].set(yscale="log", xlabel=text, ylabel="error of the clean video")
    axes["levels"].set(
        xlabel="log-SNR (left: noise, right: data)",
        yscale="log",
        title="error of the clean video, by noise level, at the end",
    )
    columns = max(1, 180 // (8 + max(map(len, results))))  # of as many letters as fit below the figure
    figure.legend(loc="outside lower center", ncols=columns, fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def sample_sheet(results: dict[str, list[dict]]) -> Image.Image:
    """A row for each variant: the videos of the same prompts and seed."""
    names = list(results)
    rows = [[Image.open(path) for path in sorted(results[n][0]["folder"].glob("prompt-*.png"))] for n in names]
    left, gap = 260, 6
    height = max(picture.height for row in rows for picture in row)
    width = left + max(sum(picture.width + gap for picture in row) for row in rows)
    sheet = Image.new("RGB", (width, (height + gap) * len(rows)), "white")
    pen = ImageDraw.Draw(sheet)
    for y, (name, row) in enumerate(zip(names, rows, strict=True)):
        x = left
        label, top = textwrap.fill(name.replace(",", ", "), 36), y * (height + gap)
        pen.text((gap, top + height // 2), label, fill="black", font_size=13)
        for picture in row:
            sheet.paste(picture, (x, top))
            x += picture.width + gap
    return sheet
