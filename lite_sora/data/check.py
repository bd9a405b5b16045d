"""Can a manifest be trained on? `python -m lite_sora.data.check MANIFEST` reads every row and every video's header,
lists problems with line numbers, and draws durations, sizes and lengths of captions.
"""

import argparse
import statistics
import sys
from array import array
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from tqdm import tqdm

from lite_sora.commands import command
from lite_sora.data.clip import Clip, ManifestError, read_rows
from lite_sora.data.video import ClipError, VideoInfo, probe
from lite_sora.storage.files import make_folder, write_whole

LISTED = 20  # problems that are listed; the others are only counted


@dataclass
class Findings:
    """What a manifest contains, and what is wrong with it."""

    clips: int = 0
    splits: Counter = field(default_factory=Counter)
    sizes: Counter = field(default_factory=Counter)  # (width, height): clips
    durations: array = field(default_factory=lambda: array("f"))  # seconds of each clip
    words: array = field(default_factory=lambda: array("f"))  # of each caption
    problems: Counter = field(default_factory=Counter)  # kind: how many
    listed: list[str] = field(default_factory=list)  # the first of them

    def add_problem(self, line: int, kind: str, text: str) -> None:
        self.problems[kind] += 1
        if len(self.listed) < LISTED:
            self.listed.append(f"line {line}: {text}")


def check(manifest: Path | str, allow_outside: bool = False) -> Findings:
    """Reads a manifest row by row; of each row only its id, its source and a few numbers are kept. A clip without a
    "source" counts as cut from its video. Raises ManifestError if there is no such manifest."""
    manifest, findings = Path(manifest), Findings()
    first_line: dict[str, int] = {}  # of each id
    split_of: dict[str, tuple[int, str | None]] = {}  # source: the line and the split that it was first in

    @lru_cache(1024)  # the clips of one video are mostly neighbours
    def info_of(video: str) -> VideoInfo | ClipError:
        try:
            return probe(manifest.parent / video)
        except ClipError as error:
            return error

    for line, clip in tqdm(read_rows(manifest, allow_outside), "checking", unit="clip", leave=False):
        if isinstance(clip, ManifestError):
            findings.add_problem(line, "not a clip", str(clip).removeprefix(f"{manifest}, line {line}: "))
            continue
        findings.clips += 1
        findings.splits[clip.split] += 1
        if first_line.setdefault(clip.id, line) != line:
            findings.add_problem(line, "one id twice", f"id {clip.id!r} is that of line {first_line[clip.id]} too")
        source = clip.source or clip.video
        earlier, split = split_of.setdefault(source, (line, clip.split))
        if split != clip.split:
            text = f"source {source!r} is in split {clip.split!r} here, and in {split!r} in line {earlier}"
            findings.add_problem(line, "one source in two splits", text)
        captions = [len(caption.split()) for caption in clip.all_captions if caption.strip()]
        findings.words.extend(captions)
        if not captions:
            findings.add_problem(line, "no caption", f"clip {clip.id!r} has no caption")
        _check_video(clip, info_of(clip.video), line, findings)
    if not findings.clips and not findings.problems:
        findings.add_problem(0, "no clip", "the manifest is empty")
    return findings


def _check_video(clip: Clip, info: VideoInfo | ClipError, line: int, findings: Findings) -> None:
    if isinstance(info, ClipError):
        missing = info.reason == "there is no such file"
        findings.add_problem(line, "missing file" if missing else "broken file", str(info))
        return
    findings.sizes[info.width, info.height] += 1
    start, end = clip.start or 0, info.duration if clip.end is None else clip.end
    findings.durations.append(max(0, min(end, info.duration) - start))
    if start > info.duration or end > info.duration + 1 / info.fps:  # one frame's tolerance
        text = f"clip {clip.id!r} goes from {start:.2f} to {end:.2f} s, but {clip.video} lasts {info.duration:.2f} s"
        findings.add_problem(line, "wrong times", text)


def summary(findings: Findings) -> str:
    """A few lines for people: what there is, then what is wrong."""
    splits = ", ".join(f"{name or 'no split'} {count:,}" for name, count in findings.splits.most_common())
    lines = [f"{findings.clips:,} clips ({splits}), {sum(findings.durations) / 3600:.2f} hours"]
    for name, values in (("seconds a clip", findings.durations), ("words a caption", findings.words)):
        if values:
            lines.append(f"{name}: {min(values):.4g} to {max(values):.4g}, median {statistics.median(values):.4g}")
    sizes = [f"{width}×{height} ({count:,})" for (width, height), count in findings.sizes.most_common(5)]
    more = len(findings.sizes) - len(sizes)
    lines.append("sizes: " + (", ".join(sizes) or "none") + (f" and {more:,} others" if more else ""))
    if not findings.problems:
        return "\n".join([*lines, "nothing is wrong with it"])
    lines += findings.listed
    if findings.problems.total() > LISTED:
        lines.append(f"… and {findings.problems.total() - LISTED:,} more")
    counts = ", ".join(f"{kind} {count:,}" for kind, count in findings.problems.most_common())
    return "\n".join([*lines, f"problems: {findings.problems.total():,} ({counts})"])


def draw(findings: Findings, path: Path) -> None:
    """Draws durations, sizes and lengths of captions into a PNG, which appears whole or not at all."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    durations, sizes, words = figure.subplots(1, 3)
    durations.hist(findings.durations, bins=40)
    durations.set(xlabel="seconds", ylabel="clips", title=f"{sum(findings.durations) / 3600:.2f} hours")
    common = findings.sizes.most_common(12)[::-1]  # the most common at the top
    sizes.barh([f"{width}×{height}" for (width, height), _ in common], [count for _, count in common])
    title = f"{len(findings.sizes):,} sizes" + (", the most common" if len(common) == 12 else "")
    sizes.set(xlabel="clips", title=title)
    bins = max(1, min(40, len(set(findings.words))))  # word counts are whole numbers: a bin between two would be empty
    words.hist(findings.words, bins)
    words.set(xlabel="words a caption", ylabel="captions", title=f"{len(findings.words):,} captions")
    write_whole(path, lambda part: figure.savefig(part, format="png"))


@command("check")
def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, prog="python -m lite_sora.data.check", description=__doc__)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--picture", type=Path, help="where to draw (default: NAME-check.png next to the manifest)")
    parser.add_argument("--allow-outside", action="store_true", help="let the manifest name videos outside its folder")
    options = parser.parse_args()
    picture = options.picture or options.manifest.with_name(f"{options.manifest.stem}-check.png")
    if options.picture:
        make_folder(picture.parent, f"--picture {picture}")
    findings = check(options.manifest, options.allow_outside)
    print(summary(findings))
    draw(findings, picture)
    print(f"picture: {picture}")
    sys.exit(1 if findings.problems else 0)


if __name__ == "__main__":
    main()
