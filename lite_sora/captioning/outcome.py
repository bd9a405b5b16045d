"""Answers into the manifest's rows, what to tell of them at the end, and a picture of a few."""

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

from lite_sora.captioning.frames import Looking, look_at
from lite_sora.captioning.history import with_caption
from lite_sora.captioning.quality import usable
from lite_sora.data.clip import Clip, write_manifest
from lite_sora.data.preview import sheet
from lite_sora.storage.files import write_whole

SHOWN = 3  # clips, of those that are captioned and of those that are skipped
CHANGED = "its file changed while others were captioned; run the same command again"


@dataclass
class Outcome:
    """What a run has come to."""

    captioned: int = 0  # clips in the new manifest
    kept_old: int = 0  # of those, how many keep their old caption, since the new one is not usable
    marked: Counter = field(default_factory=Counter)  # mark: clips
    skipped: int = 0
    reasons: list[str] = field(default_factory=list)  # of the first that were skipped
    examples: list[tuple[Clip, Clip]] = field(default_factory=list)  # (before, after)
    rate: float = 0.0  # clips a second in this run, of all processes together


def write(
    rows: Iterable[tuple[Clip, dict | None]], described: dict, language: str, out: Path, skipped: Path
) -> Outcome:
    """Writes the clips that have an answer to `out`, and a line for each other one to `skipped`; answers are what the
    store holds. Both files appear whole."""
    outcome = Outcome()
    write_whole(skipped, lambda part: _write(rows, described, language, out, part, outcome))
    return outcome


def _write(rows, described: dict, language: str, out: Path, skipped: Path, outcome: Outcome) -> None:
    with skipped.open("w", encoding="utf-8") as lines:
        write_manifest(out, _captioned(rows, described, language, lines, outcome))


def _captioned(rows, described: dict, language: str, skipped: TextIO, outcome: Outcome) -> Iterator[Clip]:
    for clip, answer in rows:
        if answer is None or "broken" in answer:
            reason = f"{clip.id}: {clip.video}: {answer['broken'] if answer else CHANGED}"
            skipped.write(reason + "\n")
            outcome.skipped += 1
            if len(outcome.reasons) < SHOWN:
                outcome.reasons.append(reason)
            continue
        said = {name: answer[name] for name in ("caption", "frames", "marks", "frame_captions") if name in answer}
        new = with_caption(clip, said | described, language)
        outcome.captioned += 1
        outcome.marked.update(answer["marks"])
        outcome.kept_old += not usable(answer["marks"])
        if usable(answer["marks"]) and len(outcome.examples) < SHOWN:
            outcome.examples.append((clip, new))
        yield new


def draw(examples: list[tuple[Clip, Clip]], looking: Looking, folder: Path, path: Path) -> None:
    """Draws what the captioner saw of a few clips, whose videos lie in `folder`, under what it said, into a PNG."""
    rows, labels = [], []
    for _, clip in examples:
        frames = look_at(folder / clip.video, clip, replace(looking, size=160))[1]
        width = max(frames.shape[0] * frames.shape[2], 400)
        rows.append(frames)
        labels.append(textwrap.fill(f"{clip.id}: {clip.caption}", width // 6))
    if rows:
        write_whole(path, lambda part: sheet(rows, labels, at_least=96).save(part, format="png"))
