"""A clip keeps every caption that it ever had, and which model wrote it: stats["captioning"], the oldest first.

    {"caption": …, "model": …, "prompt": …, "frames": [seconds], "marks": […]}

"model" is null for a caption that came with the clip, with the clip's "captions" and "language". A summary of frames
has their "frame_captions" too, and under "summary" the language model and its prompt.
"""

from dataclasses import replace

from lite_sora.captioning.quality import usable
from lite_sora.data.clip import Clip, ManifestError


def history(clip: Clip) -> list[dict]:
    """The captions that the clip had so far. Raises ManifestError if they are not as above."""
    entries = clip.stats.get("captioning", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) and "caption" in entry for entry in entries):
        raise ManifestError(f'clip {clip.id!r}: its stats["captioning"] is not a list of captions; remove it')
    return entries


def with_caption(clip: Clip, entry: dict, language: str) -> Clip:
    """The clip with a new entry, whose caption replaces all others if it is usable."""
    entries = list(history(clip))
    if any(clip.all_captions) and clip.caption not in [entry["caption"] for entry in entries]:
        old = {"caption": clip.caption, "captions": clip.captions, "language": clip.language}
        entries.append({"model": None} | {key: value for key, value in old.items() if value or key == "caption"})
    stats = clip.stats | {"captioning": [*entries, entry]}
    if not usable(entry["marks"]):
        return replace(clip, stats=stats)
    return replace(clip, caption=entry["caption"], captions=[], language=language, stats=stats)
