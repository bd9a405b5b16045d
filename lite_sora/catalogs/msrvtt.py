"""MSR-VTT: ten thousand clips with twenty captions each (Xu et al., CVPR 2016).

`train_val_videodatainfo.json` and `test_videodatainfo.json` (or MSRVTT_data.json, both in one) contain
"videos" and "sentences", in no order. "start time" and "end time" count in the YouTube video; the distributed files,
TrainValVideo/videoN.mp4 and TestVideo/videoN.mp4, are cut to them already. Several clips share a source, also
across the official splits: group by `source` to split without leaks.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from lite_sora.catalogs.rows import Entry, entries
from lite_sora.catalogs.values import CatalogError, Unusable, seconds, split_name, text, youtube_id
from lite_sora.data.clip import Clip


def read(path: Path, whole_sources: bool = False, split: str | None = None) -> Iterator[Entry]:
    """One clip for each video. The file is held in memory: it has 7,010 videos with twenty sentences each.

    With `whole_sources` the videos on disk are whole YouTube videos, {YouTube id}.mp4, instead of videoN.mp4.
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
