"""Youku-mPLUG: ten million Chinese videos with titles, and three smaller sets with captions (2306.04362).

`pretrain.csv`, and {classification,retrieval,captioning}_{train,val,test}.csv. The column of paths is called
"video_id:FILE" or "clip_name:FILE"; paths start with videos/ and end in .flv or .mp4. captioning_val.csv contains
Python lists. The captions of captioning_test.csv are hidden, so all of its rows are reported as without a caption.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from lite_sora.catalogs.rows import Entry, csv_header, csv_rows, entries
from lite_sora.catalogs.values import CatalogError, Unusable, digest, literal_list, split_of_file, text
from lite_sora.data.clip import Clip

CAPTIONS = ("golden_caption", "caption", "title")


def read(path: Path, split: str | None = None) -> Iterator[Entry]:
    """One clip for each row, whole files; `language` is zh."""
    header = csv_header(path)
    video = next((name for name in header if name.endswith(":FILE")), None)
    column = next((name for name in CAPTIONS if name in header), None)
    if video is None or column is None:
        raise CatalogError(f"{path}: no column …:FILE or none of {', '.join(CAPTIONS)} among {str(header)[:300]}")
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
