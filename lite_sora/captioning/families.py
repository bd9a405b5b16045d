"""What differs between families of vision-language models, and their processors: frames and text → tensors.

All video processors of transformers need torchvision, and without it AutoProcessor fails for every family that has one,
even for images. Without torchvision the processor is therefore built from its parts, with a substitute for that one."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
import transformers
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.utils import cached_file, is_torchvision_available

from lite_sora.storage.hub import ModelError


@dataclass(frozen=True)
class Family:
    """How one family of models takes frames and a prompt."""

    takes: str = "images"  # "video": the frames as one video; "images": all frames, as images; "image": one frame
    frames: int | None = None  # the number of frames it was built for, if that is fixed
    # The prompt of a model without a chat template: {frames} becomes a placeholder per image (or one per video),
    # {prompt} the prompt. A text without {prompt} is the model's only task. "": the model reads no text.
    prompt: str | None = None
    # The image processor that replaces the video processor where torchvision is missing, if both treat each frame
    # alike. For the others (most cut patches out of two frames at a time) the frames are given as images.
    frame_by_frame: str | None = None
    processor: str | None = None  # the class of the processor to use instead of its own
    options: dict = field(default_factory=dict)  # of its processor: one view of a frame, if tiles are the default


LLAVA = "USER: {frames}\n{prompt} ASSISTANT:"
NO_TILES = {"do_image_splitting": False}
CROPPED, RESIZED = "CLIPImageProcessorPil", "BlipImageProcessorPil"

# By the `model_type` of config.json. One that is not here (Gemma 3, …) takes several images, with its chat template.
FAMILIES = {
    # SmolVLM's own processor needs num2words and torchvision; Idefics 3's makes the same tokens of images
    "smolvlm": Family(processor="Idefics3Processor", options=NO_TILES),
    "idefics3": Family(options=NO_TILES),
    **dict.fromkeys(("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "video_llama_3", "glm4v"), Family("video")),
    **dict.fromkeys(("minicpmv4_6", "minicpmv4_7"), Family("video")),
    "internvl": Family("video", frame_by_frame=RESIZED, options={"crop_to_patches": False}),
    **dict.fromkeys(("video_llava", "llava_next_video"), Family("video", prompt=LLAVA, frame_by_frame=CROPPED)),
    "llava_onevision": Family("video", frame_by_frame=RESIZED),
    # a frame is 576 tokens or more of the 4,096 that it can read
    **dict.fromkeys(("llava", "llava_next"), Family("image", prompt=LLAVA)),
    "instructblip": Family("image", prompt="{prompt}"),
    "instructblipvideo": Family("video", frames=4, prompt="{prompt}", frame_by_frame=RESIZED),
    "paligemma": Family("image", prompt="{frames}caption en"),
    "florence2": Family("image", prompt="<MORE_DETAILED_CAPTION>"),
    **dict.fromkeys(("blip", "blip-2", "git", "vision-encoder-decoder"), Family("image", prompt="")),
}


def load_processor(name: str, config, family: Family, **trust):
    """The processor of the folder or hub id `name` (a transformers ProcessorMixin). trust: `trust_remote_code`."""
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
        self.image_processor = transformers.AutoImageProcessor.from_pretrained(name, **trust)
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(name, **trust)

    def __call__(self, images: list):
        """images: B PIL images → {"pixel_values": (B, 3, H, W)}."""
        return self.image_processor(images, return_tensors="pt")


def _video_settings(name: str, settings: dict) -> dict:
    """Size, mean, … of the video processor; older checkpoints keep them in other files."""
    if "video_processor" in settings:
        return settings["video_processor"]
    for file in ("video_preprocessor_config.json", "preprocessor_config.json"):
        if path := cached_file(name, file, _raise_exceptions_for_missing_entries=False):
            return json.loads(Path(path).read_text(encoding="utf-8"))
    return {}


class FrameByFrame:
    """Replaces a video processor that treats each frame as an image processor does, by that image processor."""

    def __init__(self, kind: str, settings: dict, made: str):
        known = getattr(transformers, kind).valid_kwargs.__annotations__
        self.frames = getattr(transformers, kind)(**{key: settings[key] for key in known if key in settings})
        self.model_input_names = [made]

    def __call__(self, videos: list, **_):
        """videos: B clips (T, H, W, 3) → (B, T, 3, H', W')."""
        pixels = [self.frames(list(video), return_tensors="pt")["pixel_values"] for video in videos]
        return {self.model_input_names[0]: torch.stack(pixels)}
