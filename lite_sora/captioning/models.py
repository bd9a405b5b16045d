"""Any vision-language model that transformers serves describes clips, on one path for all families: frames and a prompt
→ the processor's tensors → `generate` → the new words. The differences between families are a table in families.py."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image

from lite_sora.captioning.answers import Answer
from lite_sora.captioning.families import FAMILIES, Family, load_processor
from lite_sora.processes import default_device
from lite_sora.storage.hub import ModelError, load_pretrained

FPS = 2.0  # of a video's frames, for models that read times: most are trained at this rate
WHAT = "vision-language model"


def load_captioner(name: str, device: str | None = None, trust_remote_code: bool = False) -> "Captioner":
    """A captioner from a folder or a hub id; in bf16 on CUDA, in fp32 elsewhere. Weights are read from .safetensors
    only, and a model's own Python code runs only with trust_remote_code. Raises ModelError, which says what to do, for
    a model that cannot be used."""
    if trust_remote_code:
        warnings.warn(f"{name} may run code of its own on this machine (trust_remote_code)", stacklevel=2)
    device, trust = device or default_device(), {"trust_remote_code": trust_remote_code}
    config = _load_config(name, **trust)
    model_class = getattr(transformers, _auto_class(name, config, trust_remote_code))
    family = FAMILIES.get(config.model_type, Family())
    if trained_on := getattr(config, "num_image_with_embedding", None):  # GIT for videos
        family = replace(family, takes="images", frames=trained_on)
    try:
        processor = load_processor(name, config, family, **trust)
    except ModelError:
        raise
    except Exception as error:  # files from elsewhere can be wrong in any way
        raise ModelError(f"{name}: its processor cannot be loaded ({error})") from error
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    model = load_pretrained(model_class, name, WHAT, dtype=dtype, use_safetensors=True, **trust)
    return Captioner(name, family, processor, model.eval().to(device))


def _load_config(name: str, **trust):
    """The model's configuration; most mistakes in a name are found here."""
    folder, file = Path(name), Path(name, "config.json")
    if folder.is_dir():
        try:
            if "model_type" not in json.loads(file.read_text(encoding="utf-8")):
                raise ModelError(f"{name} is not a model of the transformers library: config.json has no model_type")
        except OSError:
            raise ModelError(f"{name} has no config.json: name the folder of a saved model") from None
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ModelError(f"{file} is not JSON ({error})") from error
    elif folder.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(f"there is no folder {name}")
    return load_pretrained(transformers.AutoConfig, name, WHAT, **trust)


def _auto_class(name: str, config, trust_remote_code: bool) -> str:
    """The auto class of transformers that loads the model: one for all, except for a model with its own code."""
    if type(config) in transformers.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return "AutoModelForImageTextToText"
    own = getattr(config, "auto_map", None) if trust_remote_code else None
    for kind in ("AutoModelForImageTextToText", "AutoModelForCausalLM", "AutoModel"):
        if kind in (own or {}):
            return kind
    raise ModelError(f"{name} is a {config.model_type}, which takes no images: name a vision-language model")


class Captioner:
    """A vision-language model that describes clips."""

    def __init__(self, name: str, family: Family, processor, model):
        self.name, self.family, self.processor, self.model = name, family, processor, model
        without_videos = family.takes == "video" and processor.video_processor is None
        self.takes = "images" if without_videos else family.takes  # as in `Family`
        self.template = getattr(processor, "chat_template", None)
        if family.prompt is None and self.template is None:
            raise ModelError(f"{name} has no chat template, which is needed to write its prompt")
        try:
            self._text("", 1 if self.takes == "image" else 2)
        except Exception as error:  # a template is a program
            raise ModelError(f"{name} has a chat template that cannot show it frames: {error}") from error
        model.generation_config.forced_eos_token_id = None  # BART's: a cut at the limit would pass for an end
        processor.tokenizer.padding_side = "left"  # new words follow the prompt
        if processor.tokenizer.pad_token is None:
            processor.tokenizer.pad_token = processor.tokenizer.eos_token

    @torch.inference_mode()
    def describe(
        self, clips: list[np.ndarray], prompt: str, max_tokens: int = 128, temperature: float = 0.0, seed: int = 0
    ) -> list[Answer]:
        """An answer for each of the clips, uint8 (T, H, W, 3), which may differ in length and size.

        temperature 0 takes the likeliest word each time; above 0 words are sampled, the same ones for the same seed.
        Models that read no text (BLIP, GIT, …) and those with one task (Florence-2, …) ignore the prompt. Raises
        ValueError for clips that the model cannot take."""
        for clip in clips:
            self._check(clip)
        answers: dict[int, Answer] = {}
        for frames in sorted({len(clip) for clip in clips}):  # clips of one length make a batch
            rows = [row for row, clip in enumerate(clips) if len(clip) == frames]
            inputs = self._read([clips[row] for row in rows], prompt)
            answers |= zip(rows, self._write(inputs, max_tokens, temperature, seed), strict=True)
        return [answers[row] for row in range(len(clips))]

    def _check(self, clip: np.ndarray) -> None:
        if not isinstance(clip, np.ndarray) or clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[-1] != 3:
            what = f"{clip.dtype} {clip.shape}" if isinstance(clip, np.ndarray) else type(clip).__name__
            raise ValueError(f"a clip is a uint8 array (T, H, W, 3), not {what}")
        if 0 in clip.shape:
            raise ValueError(f"a clip of shape {clip.shape} is empty")
        if self.takes == "image" and len(clip) > 1:
            raise ValueError(f"{self.name} takes one frame at a time, not {len(clip)}")
        if self.family.frames and len(clip) != self.family.frames:
            raise ValueError(f"{self.name} takes exactly {self.family.frames} frames, not {len(clip)}")

    def _read(self, clips: list[np.ndarray], prompt: str):
        """Clips (T, H, W, 3) of equal length T → what `generate` takes: pixels, token ids (B, L), and more."""
        if self.takes == "video" and len(clips[0]) == 1:  # Qwen3-VL and GLM-4V want two
            clips = [clip.repeat(2, axis=0) for clip in clips]
        images = [[Image.fromarray(frame) for frame in clip] for clip in clips]
        if self.family.prompt == "":
            flat = self.processor([image for clip in images for image in clip])
            if self.takes == "images":  # (B * T, 3, H, W) → (B, T, 3, H, W)
                flat["pixel_values"] = flat["pixel_values"].unflatten(0, (len(clips), -1))
            return flat
        text = self._text(prompt, len(clips[0]))
        if self.takes != "video":
            seen = {"images": images}
        elif hasattr(self.processor, "image_processor"):
            times = {"total_num_frames": len(clips[0]), "fps": FPS, "frames_indices": list(range(len(clips[0])))}
            seen = {"videos": clips, "video_metadata": [times] * len(clips), "do_sample_frames": False}
        else:
            seen = {"images": clips}  # InstructBLIP-Video's name for videos
        bos = self.processor.tokenizer.bos_token
        if bos and text.startswith(bos):  # from the chat template: no second one
            seen["add_special_tokens"] = False
        seen |= self.family.options
        inputs = self.processor(text=[text] * len(clips), padding=True, return_tensors="pt", **seen)
        inputs.pop("labels", None)  # some processors add them for training
        return inputs

    def _text(self, prompt: str, frames: int) -> str:
        """The model's prompt, with a placeholder for each image or for the video."""
        kind, count = ("video", 1) if self.takes == "video" else ("image", frames)
        placeholder = str(getattr(self.processor, f"{kind}_token", ""))
        if not self.template:
            return self.family.prompt.replace("{frames}", placeholder * count).replace("{prompt}", prompt)
        message = {"role": "user", "content": [{"type": kind}] * count + [{"type": "text", "text": prompt}]}
        text = self.processor.apply_chat_template([message], add_generation_prompt=True)
        if placeholder and text.count(placeholder) != count:
            raise ValueError(f"it writes {text.count(placeholder)} × {placeholder} instead of {count}")
        return text

    def _write(self, inputs, max_tokens: int, temperature: float, seed: int) -> list[Answer]:
        inputs = inputs.to(self.model.device, self.model.dtype)
        how = {"do_sample": True, "temperature": temperature} if temperature > 0 else {"do_sample": False}
        devices = [self.model.device] if self.model.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            ids = self.model.generate(**inputs, max_new_tokens=max_tokens, num_beams=1, **how)  # (B, L)
        read = inputs.get("input_ids")
        if read is not None and torch.equal(ids[:, : read.shape[1]], read):  # decoders repeat their prompt
            ids = ids[:, read.shape[1] :]
        tokenizer = self.processor.tokenizer
        texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
        end = self.model.generation_config.eos_token_id  # one id, several, or None
        ends = {*(end if isinstance(end, list) else [end]), *tokenizer.all_special_ids}  # or padding after one
        return [Answer(text.strip(), int(row[-1]) in ends) for text, row in zip(texts, ids, strict=True)]
