"""The operators of a recipe. Each measures a number (or a signature, or cuts) of a clip. Which clips are dropped is
decided later, from the number, so that a threshold can change without measuring again.

A function's parameters after `footage` are the settings that change what is measured. The settings that are applied to
the measured value are in the tables at the end, with their defaults: `min` and `max` for a filter (null for no limit).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, wraps
from inspect import signature
from math import isfinite
from typing import Any

import numpy as np

from lite_sora.curation import motion, picture, similarity
from lite_sora.curation.duplicates import perceptual_hash
from lite_sora.curation.footage import Footage
from lite_sora.curation.splitting import split_by_duration, split_by_keyframe, split_by_scene, trim
from lite_sora.storage.hub import ModelError


def integrity(footage: Footage) -> int:
    """Number of sampled frames that could be decoded: a file that breaks off or cannot be decoded is dropped with its
    reason. Without this operator, clips that no other operator decodes are not checked. Damage that the codec conceals
    is not noticed. Default: at least 1."""
    return len(footage.frames)


def duration(footage: Footage) -> float:
    """Seconds. Default: at least 2, as in Open-Sora 2.0 (2503.09642)."""
    return footage.duration


def width(footage: Footage) -> int:
    """Pixels of the upright picture. Default: no limit."""
    return footage.info.width


def height(footage: Footage) -> int:
    """Pixels of the upright picture. Default: no limit."""
    return footage.info.height


def resolution(footage: Footage) -> int:
    """The shorter side in pixels, so that portrait and landscape are treated alike. Default: at least 256."""
    return min(footage.info.width, footage.info.height)


def aspect_ratio(footage: Footage) -> float:
    """Width / height of the upright picture. Default: 1/3 to 3, as in Open-Sora 2.0 (2503.09642). Data-Juicer's
    video_aspect_ratio_filter takes 9/21 to 21/9."""
    return footage.info.width / footage.info.height


def fps(footage: Footage) -> float:
    """Frames a second, the average in the header. Default: at least 16, as in Open-Sora 2.0 (2503.09642)."""
    return footage.info.fps


def bits_per_pixel(footage: Footage) -> float:
    """Bits of the clip's video packets / (width * height * frames): how hard it was compressed. Default: at least 0.02,
    as in Open-Sora 2.0 (2503.09642). Newer codecs need fewer bits for the same picture."""
    inside = footage.inside
    pixels = footage.info.width * footage.info.height * max(1, int(inside.sum()))
    return 8 * int(footage.packets.sizes[inside].sum()) / pixels


def border_crop(footage: Footage) -> list[float]:
    """Black bars: [left, top, right, bottom] of the picture inside them, as fractions of width and height, kept as
    stats["crop"]; see `picture.borders`. Later steps of the recipe are measured inside. The limits apply to the
    fraction of the area inside. Default: at least 0.6, as in HunyuanVideo 1.5 (2511.18870)."""
    footage.crop = None
    footage.crop = [round(float(side), 4) for side in picture.borders(footage.frames)]
    return footage.crop


def _of(see: Callable[[Footage], np.ndarray], measure: Callable[[np.ndarray], float]) -> Callable[[Footage], float]:
    """A measure of what it sees of a clip, its frames or its velocity, as an operator of the same name."""

    @wraps(measure)
    def operator(footage: Footage) -> float:
        return measure(see(footage))

    return operator


# Operators with models (a folder or a hub id) pick the frames that the model sees; `model_scores` then has the model
# score them. So the frames are decoded in many processes, and the model is loaded in one.


def text_similarity(
    footage: Footage, model: str = "openai/clip-vit-base-patch32", frames: int = 3
) -> np.ndarray | None:
    """Cosine of CLIP's embeddings of the caption and of frames, their mean; see `similarity.FrameTextSimilarity`.
    Default: at least 0.1, as in Data-Juicer's video_frames_text_similarity_filter. Drops clips without a caption."""
    return footage.pick(frames) if footage.clip.caption.strip() else None


def aesthetics(
    footage: Footage,
    model: str = "openai/clip-vit-large-patch14",
    head: str = "sac+logos+ava1-l14-linearMSE.pth",
    frames: int = 3,
) -> np.ndarray:
    """LAION's aesthetic score, 1 to 10: CLIP and a linear head, which is a file; see `similarity.Aesthetics`. Default:
    at least 4, as in Data-Juicer's video_aesthetics_filter, where it is divided by 10."""
    return footage.pick(frames)


def nsfw(footage: Footage, model: str = "Falconsai/nsfw_image_detection", frames: int = 3) -> np.ndarray:
    """Probability that a frame is not safe for work, its mean over frames; see `similarity.NotSafe`. Default: at most
    0.5, as in Data-Juicer's video_nsfw_filter."""
    return footage.pick(frames)


MODELS = {"text_similarity": "FrameTextSimilarity", "aesthetics": "Aesthetics", "nsfw": "NotSafe"}


def model_scores(
    name: str, settings: dict[str, Any], clips: list[np.ndarray], captions: list[str], device: str | None
) -> list[float]:
    """The scores that an operator's model gives to the frames of several clips, uint8 (T, H, W, 3) each. Raises
    ModelError for a model that cannot be used."""
    from lite_sora.processes import check_device

    device = check_device(device)
    try:
        files = [value for key, value in settings.items() if key != "frames"]
        return _loaded(getattr(similarity, MODELS[name]), *files, device).score(clips, captions)
    except RuntimeError as error:
        if "out of memory" not in str(error):
            raise
        raise ModelError(f"{name}: out of memory on {device}; free some of it, or choose --device cpu") from None


@lru_cache(4)
def _loaded(kind: type, *names: str):
    return kind(*names)


def exact_duplicates(footage: Footage) -> str:
    """A hash of the file's video packets, the same for two files with the same video in any container, with any sound.
    The first copy is kept. Data-Juicer: video_deduplicator."""
    return footage.packets.digest


def near_duplicates(footage: Footage) -> list[str]:
    """The perceptual hashes of 8 frames, which survive resizing and re-encoding; see duplicates.py. Two clips are the
    same if on average at most `distance` (6) of 64 bits differ, and mean colours by at most `colour` (6) of 255. The
    copy with the largest area is kept, the first of equal ones."""
    return perceptual_hash(footage.pick(8))


@dataclass(frozen=True)
class Operator:
    """measure(footage, **settings) returns a value that JSON can hold, or frames for a model. `applied` are the
    settings that are applied to the value afterwards, with their defaults."""

    measure: Callable[..., Any]
    applied: dict[str, Any] = field(default_factory=dict)
    reads_caption: bool = False

    @property
    def measured(self) -> dict[str, Any]:
        """The settings that change what is measured, with their defaults."""
        parameters = list(signature(self.measure).parameters.values())[1:]
        return {parameter.name: parameter.default for parameter in parameters}


def _filter(measure: Callable, min: float | None = None, max: float | None = None, **more) -> Operator:
    return Operator(measure, {"min": min, "max": max}, **more)


FILTERS = {
    "integrity": _filter(integrity, min=1),
    "duration": _filter(duration, min=2.0),
    "width": _filter(width),
    "height": _filter(height),
    "resolution": _filter(resolution, min=256),
    "aspect_ratio": _filter(aspect_ratio, min=1 / 3, max=3.0),
    "fps": _filter(fps, min=16.0),
    "bits_per_pixel": _filter(bits_per_pixel, min=0.02),
    "border_crop": _filter(border_crop, min=0.6),
    "luminance": _filter(_of(lambda footage: footage.pick(8), picture.luminance), min=picture.DARK, max=picture.BRIGHT),
    "blur": _filter(_of(lambda footage: footage.pick(5), picture.blur), min=picture.BLURRED),
    "motion": _filter(_of(lambda footage: footage.velocity, motion.motion), min=motion.STILL, max=motion.WILD),
    "jitter": _filter(_of(lambda footage: footage.velocity, motion.jitter), max=motion.SHAKY),
    "text_area": _filter(_of(lambda footage: footage.frames, picture.text_area), max=picture.TEXT),
    "watermark": _filter(_of(lambda footage: footage.frames, picture.watermark), max=picture.MARKED),
    "text_similarity": _filter(text_similarity, min=0.1, reads_caption=True),
    "aesthetics": _filter(aesthetics, min=4.0),
    "nsfw": _filter(nsfw, max=0.5),
}
DUPLICATES = {
    "exact_duplicates": Operator(exact_duplicates, {"with_caption": False}),
    "near_duplicates": Operator(near_duplicates, {"distance": 6.0, "colour": 6.0}),
}
SPLITTERS = {
    measure.__name__: Operator(measure, {"keep_original": False})
    for measure in (split_by_scene, split_by_duration, split_by_keyframe, trim)
}
OPERATORS = FILTERS | DUPLICATES | SPLITTERS


def reason_to_drop(name: str, value: Any, min: float | None, max: float | None) -> str | None:
    """Why a filter drops a clip with this value, or None if it keeps it."""
    if value is None:
        return f"{name} cannot be measured"
    if name == "border_crop":
        left, top, right, bottom = value
        value = (right - left) * (bottom - top)
    if min is not None and value < min:
        return f"{name} {value:.4g} < {min:.4g}"
    if max is not None and value > max:
        return f"{name} {value:.4g} > {max:.4g}"
    return None


def jsonable(value: Any) -> Any:
    """Numpy's numbers as Python's, with seven decimals, and None for a number that is not finite."""
    if isinstance(value, list):
        return [jsonable(item) for item in value]
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float):
        return round(value, 7) if isfinite(value) else None
    return value
