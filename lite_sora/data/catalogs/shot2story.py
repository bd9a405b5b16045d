"""Shot2Story: videos of several shots, with a caption for each shot and a summary of all (2312.10300).

`43k_human_train.json`, `90k_gptv_train.json`, `134k_full_train.json`, `20k_{train,val,test}.json`: JSON arrays. The
videos are cut from YouTube already: "LEwayCpIk20.78.mp4" is clip 78 of LEwayCpIk20. A shot "LEwayCpIk20.78_95_312.mp4"
is frames 95 to 312 of it; video_names lists them, so that the official .pkl, which could run code, is not needed.
"""

from collections.abc import Iterator
from pathlib import Path

from lite_sora.data.catalogs.files import find_video
from lite_sora.data.catalogs.rows import Entry, entries, json_rows
from lite_sora.data.catalogs.values import Unusable, split_of_file, text
from lite_sora.data.clip import Clip
from lite_sora.data.video import ClipError, probe

PARTS = ("both", "whole", "shots")


def read(path: Path, parts: str = "both", videos: Path | None = None, split: str | None = None) -> Iterator[Entry]:
    """Whole clips with their summary, or shots with their captions, or both. Shots without a caption are passed over:
    the GPT-V part has none.

    A shot is its own file where `videos` has that, else a window of the whole clip: seconds = frame / fps, as in the
    official process_videos.py, with the fps of the file. Without `videos` it is its own file.
    """
    split = split or split_of_file(path)

    def clips(row: dict) -> Iterator[Clip | Unusable]:
        video = text(row, "video")
        name = video.removesuffix(".mp4")
        source = name.rpartition(".")[0] or None  # a YouTube id holds no dot
        if parts != "shots":
            try:
                yield Clip(name, video, text(row, "whole_caption"), language="en", split=split, source=source)
            except Unusable as error:
                yield error
        if parts != "whole":
            shots, captions = row.get("video_names"), row.get("captions")
            if not isinstance(shots, list) or not isinstance(captions, list) or len(shots) != len(captions):
                raise Unusable('"video_names" and "captions" are no lists of one length', name)
            fps = None
            for shot, caption in zip(shots, captions, strict=True):
                if not isinstance(shot, str) or not isinstance(caption, str):
                    yield Unusable("a shot's name or caption that is no text", name)
                    continue
                if not caption.strip():
                    continue
                clip = Clip(shot.removesuffix(".mp4"), shot, caption, language="en", split=split, source=source)
                if videos is None or find_video(videos, shot) or not (whole := find_video(videos, video)):
                    yield clip
                    continue
                try:
                    fps = fps or probe(videos / whole).fps
                    yield _window(clip, video, fps)
                except ClipError as error:
                    yield Unusable("a video that cannot be opened", error)
                except Unusable as error:
                    yield error

    return entries(json_rows(path), clips)


def _window(shot: Clip, video: str, fps: float) -> Clip:
    """The shot {clip}_{first frame}_{last frame} as a stretch of `video`."""
    try:
        _, first, last = shot.id.rsplit("_", 2)  # YouTube ids may hold "_"
        start, end = int(first) / fps, int(last) / fps
    except ValueError:
        raise Unusable("a shot's name that holds no frame numbers", shot.id) from None
    return Clip(shot.id, video, shot.caption, [], start, end, shot.language, shot.split, shot.source)
