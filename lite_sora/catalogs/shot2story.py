"""Shot2Story: videos of several shots, with a caption for each shot and a summary of all (2312.10300).

`43k_human_train.json`, `90k_gptv_train.json`, `134k_full_train.json`, `20k_{train,val,test}.json`: JSON arrays. The
videos are cut from YouTube already: "LEwayCpIk20.78.mp4" is clip 78 of LEwayCpIk20. A shot "LEwayCpIk20.78_95_312.mp4"
is frames 95 to 312 of it; video_names lists them, so that the official .pkl, which could run code, is not needed.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lite_sora.catalogs.rows import Entry, entries, json_rows
from lite_sora.catalogs.values import Unusable, find_video, split_of_file, text
from lite_sora.data.clip import Clip
from lite_sora.data.video import ClipError, probe

PARTS = ("both", "whole", "shots")


def read(path: Path, parts: str = "both", videos: Path | None = None, split: str | None = None) -> Iterator[Entry]:
    """Whole clips with their summary, or shots with their captions, or both. Shots without a caption are skipped: the
    GPT-V part has none.

    A shot is its own file if `videos` has that, else a window of the whole clip: seconds = frame / fps, as in the
    official process_videos.py, with the fps of the file. Without `videos` it is its own file.
    """
    split = split or split_of_file(path)

    def clips(row: dict) -> Iterator[Clip | Unusable]:
        video = text(row, "video")
        name = video.removesuffix(".mp4")
        whole = Clip(name, video, "", language="en", split=split, source=name.rpartition(".")[0] or None)
        if parts != "shots":
            try:
                yield replace(whole, caption=text(row, "whole_caption"))
            except Unusable as error:
                yield error
        if parts != "whole":
            yield from _shots(row, whole, videos)

    return entries(json_rows(path), clips)


def _shots(row: dict, whole: Clip, videos: Path | None) -> Iterator[Clip | Unusable]:
    names, captions = row.get("video_names"), row.get("captions")
    if not isinstance(names, list) or not isinstance(captions, list) or len(names) != len(captions):
        raise Unusable('"video_names" and "captions" are not lists of one length', whole.id)
    fps = None
    for name, caption in zip(names, captions, strict=True):
        if not isinstance(name, str) or not isinstance(caption, str):
            yield Unusable("a shot's name or caption that is not a text", whole.id)
            continue
        if not caption.strip():
            continue
        shot = replace(whole, id=name.removesuffix(".mp4"), video=name, caption=caption)
        if videos is None or find_video(videos, name) or not (file := find_video(videos, whole.video)):
            yield shot
            continue
        try:
            fps = fps or probe(videos / file).fps
            yield _window(shot, whole, fps)
        except ClipError as error:
            yield Unusable("a video that cannot be opened", error)
        except Unusable as error:
            yield error


def _window(shot: Clip, whole: Clip, fps: float) -> Clip:
    """The shot {clip}_{first frame}_{last frame} as a window of the whole clip."""
    try:
        _, first, last = shot.id.rsplit("_", 2)  # YouTube ids may contain "_"
        return replace(shot, video=whole.video, start=int(first) / fps, end=int(last) / fps)
    except ValueError:
        raise Unusable("a shot's name without frame numbers", shot.id) from None
