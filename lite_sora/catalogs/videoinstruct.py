"""VideoInstruct-100K: questions and answers about ActivityNet videos (Video-ChatGPT, 2306.05424).

`VideoInstruct100K.json` is one JSON array on a single line, of {"q", "a", "video_id": "v_" + YouTube id}. An answer is
a caption if the question is about the whole video; other answers ("He wears a red hat") describe too little of it.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from lite_sora.catalogs.rows import Entry, entries, json_rows
from lite_sora.catalogs.values import Unusable, text
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


def read(path: Path, all_questions: bool = False, split: str | None = None) -> Iterator[Entry]:
    """One clip for each video; the answers are its captions. Rows of a video need not be neighbours, so the captions
    are held until the file ends: as much memory as the file's size, 42 MB."""
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
