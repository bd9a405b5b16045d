"""What differs between families of vision-language models, by the `model_type` of their config.json. Those that are not
in the table (Gemma 3, …) are treated as most are: several images, with their processor's chat template."""

from dataclasses import dataclass, field


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
