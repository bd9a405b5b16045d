"""WebVid-10M: stock footage with its titles (2104.00650).

`results_10M_train.csv` and `results_10M_val.csv` (and the 2M ones, whose columns have another order). Every
preview carries Shutterstock's watermark. **The authors withdrew the dataset on 23 February 2024**, after a
cease-and-desist letter, and its terms gave twelve months of non-commercial research: this reads copies that you may
lawfully hold.
"""

from collections.abc import Iterator
from pathlib import Path

from lite_sora.catalogs.rows import Entry, csv_rows, entries
from lite_sora.catalogs.values import Unusable, seconds, split_of_file, text
from lite_sora.data.clip import Clip


def read(path: Path, split: str | None = None) -> Iterator[Entry]:
    """One clip for each row, the whole of videos/{page_dir}/{videoid}.mp4. Rows without page_dir have no path: the
    official downloader skips them too. An id that comes again with another title is reported."""
    split = split or split_of_file(path)

    def clip(row: dict) -> Iterator[Clip]:
        name, folder = text(row, "videoid"), row["page_dir"].strip()
        if not folder or folder.lower() == "nan":
            raise Unusable('no "page_dir"', name)
        stats = {"duration": seconds(row["duration"])} if row.get("duration", "").startswith("PT") else {}
        video = f"videos/{folder}/{name}.mp4"
        yield Clip(name, video, text(row, "name"), language="en", split=split, stats=stats)

    return entries(csv_rows(path, ["videoid", "page_dir", "name"]), clip)
