"""Answers into the manifest's rows, what the command prints at the end, and a picture of a few clips.

A clip keeps every caption that it ever had, and which model wrote it: stats["captioning"], the oldest first.

    {"caption": …, "model": …, "prompt": …, "frames": [seconds], "marks": […]}

"model" is null for a caption that came with the clip, with the clip's "captions" and "language". A summary of frames
has their "frame_captions" too, and under "summary" the language model and its prompt.
"""

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from lite_sora.captioning.answers import usable
from lite_sora.captioning.frames import FrameChoice, read_chosen
from lite_sora.captioning.request import Request
from lite_sora.data.clip import Clip, ManifestError, write_manifest
from lite_sora.data.preview import sheet
from lite_sora.storage.files import write_whole

EXAMPLES = 8  # clips that are shown with their captions, spread over the manifest
REASONS = 3  # clips that are skipped, and why
CHANGED = "its file changed while others were captioned; run the same command again"
SAVED = ("caption", "frames", "marks", "frame_captions")  # of an answer, with the clip


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


def write(rows: Iterable[tuple[Clip, dict | None]], count: int, request: Request, out: Path, skipped: Path) -> Output:
    """Writes the clips that have an answer to `out`, and a line for each other one to `skipped`. Answers are what the
    journal contains; `count` is the number of rows. Both files appear whole."""
    output = Output()

    def captioned(skipped_lines) -> Iterator[Clip]:
        for index, (clip, answer) in enumerate(rows):
            if answer is None or "broken" in answer:
                reason = f"{clip.id}: {clip.video}: {answer['broken'] if answer else CHANGED}"
                skipped_lines.write(reason + "\n")
                output.skipped += 1
                if len(output.reasons) < REASONS:
                    output.reasons.append(reason)
                continue
            entry = {name: answer[name] for name in SAVED if name in answer} | request.described
            new, good = with_caption(clip, entry, request.language), usable(answer["marks"])
            output.captioned += 1
            output.marked.update(answer["marks"])
            output.kept_old += not good
            if good and len(output.examples) * count <= index * EXAMPLES:  # one of each eighth
                output.examples.append((clip, new))
            yield new

    def write_both(part: Path) -> None:
        with part.open("w", encoding="utf-8") as lines:
            write_manifest(out, captioned(lines))

    write_whole(skipped, write_both)
    return output


def history(clip: Clip) -> list[dict]:
    """The captions that the clip had so far. Raises ManifestError if they are not as above."""
    entries = clip.stats.get("captioning", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) and "caption" in entry for entry in entries):
        raise ManifestError(f'clip {clip.id!r}: its stats["captioning"] is not a list of captions; remove it')
    return entries


def with_caption(clip: Clip, entry: dict, language: str) -> Clip:
    """The clip with a new entry, whose caption replaces all others if it is usable."""
    entries = list(history(clip))
    if any(clip.all_captions) and clip.caption not in [entry["caption"] for entry in entries]:
        old = {"captions": clip.captions, "language": clip.language}
        entries.append({"model": None, "caption": clip.caption} | {name: old[name] for name in old if old[name]})
    stats = clip.stats | {"captioning": [*entries, entry]}
    if not usable(entry["marks"]):
        return replace(clip, stats=stats)
    return replace(clip, caption=entry["caption"], captions=[], language=language, stats=stats)


def draw(examples: list[tuple[Clip, Clip]], choice: FrameChoice, folder: Path, path: Path) -> None:
    """Draws the frames that the captioner saw of a few clips, whose videos are in `folder`, and its captions above
    them into a PNG."""
    rows, labels = [], []
    for _, clip in examples:
        rows.append(read_chosen(folder / clip.video, clip, replace(choice, size=160))[1])
        count, _, width, _ = rows[-1].shape
        labels.append(textwrap.fill(f"{clip.id}: {clip.caption}", max(count * width, 400) // 6))
    if rows:
        write_whole(path, lambda part: sheet(rows, labels, at_least=96).save(part, format="png"))
