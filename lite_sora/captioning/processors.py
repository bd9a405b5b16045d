"""A model's processor, which turns frames and text into tensors, with or without torchvision.

All video processors of transformers need torchvision, and without it AutoProcessor fails for every family that has one,
even for images. Without torchvision the processor is therefore built from its parts, with a substitute for that one.
"""

import json
from pathlib import Path

import torch

from lite_sora.captioning.families import Family
from lite_sora.storage.hub import ModelError


def load_processor(name: str, config, family: Family, **trust):
    """The processor of the folder or hub id `name` (a transformers ProcessorMixin). trust: `trust_remote_code`."""
    import transformers
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
    from transformers.utils import is_torchvision_available

    if family.prompt == "":
        return ImagesOnly(name, **trust)
    if family.processor:
        return getattr(transformers, family.processor).from_pretrained(name, **trust)
    own = PROCESSOR_MAPPING.get(type(config), None)
    if own is None or "video_processor" not in own.get_attributes() or is_torchvision_available():
        return transformers.AutoProcessor.from_pretrained(name, **trust)

    def load(part: str):
        if part == "video_processor":
            return None
        if part == "image_processor":
            return transformers.AutoImageProcessor.from_pretrained(name, backend="pil", **trust)
        subfolder = "" if part == "tokenizer" else part
        return transformers.AutoTokenizer.from_pretrained(name, subfolder=subfolder, **trust)

    settings, _ = own.get_processor_dict(name)
    parts = [load(part) for part in own.get_attributes()]
    any_part = {"check_argument_for_proper_class": lambda self, name, part: type(part)}  # None is accepted too
    try:
        processor = type(own.__name__, (own,), any_part).from_args_and_dict(parts, settings)
    except AttributeError as error:  # it reads a setting of the video processor in its constructor
        raise ModelError(f"{name} needs torchvision: pip install torchvision") from error
    if family.frame_by_frame:
        made = "pixel_values_videos" if hasattr(processor, "image_processor") else "pixel_values"
        processor.video_processor = FrameByFrame(family.frame_by_frame, _video_settings(name, settings), made)
    return processor


class ImagesOnly:
    """The processor of captioners that read no text: it takes frames, and its tokenizer decodes the answer."""

    def __init__(self, name: str, **trust):
        from transformers import AutoImageProcessor, AutoTokenizer

        self.image_processor = AutoImageProcessor.from_pretrained(name, **trust)
        self.tokenizer = AutoTokenizer.from_pretrained(name, **trust)

    def __call__(self, images: list):
        """images: B PIL images → {"pixel_values": (B, 3, H, W)}."""
        return self.image_processor(images, return_tensors="pt")


def _video_settings(name: str, settings: dict) -> dict:
    """Size, mean, … of the video processor; older checkpoints keep them in other files."""
    from transformers.utils import cached_file

    if "video_processor" in settings:
        return settings["video_processor"]
    for file in ("video_preprocessor_config.json", "preprocessor_config.json"):
        if path := cached_file(name, file, _raise_exceptions_for_missing_entries=False):
            return json.loads(Path(path).read_text(encoding="utf-8"))
    return {}


class FrameByFrame:
    """Replaces a video processor that treats each frame as an image processor does, by that image processor."""

    def __init__(self, kind: str, settings: dict, made: str):
        import transformers

        known = getattr(transformers, kind).valid_kwargs.__annotations__
        self.frames = getattr(transformers, kind)(**{key: settings[key] for key in known if key in settings})
        self.model_input_names = [made]

    def __call__(self, videos: list, **_):
        """videos: B clips (T, H, W, 3) → (B, T, 3, H', W')."""
        pixels = [self.frames(list(video), return_tensors="pt")["pixel_values"] for video in videos]
        return {self.model_input_names[0]: torch.stack(pixels)}
