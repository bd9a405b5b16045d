"""How good are a manifest's captions? `python -m lite_sora.captioning.score MANIFEST` reads every row and measures

words        how long they are (a Chinese character counts as a word)
repetition   the fraction of a caption's 4-grams that come earlier in it: seq-rep-4 (1908.04319)
diversity    distinct-1 and -2 (1510.03055): different n-grams as a fraction of all n-grams. They fall with the number
             of captions, so compare manifests of one size
similarity   with --clip: the cosine of CLIP's embeddings of caption and frames; CLIP reads the first 77 tokens
facts        with --toy: shape, colour and motion in a toy world's captions, right, wrong or missing
"""

import argparse
import re
import statistics
from array import array
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from lite_sora.commands import command
from lite_sora.curation.footage import Footage, Reader
from lite_sora.curation.similarity import FrameTextSimilarity
from lite_sora.data.clip import Clip, ManifestError, read_rows
from lite_sora.data.video import ClipError
from lite_sora.processes import check_device
from lite_sora.storage.files import make_folder, write_whole
from lite_sora.storage.runs import write_json
from lite_sora.toy.sentences import facts_of, mark_caption

LISTED = 20  # problems that are listed; the others are only counted
WORD = re.compile("[\u3400-\u9fff]|[^\\W\u3400-\u9fff]+(?:['’][^\\W\u3400-\u9fff]+)*")
NUMBERS = ("words", "repetition", "similarity")
SUMMARY = {"mean": statistics.fmean, "median": statistics.median, "min": min, "max": max}
MARKS = {"right": "tab:green", "wrong": "tab:red", "missing": "tab:gray"}  # of facts, with their colours
Triples = list[tuple[str, str, str]]  # shape, colour and motion of each thing


@dataclass
class Scores:
    """A few numbers of each caption, and the hashes of all different n-grams."""

    clips: int = 0
    empty: int = 0
    words: array = field(default_factory=lambda: array("f"))  # one number a caption, as in the next two
    repetition: array = field(default_factory=lambda: array("f"))
    similarity: array = field(default_factory=lambda: array("f"))
    different: set[int] = field(default_factory=set)  # captions
    grams: dict[int, set[int]] = field(default_factory=lambda: {1: set(), 2: set()})
    facts: Counter = field(default_factory=Counter)  # of `MARKS`
    marked: int = 0  # captions whose facts were checked
    all_right: int = 0
    problems: int = 0
    listed: list[str] = field(default_factory=list)  # the first of them

    def add_problem(self, text: str) -> None:
        self.problems += 1
        if len(self.listed) < LISTED:
            self.listed.append(text)


def words_of(caption: str) -> list[str]:
    """Lower-case words without punctuation; each Chinese character is one."""
    return WORD.findall(caption.lower())


def ngrams(words: list[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[i:] for i in range(n)), strict=False))


def repetition(words: list[str], n: int = 4) -> float:
    """The fraction of n-grams that come earlier in the same caption: 0 to nearly 1."""
    grams = ngrams(words, n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def score(
    manifest: Path | str,
    similarity: FrameTextSimilarity | None = None,
    truth: dict[str, Triples] | None = None,
    allow_outside: bool = False,
) -> Scores:
    """Measures all captions of a manifest, row by row. truth: {clip id: the things that it really shows}. Broken rows
    and videos, and clips without a caption or without known facts, are problems: counted, listed and left out. Raises
    ManifestError if there is no such manifest."""
    manifest, scores = Path(manifest), Scores()
    for _, clip in tqdm(read_rows(manifest, allow_outside), "scoring", unit="clip", leave=False):
        if isinstance(clip, ManifestError):
            scores.add_problem(str(clip))
            continue
        scores.clips += 1
        captions = [caption for caption in clip.all_captions if caption.strip()]
        if not captions:
            scores.empty += 1
            scores.add_problem(f"clip {clip.id!r} has no caption")
        for caption in captions:
            words = words_of(caption)
            scores.words.append(len(words))
            scores.repetition.append(repetition(words))
            scores.different.add(hash(caption))
            for n, grams in scores.grams.items():
                grams.update(map(hash, ngrams(words, n)))
        if truth is not None and clip.id not in truth:
            scores.add_problem(f"clip {clip.id!r}: it is unknown what it shows")
        elif truth is not None:
            for caption in captions or [""]:
                marks = mark_caption(caption, truth[clip.id])
                scores.facts.update(marks)
                scores.marked += 1
                scores.all_right += marks["wrong"] == marks["missing"] == 0
        if similarity and captions:
            path = manifest.parent / clip.video
            try:
                frames = Footage(clip, path, Reader(path)).pick(3)
                scores.similarity.extend(similarity.score([frames] * len(captions), captions))
            except ClipError as error:
                scores.add_problem(str(error))
    return scores


def read_truth(manifest: Path | str) -> dict[str, Triples]:
    """{clip id: the things in it} of a toy world's manifest."""
    clips = (clip for _, clip in read_rows(manifest, True) if isinstance(clip, Clip))
    return {clip.id: things for clip in clips if (things := facts_of(clip))}


def results(scores: Scores) -> dict:
    """All numbers, for JSON. Facts are fractions of all facts that captions say or should say; "wrong" includes facts
    about things that are not there."""
    captions = len(scores.words)
    found = {"clips": scores.clips, "captions": captions, "empty": scores.empty, "problems": scores.problems}
    for name in NUMBERS:
        if values := getattr(scores, name):
            found[name] = {label: summary(values) for label, summary in SUMMARY.items()}
    if captions:
        total = {n: sum(max(0, int(words) + 1 - n) for words in scores.words) for n in scores.grams}
        found["diversity"] = {"vocabulary": len(scores.grams[1])}
        found["diversity"] |= {f"distinct-{n}": len(grams) / max(1, total[n]) for n, grams in scores.grams.items()}
        found["diversity"]["different captions"] = len(scores.different) / captions
    if scores.marked:
        found["facts"] = {mark: scores.facts[mark] / scores.facts.total() for mark in MARKS}
        found["facts"] |= {"all right": scores.all_right / scores.marked, "captions": scores.marked}
    return found


def table(found: dict) -> str:
    """The numbers as text, a few lines."""
    lines = [f"{found['captions']:,} captions of {found['clips']:,} clips, {found['empty']:,} of them without one"]
    lines.append(f"{'':12}" + "".join(f"{label:>10}" for label in SUMMARY))
    for name in NUMBERS:
        if name in found:
            lines.append(f"{name:12}" + "".join(f"{value:10.4g}" for value in found[name].values()))
    if diversity := found.get("diversity"):
        line = "diversity   {vocabulary:,} words, distinct-1 {distinct-1:.4f}, distinct-2 {distinct-2:.4f}, "
        lines.append(line.format_map(diversity) + f"{diversity['different captions']:.1%} of the captions differ")
    if facts := found.get("facts"):
        fractions = " · ".join(f"{mark} {facts[mark]:.1%}" for mark in MARKS)
        right = f"all right in {facts['all right']:.1%} of {facts['captions']:,} captions"
        lines.append(f"facts       {fractions}; {right}")
    return "\n".join(lines)


def draw(scores: Scores, path: Path) -> None:
    """Draws histograms of the scores into a PNG, which appears whole or not at all."""
    from matplotlib.figure import Figure

    spreads = {"words a caption": scores.words, "repeated 4-grams": scores.repetition}
    spreads |= {"CLIP similarity": scores.similarity} if scores.similarity else {}
    panels = len(spreads) + bool(scores.marked)
    figure = Figure(figsize=(4 * panels, 3.5), layout="constrained")
    axes = figure.subplots(1, panels)
    for panel, (name, values) in zip(axes, spreads.items(), strict=False):
        panel.hist(values, bins=20, range=(0, 1) if name == "repeated 4-grams" else None)
        panel.set(xlabel=name, ylabel="captions")
    if scores.marked:
        axes[-1].bar(list(MARKS), [scores.facts[mark] for mark in MARKS], color=list(MARKS.values()))
        axes[-1].set(ylabel="facts")
    write_whole(path, lambda part: figure.savefig(part, format="png"))


@command("score")
def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m lite_sora.captioning.score", description=__doc__, formatter_class=raw, allow_abbrev=False
    )
    flag = parser.add_argument
    flag("manifest", type=Path)
    flag("--clip", metavar="MODEL", help="a CLIP, by folder or hub id: openai/clip-vit-base-patch32")
    flag("--toy", action="store_true", help="the clips are the toy world's: score their facts")
    flag("--truth", type=Path, help="with --toy: the toy world's own manifest, if this one lacks the facts")
    flag("--out", type=Path, help="a JSON file for the numbers")
    flag("--picture", type=Path, help="a PNG for their histograms")
    flag("--device", help="for CLIP (default: cuda if there is one, then mps, then cpu)")
    flag("--allow-outside", action="store_true", help="let the manifest name videos outside its folder")
    options = parser.parse_args()
    if options.truth and not options.toy:
        parser.error("--truth is for --toy")
    source = options.truth or options.manifest
    for name in ("out", "picture"):
        if path := getattr(options, name):
            make_folder(path.parent, f"--{name} {path}")
    device = check_device(options.device)
    truth = read_truth(source) if options.toy else None
    if truth == {}:
        raise ManifestError(
            f"{source}: does not say what the clips show (stats, toy); with --truth, name the manifest that the "
            "toy world was written with"
        )
    clip = FrameTextSimilarity(options.clip, device) if options.clip else None
    scores = score(options.manifest, clip, truth, options.allow_outside)
    found = {"manifest": str(options.manifest), "clip": options.clip, **results(scores)}
    print(table(found))
    if scores.problems:
        more = f" (the first {LISTED} of them)" if scores.problems > LISTED else ""
        print(f"problems: {scores.problems:,}{more}", *scores.listed, sep="\n")
    if options.out:
        write_json(options.out, found)
    if options.picture:
        draw(scores, options.picture)


if __name__ == "__main__":
    main()
