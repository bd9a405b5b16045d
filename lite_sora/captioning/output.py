"""Answers into the manifest's rows, what the command prints at the end, and a picture of a few clips."""

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

from lite_sora.captioning.frames import FrameChoice, read_chosen
from lite_sora.captioning.history import with_caption
from lite_sora.captioning.quality import usable
from lite_sora.data.clip import Clip, write_manifest
from lite_sora.data.preview import sheet
from lite_sora.storage.files import write_whole

SHOWN = 3  # clips, of those that are captioned and of those that are skipped
CHANGED = "its file changed while others were captioned; run the same command again"


@dataclass
class Output:
    """What a run has written."""

    captioned: int = 0  # clips in the new manifest
    kept_old: int = 0  # of those, how many keep their old caption, since the new one is not usable
    marked: Counter = field(default_factory=Counter)  # mark: clips
    skipped: int = 0
    reasons: list[str] = field(default_factory=list)  # of the first that were skipped
    examples: list[tuple[Clip, Clip]] = field(default_factory=list)  # (before, after)
    rate: float = 0.0  # clips a second in this run, of all processes together


def write(rows: Iterable[tuple[Clip, dict | None]], described: dict, language: str, out: Path, skipped: Path) -> Output:
    """Writes the clips that have an answer to `out`, and a line for each other one to `skipped`. Answers are what the
    journal contains. Both files appear whole."""
    output = Output()

    def write_both(part: Path) -> None:
        with part.open("w", encoding="utf-8") as lines:
            write_manifest(out, _captioned(rows, described, language, lines, output))

    write_whole(skipped, write_both)
    return output


def _captioned(rows, described: dict, language: str, skipped: TextIO, output: Output) -> Iterator[Clip]:
    for clip, answer in rows:
        if answer is None or "broken" in answer:
            reason = f"{clip.id}: {clip.video}: {answer['broken'] if answer else CHANGED}"
            skipped.write(reason + "\n")
            output.skipped += 1
            if len(output.reasons) < SHOWN:
                output.reasons.append(reason)
            continue
        said = {name: answer[name] for name in ("caption", "frames", "marks", "frame_captions") if name in answer}
        new = with_caption(clip, said | described, language)
        output.captioned += 1
        output.marked.update(answer["marks"])
        output.kept_old += not usable(answer["marks"])
        if usable(answer["marks"]) and len(output.examples) < SHOWN:
            output.examples.append((clip, new))
        yield new


def draw(examples: list[tuple[Clip, Clip]], choice: FrameChoice, folder: Path, path: Path) -> None:
    """Draws the frames that the captioner saw of a few clips, whose videos are in `folder`, and its captions above
    them into a PNG."""
    rows, labels = [], []
    for _, clip in examples:
        frames = read_chosen(folder / clip.video, clip, replace(choice, size=160))[1]
        width = max(frames.shape[0] * frames.shape[2], 400)
        rows.append(frames)
        labels.append(textwrap.fill(f"{clip.id}: {clip.caption}", width // 6))
    if rows:
        write_whole(path, lambda part: sheet(rows, labels, at_least=96).save(part, format="png"))
