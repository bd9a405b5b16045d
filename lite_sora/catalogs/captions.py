"""Datasets whose rows are single captions, several for each video, in any order: VideoInstruct-100K, MSR-VTT."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from lite_sora.catalogs.rows import Entry, entries, json_rows
from lite_sora.catalogs.values import CatalogError, Unusable, seconds, split_name, text, youtube_id
from lite_sora.data.clip import Clip

VIDEO = r"(?:the|this) (?:entire |whole |given |short )?(?:video|clip|footage)\b"
HAPPENS = r"(?:happening|happens|going on|taking place|takes place|shown)"
# Questions like the samples that the authors' generator was given: "Can you provide a summary of the video?", "What are
# the main events in the video?", "Could you briefly describe the video content?"
ABOUT_ALL = re.compile(
    "|".join(
        [
            r"\b(?:summar\w+|synopsis|overview|recap)\b",
            rf"\b(?:describe|explain|narrate|outline) (?:briefly |in detail |for me |to me )?{VIDEO}(?!'s)",
            r"\b(?:describe|explain|narrate|outline) (?:the )?(?:main |key |overall )?"
            rf"(?:events?|contents?|activit\w+|actions?|scenes?) (?:\w+ ){{0,2}}(?:in|of) {VIDEO}",
            rf"\bdescription of {VIDEO}(?!'s)",
            rf"\bdescri\w+ (?:of )?what(?:'s| is| was)? {HAPPENS}",
            rf"\bwhat(?:'s| is| was)? {HAPPENS} in {VIDEO}\W*$",
            r"\bwhat (?:are|were) the (?:main|key|primary) (?:events|activities|actions)\b",
            rf"\bwhat is {VIDEO} about\b",
        ]
    ),
    re.IGNORECASE,
)


def videoinstruct(path: Path, all_questions: bool = False, split: str | None = None) -> Iterator[Entry]:
    """VideoInstruct-100K, questions and answers about ActivityNet videos (Video-ChatGPT, 2306.05424):
    `VideoInstruct100K.json` is one JSON array on a single line, of {"q", "a", "video_id": "v_" + YouTube id}. An answer
    is a caption if the question is about the whole video; others ("He wears a red hat") describe too little of it.
    Captions are held until the file ends: as much memory as the file's size, 42 MB.
    """
    answers: dict[str, list[str]] = {}

    def collect(row: dict) -> Iterator[Clip]:
        question, answer, video = text(row, "q"), text(row, "a"), text(row, "video_id")
        if not (all_questions or ABOUT_ALL.search(question)):
            raise Unusable("the question is not about the whole video (--all-questions accepts it)", question)
        if video not in answers:
            answers[video] = []  # the clip's captions, which grow while the file is read
            source = video.removeprefix("v_")  # ids may contain "_" themselves
            yield Clip(video, f"{video}.mp4", "", answers[video], language="en", split=split, source=source)
        answers[video].append(answer)

    found = []
    for entry in entries(json_rows(path), collect):
        if isinstance(entry.clip, Unusable):
            yield entry
        else:
            found.append(entry)
    yield from found


def msrvtt(path: Path, whole_sources: bool = False, split: str | None = None) -> Iterator[Entry]:
    """MSR-VTT, ten thousand clips with twenty captions each (Xu et al., CVPR 2016): `train_val_videodatainfo.json` and
    `test_videodatainfo.json` (or MSRVTT_data.json, both in one) contain "videos" and "sentences", in no order. The file
    is held in memory: it has 7,010 videos with twenty sentences each.

    "start time" and "end time" count in the YouTube video; the distributed files, TrainValVideo/videoN.mp4 and
    TestVideo/videoN.mp4, are cut to them already. With `whole_sources` the videos on disk are {YouTube id}.mp4 instead.
    Several clips share a source, also across the official splits: group by `source` to split without leaks.
    """
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CatalogError(f"{path}: not JSON ({error}); download it again") from None
    videos, sentences = (data.get(key) if isinstance(data, dict) else None for key in ("videos", "sentences"))
    if not isinstance(videos, list) or not isinstance(sentences, list):
        raise CatalogError(f'{path}: no object with the lists "videos" and "sentences"; is this the official file?')
    names = {str(video.get("video_id")) for video in videos if isinstance(video, dict)}
    captions = defaultdict(list)

    def collect(row: dict) -> Iterator[Clip]:
        name = text(row, "video_id")
        if name not in names:
            raise Unusable("a sentence about a video that is not listed", name)
        captions[name].append(text(row, "caption"))
        yield from ()

    def clip(row: dict) -> Iterator[Clip]:
        name, source = text(row, "video_id"), youtube_id(row.get("url"))
        part = split or split_name(row.get("split"))
        stats = {"category": row["category"]} if "category" in row else {}
        video, start, end = f"{'TestVideo' if part == 'test' else 'TrainValVideo'}/{name}.mp4", None, None
        if whole_sources:
            if source is None:
                raise Unusable("no YouTube id in the url", row.get("url"))
            video, start, end = f"{source}.mp4", seconds(row.get("start time")), seconds(row.get("end time"))
        yield Clip(name, video, "", captions[name], start, end, "en", part, source, stats)

    yield from entries(_objects(path, "sentence", sentences), collect)
    yield from entries(_objects(path, "video", videos), clip)


def _objects(path: Path, kind: str, rows: list) -> Iterator[tuple[str, dict | Unusable]]:
    for number, row in enumerate(rows, 1):
        bad = None if isinstance(row, dict) else Unusable("not a JSON object", repr(row)[:1000])
        yield f"{path.name}, {kind} {number}", bad or row
