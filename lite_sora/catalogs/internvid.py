"""InternVid: 10 to 230 million clips of YouTube videos, captioned by models (2307.06942).

`InternVid-10M-flt.jsonl`, -DIV, -AES-18M and `InternVid-full.jsonl` (45.6 GB), one clip each line. Time stamps count
in the YouTube video.
"""

from collections.abc import Iterator
from pathlib import Path

from lite_sora.catalogs.rows import Entry, entries, jsonl_rows
from lite_sora.catalogs.values import numbers, seconds, split_of_file, text
from lite_sora.data.clip import Clip


def read(path: Path, cut: bool = False, split: str | None = None) -> Iterator[Entry]:
    """One clip for each row: a window of {YouTube id}.mp4 or, if the files are `cut` already, the whole of
    {YouTube id}_{start}_{end}.mp4, with the time stamps as in the row.

    Scores are those of the release, if it has any: `aesthetic` on LAION's scale of 1 to 10, and UMT's text-video
    similarity.
    """
    split = split or split_of_file(path)

    def clip(row: dict) -> Iterator[Clip]:
        source, since, until = text(row, "YoutubeID"), text(row, "Start_timestamp"), text(row, "End_timestamp")
        start, end = seconds(since), seconds(until)
        name = f"{source}_{since}_{until}"
        video = name if cut else source
        stats = numbers(row, aesthetic="Aesthetic_Score", umt_score="UMT_Score")
        window = (None, None) if cut else (start, end)
        yield Clip(name, f"{video}.mp4", text(row, "Caption"), [], *window, "en", split, source, stats)

    return entries(jsonl_rows(path), clip)
