"""Youku-mPLUG: ten million Chinese videos with titles, and three smaller sets with captions (2306.04362).

`pretrain.csv`, and {classification,retrieval,captioning}_{train,val,test}.csv. The column of paths is called
"video_id:FILE" or "clip_name:FILE"; paths start with videos/ and end in .flv or .mp4. captioning_val.csv holds Python
lists; the captions of captioning_test.csv are hidden, so that all of its rows are reported as without a caption.
"""

import csv
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from lite_sora.data.catalogs.rows import Entry, csv_rows, entries
from lite_sora.data.catalogs.values import CatalogError, Unusable, literal_list, split_of_file, text
from lite_sora.data.clip import Clip

CAPTIONS = ("golden_caption", "caption", "title")


def read(path: Path, split: str | None = None) -> Iterator[Entry]:
    """One clip for each row, whole files; `language` is zh."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        header = next(csv.reader(file), [])
    video = next((name for name in header if name.endswith(":FILE")), None)
    column = next((name for name in CAPTIONS if name in header), None)
    if video is None or column is None:
        raise CatalogError(f"{path}: no column …:FILE or none of {', '.join(CAPTIONS)} among {header[:12]}")
    split = split or split_of_file(path)

    def clip(row: dict) -> Iterator[Clip]:
        name, caption = text(row, video), text(row, column)
        if caption.lower() == "nan":
            raise Unusable(f'no "{column}"')
        stats = {"category": row["label"]} if row.get("label") else {}
        yield Clip(PurePosixPath(name).stem, name, "", _captions(caption), language="zh", split=split, stats=stats)

    return entries(csv_rows(path, [video, column]), clip)


def _captions(caption: str) -> list[str]:
    """Several captions where the cell holds a Python list of them; a title in [brackets] is one caption."""
    if caption.startswith("[") and caption.endswith("]"):
        try:
            found = literal_list(caption)
        except Unusable:
            return [caption]
        if found and all(isinstance(one, str) for one in found):
            return found
    return [caption]
