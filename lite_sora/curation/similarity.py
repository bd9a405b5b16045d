"""Pretrained models' scores of clips: does the caption fit, is it beautiful, is it safe to show?

Any model of the right kind works, from a folder or the hub; transformers is imported when the first one is loaded. Each
class has one method, `score(clips, texts)`, for B clips, frames uint8 (T, H, W, 3) each, and their B captions; it
returns B numbers. Three frames a clip are enough.
"""

import re
from pathlib import Path

import numpy as np
from PIL import Image

from lite_sora.storage.hub import ModelError, first_line, load_pretrained

BATCH = 64  # frames that a model sees at a time


class FrameTextSimilarity:
    """Does the caption say what the frames show? CLIP (2103.00020), for example openai/clip-vit-base-patch32."""

    def __init__(self, model: str, device: str = "cpu"):
        from transformers import AutoTokenizer

        self.clip, self.processor = _load("AutoModel", model, "CLIP", device)
        self.tokenizer = load_pretrained(AutoTokenizer, model, "CLIP tokenizer")
        self.words = self.clip.config.text_config.max_position_embeddings

    def score(self, clips: list[np.ndarray], texts: list[str]) -> list[float]:
        """The cosine of each frame's embedding with the text's, its mean over frames: -1 to 1, with CLIP mostly 0.1 to
        0.4. Texts are cut off after CLIP's 77 tokens. Data-Juicer keeps from 0.1; its experiments with text-to-video
        (2407.11784) from 0.306. Raises ValueError for an empty text."""
        if not all(text.strip() for text in texts):
            raise ValueError("a similarity of frames and text needs a text")
        import torch

        tokens = self.tokenizer(texts, truncation=True, padding=True, max_length=self.words, return_tensors="pt")
        tokens = {name: tokens[name].to(self.clip.device) for name in ("input_ids", "attention_mask")}
        with torch.inference_mode():
            words = torch.nn.functional.normalize(self.clip.get_text_features(**tokens).pooler_output)  # (B, D)
        lengths = torch.tensor([len(frames) for frames in clips], device=words.device)
        words = words.repeat_interleave(lengths, dim=0)  # (frames, D)
        return _means((_embed(self.clip, self.processor, clips) * words).sum(1), clips)


class Aesthetics:
    """How much would people like the picture? LAION's predictors: a linear `head` on CLIP's normalised embedding, for
    example openai/clip-vit-large-patch14 with sac+logos+ava1-l14-linearMSE.pth of
    https://github.com/christophschuhmann/improved-aesthetic-predictor, a file that you download."""

    def __init__(self, model: str, head: str, device: str = "cpu"):
        self.clip, self.processor = _load("AutoModel", model, "CLIP", device)
        self.weight, self.bias = (tensor.to(device) for tensor in read_head(head))
        wanted, width = self.weight.shape[1], self.clip.config.projection_dim
        if wanted != width:
            raise ModelError(f"{head}: made for embeddings of {wanted} numbers; those of {model} have {width}")

    def score(self, clips: list[np.ndarray], texts: list[str]) -> list[float]:
        """Mean over frames, on the scale of the votes that the head was trained on, 1 to 10. Keep from 4 (Movie Gen,
        2410.13720; Data-Juicer) or 5 (Open-Sora 1.2)."""
        return _means((_embed(self.clip, self.processor, clips) @ self.weight.T + self.bias)[:, 0], clips)


class NotSafe:
    """Is it safe for work? Any image classifier with a class named "nsfw", such as Falconsai/nsfw_image_detection."""

    def __init__(self, model: str, device: str = "cpu"):
        kind = "AutoModelForImageClassification"
        self.classifier, self.processor = _load(kind, model, "image classifier", device)
        labels = {str(label).lower(): index for index, label in self.classifier.config.id2label.items()}
        if "nsfw" not in labels:
            raise ModelError(f"{model}: none of its classes is named nsfw; they are {', '.join(labels)}")
        self.label = labels["nsfw"]

    def score(self, clips: list[np.ndarray], texts: list[str]) -> list[float]:
        """The probability (softmax) of "nsfw", its mean over frames: 0 to 1. Drop from 0.5 (Data-Juicer)."""
        import torch

        with torch.inference_mode():
            pixels = _pixels(self.classifier, self.processor, clips)
            logits = torch.cat([self.classifier(pixel_values=part).logits for part in pixels])  # (frames, classes)
        return _means(logits.softmax(-1)[:, self.label], clips)


def read_head(path: str):
    """The weight (1, D) and the bias (1,) of an aesthetic head, a .safetensors or .pth file, in one of the layouts

        weight, bias                              LAION's first predictors (sa_0_4_vit_…_linear.pth)
        predictor.weight, predictor.bias          the same, as shunk031 publishes them together with CLIP
        layers.{0,2,4,6,7}.weight, … .bias        LAION's second ones (…-linearMSE.pth), and shunk031's of them

    Only dropout lies between the five layers of the second ones, so they are one linear layer.
    """
    import torch
    from safetensors.torch import load_file

    if not Path(path).is_file():
        raise ModelError(f"{path}: this head does not exist; see `Aesthetics` for where to download one")
    try:
        safe = Path(path).suffix == ".safetensors"
        tensors = load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
        layers: dict[int, dict] = {}
        for name, tensor in tensors.items():
            if found := re.fullmatch(r"(?:(?:predictor|layers)\.)?(?:(\d+)\.)?(weight|bias)", name):
                layers.setdefault(int(found[1] or 0), {})[found[2]] = tensor.float()
        if sorted(layers) not in ([0], [0, 2, 4, 6, 7]):  # with ReLUs between, they would be 0, 3, 6, 9 and 11
            raise ValueError(f"layers {sorted(layers)} instead of [0] or [0, 2, 4, 6, 7]")
        weight, bias = layers[0]["weight"], layers[0]["bias"]
        for _, layer in sorted(layers.items())[1:]:
            weight, bias = layer["weight"] @ weight, layer["weight"] @ bias + layer["bias"]
        if weight.shape[0] != 1:
            raise ValueError(f"{weight.shape[0]} outputs instead of 1")
    except Exception as error:  # a damaged file can raise anything
        raise ModelError(f"{path}: not a linear aesthetic head in a known layout ({first_line(error)})") from None
    return weight, bias


def _embed(clip, processor, clips: list[np.ndarray]):
    """Frames of B clips → CLIP's embeddings, of length 1: (all frames, D)."""
    import torch

    with torch.inference_mode():
        pixels = _pixels(clip, processor, clips)
        features = torch.cat([clip.get_image_features(pixel_values=part).pooler_output for part in pixels])
        return torch.nn.functional.normalize(features)


def _pixels(model, processor, clips: list[np.ndarray]):
    """Frames of B clips → batches float (frames, 3, h, w), resized and normalised as in the model's training."""
    pictures = [Image.fromarray(frame) for frames in clips for frame in frames]
    for start in range(0, len(pictures), BATCH):
        yield processor(images=pictures[start : start + BATCH], return_tensors="pt")["pixel_values"].to(model.device)


def _means(scores, clips: list[np.ndarray]) -> list[float]:
    """Scores (all frames,) → the mean of each clip."""
    return [float(part.mean()) for part in scores.split([len(frames) for frames in clips])]


def _load(kind: str, model: str, what: str, device: str):
    """A model of a class of transformers, and its image processor."""
    import transformers

    loaded = load_pretrained(getattr(transformers, kind), model, what).eval().to(device)
    if what == "CLIP" and loaded.config.model_type != "clip":
        raise ModelError(f"{model}: is a {loaded.config.model_type} model, not a CLIP")
    # backend="pil" needs no torchvision and gives the same numbers with and without it
    return loaded, load_pretrained(transformers.AutoImageProcessor, model, "image processor", backend="pil")
