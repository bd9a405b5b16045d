"""One clip becomes several: the same file, other times; nothing is encoded again.

Each function returns the pieces of a clip as [start, end] in seconds of the file, in order.
"""

from dataclasses import replace
from itertools import pairwise

from lite_sora.curation.footage import Footage
from lite_sora.curation.scenes import detect
from lite_sora.data.clip import Clip

Pieces = list[list[float]]


def split_by_scene(
    footage: Footage, detector: str = "content", threshold: float | None = None, min_frames: int = 15
) -> Pieces:
    """Shots, as PySceneDetect finds them: `detector` is content (threshold 27) or adaptive (3); a shot has at least
    `min_frames` frames. See `scenes.cuts`. Data-Juicer: video_split_by_scene_mapper."""
    settings = {"detector": detector, "threshold": threshold, "min_frames": min_frames}
    cuts = detect(footage.path, footage.clip.start, footage.clip.end, **settings)
    return _between([footage.start, *cuts, footage.end])


def split_by_duration(
    footage: Footage, seconds: float = 10.0, min_last: float = 0.0, join_last: bool = False
) -> Pieces:
    """Pieces of `seconds` each. A last one that is shorter than `min_last` is dropped, or joined to the one before it
    with `join_last` (as in Panda-70M, 2402.19479). Data-Juicer: video_split_by_duration_mapper."""
    whole = int(footage.duration / seconds + 1e-6)
    times = [footage.start + i * seconds for i in range(whole + 1)]
    rest = footage.end - times[-1]
    if rest < 1e-3 or (rest < min_last and not join_last):
        return _between(times)
    if rest < min_last and whole:
        times.pop()
    return _between([*times, footage.end])


def split_by_keyframe(footage: Footage) -> Pieces:
    """A cut at every keyframe. Data-Juicer: video_split_by_key_frame_mapper."""
    packets = footage.packets
    inside = packets.times[packets.keyframes & footage.inside].tolist()
    return _between([footage.start, *(time for time in inside if time > footage.start + 1e-3), footage.end])


def trim(footage: Footage, share: float = 0.1) -> Pieces:
    """Cuts a fraction `share` of the length off each end, which may be in a transition (Panda-70M, 2402.19479)."""
    margin = share * footage.duration
    return _between([footage.start + margin, footage.end - margin])


def _between(times: list[float]) -> Pieces:
    return [[start, end] for start, end in pairwise(times) if end > start]


def pieces(clip: Clip, duration: float, times: Pieces, keep_original: bool = False) -> list[Clip]:
    """Clips for the pieces of a clip that lasts `duration` seconds, named <id>-000, <id>-001, …; with `keep_original`
    after the clip itself.

    A clip that is not cut is returned unchanged. Measures of the whole do not hold for the pieces, so their `stats` are
    empty except for a crop."""
    first = clip.start or 0.0
    if len(times) == 1 and abs(times[0][0] - first) < 1e-3 and abs(times[0][1] - first - duration) < 1e-3:
        return [clip]
    cut = [clip] if keep_original else []
    for i, (start, end) in enumerate(times):
        stats = {key: clip.stats[key] for key in ("crop",) if key in clip.stats}
        source = clip.source or clip.video
        cut.append(replace(clip, id=f"{clip.id}-{i:03d}", start=start, end=end, source=source, stats=stats))
    return cut
