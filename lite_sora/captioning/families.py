"""The little in which families of vision-language models differ, by the `model_type` of their config.json.

A family that is not in the table is treated as most are: several images, asked by the chat template of its processor.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Family:
    """How one family of models looks at frames and is asked."""

    takes: str = "images"  # "video": the frames as one video; "images": all frames, as images; "image": one frame
    frames: int | None = None  # how many frames it was built for, if that is fixed
    # What it is asked where it has no chat template: {frames} becomes a placeholder per image (or one per video),
    # {prompt} the prompt; a text without {prompt} is the one task that the model knows. "": it reads nothing at all.
    asked: str | None = None
    # Video processors need torchvision. Without it, this image processor does the same, where that is done frame by
    # frame; where it is not (most cut patches out of two frames at a time), the frames go in as images.
    frame_by_frame: str | None = None
    processor: str | None = None  # the class of its processor, if another than its own
    options: dict = field(default_factory=dict)  # for its processor: one view of a frame, where tiles are the default


LLAVA = "USER: {frames}\n{prompt} ASSISTANT:"
NO_TILES = {"do_image_splitting": False}
CROPPED, RESIZED = "CLIPImageProcessorPil", "BlipImageProcessorPil"

FAMILIES = {
    # SmolVLM's own processor demands num2words (and torchvision): it spells out the times of frames, which have none
    # here. Idefics 3's makes the same tokens of images.
    "smolvlm": Family(processor="Idefics3Processor", options=NO_TILES),
    "idefics3": Family(options=NO_TILES),
    "gemma3": Family(),
    "qwen2_vl": Family("video"),
    "qwen2_5_vl": Family("video"),
    "qwen3_vl": Family("video"),
    "video_llama_3": Family("video"),
    "glm4v": Family("video"),
    "minicpmv4_6": Family("video"),
    "minicpmv4_7": Family("video"),
    "internvl": Family("video", frame_by_frame=RESIZED, options={"crop_to_patches": False}),
    "video_llava": Family("video", asked=LLAVA, frame_by_frame=CROPPED),
    "llava_next_video": Family("video", asked=LLAVA, frame_by_frame=CROPPED),
    "llava_onevision": Family("video", frame_by_frame=RESIZED),
    # a frame is 576 tokens or more of the 4,096 that it can read
    "llava": Family("image", asked=LLAVA),
    "llava_next": Family("image", asked=LLAVA),
    "instructblip": Family("image", asked="{prompt}"),
    "instructblipvideo": Family("video", frames=4, asked="{prompt}", frame_by_frame=RESIZED),
    "paligemma": Family("image", asked="{frames}caption en"),
    "florence2": Family("image", asked="<MORE_DETAILED_CAPTION>"),
    "blip": Family("image", asked=""),
    "blip-2": Family("image", asked=""),
    "git": Family("image", asked=""),
    "vision-encoder-decoder": Family("image", asked=""),
}
