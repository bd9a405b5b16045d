"""Datasets of tables with a clip in each row: InternVid, WebVid-10M, Youku-mPLUG, lite-sora's earlier layout."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from lite_sora.catalogs.rows import Entry, csv_header, csv_rows, entries, json_rows, jsonl_rows
from lite_sora.catalogs.values import (
    CatalogError,
    Unusable,
    digest,
    literal_list,
    numbers,
    seconds,
    split_of_file,
    text,
)
from lite_sora.data.clip import Clip

YOUKU_CAPTIONS = ("golden_caption", "caption", "title")


def internvid(path: Path, cut: bool = False, split: str | None = None) -> Iterator[Entry]:
    """Ten to 230 million clips of YouTube videos, captioned by models (2307.06942): `InternVid-10M-flt.jsonl`, -DIV,
    -AES-18M and `InternVid-full.jsonl` (45.6 GB). A row is a window of {YouTube id}.mp4 or, if the files are `cut`
    already, the whole of {YouTube id}_{start}_{end}.mp4, with the time stamps as in the row.

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


def webvid(path: Path, split: str | None = None) -> Iterator[Entry]:
    """WebVid-10M, stock footage with its titles (2104.00650): `results_10M_train.csv` and `_val` (and the 2M
    ones, whose columns have another order). Every preview carries Shutterstock's watermark. **The authors withdrew the
    dataset on 23 February 2024**, after a cease-and-desist letter, and its terms gave twelve months of non-commercial
    research: this reads copies that you may lawfully hold.

    A row is the whole of videos/{page_dir}/{videoid}.mp4. Rows without page_dir have no path: the official downloader
    skips them too. An id that comes again with another title is reported.
    """
    split = split or split_of_file(path)

    def clip(row: dict) -> Iterator[Clip]:
        name, folder = text(row, "videoid"), row["page_dir"].strip()
        if not folder or folder.lower() == "nan":
            raise Unusable('no "page_dir"', name)
        stats = {"duration": seconds(row["duration"])} if row.get("duration", "").startswith("PT") else {}
        video = f"videos/{folder}/{name}.mp4"
        yield Clip(name, video, text(row, "name"), language="en", split=split, stats=stats)

    return entries(csv_rows(path, ["videoid", "page_dir", "name"]), clip)


def youku(path: Path, split: str | None = None) -> Iterator[Entry]:
    """Youku-mPLUG, ten million Chinese videos with titles, and three smaller sets with captions (2306.04362):
    `pretrain.csv`, and {classification,retrieval,captioning}_{train,val,test}.csv.

    The column of paths is called "video_id:FILE" or "clip_name:FILE"; paths start with videos/ and end in .flv or .mp4.
    captioning_val.csv contains Python lists. The captions of captioning_test.csv are hidden, so all of its rows are
    reported as without a caption.
    """
    header = csv_header(path)
    video = next((name for name in header if name.endswith(":FILE")), None)
    column = next((name for name in YOUKU_CAPTIONS if name in header), None)
    if video is None or column is None:
        raise CatalogError(f"{path}: no column …:FILE or none of {', '.join(YOUKU_CAPTIONS)} among {str(header)[:300]}")
    split = split or split_of_file(path)

    def clip(row: dict) -> Iterator[Clip]:
        name, caption = text(row, video), text(row, column)
        if caption.lower() == "nan":
            raise Unusable(f'no "{column}"')
        stem = PurePosixPath(name).stem
        if column == "golden_caption":  # a video may come in several rows, with one caption each
            stem = f"{stem}-{digest(caption)}"
        stats = {"category": row["label"]} if row.get("label") else {}
        yield Clip(stem, name, "", _captions(caption), language="zh", split=split, stats=stats)

    return entries(csv_rows(path, [video, column]), clip)


def _captions(caption: str) -> list[str]:
    """Several captions if the cell is a Python list of them; a title in [brackets] is one caption."""
    if caption.startswith("[") and caption.endswith("]"):
        try:
            found = literal_list(caption)
        except Unusable:
            return [caption]
        if found and all(isinstance(one, str) for one in found):
            return found
    return [caption]


def lite_sora(path: Path, language: str | None = None, split: str | None = None) -> Iterator[Entry]:
    """lite-sora's earlier layout: metadata.json, a JSON array of {"path": "videos/….mp4", "text"}, next to videos/. A
    clip's id is its path."""

    def clip(row: dict) -> Iterator[Clip]:
        video = text(row, "path")
        yield Clip(video, video, text(row, "text"), language=language, split=split)

    return entries(json_rows(path), clip)
