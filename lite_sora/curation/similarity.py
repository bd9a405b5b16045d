"""What pretrained models say of a clip: does the caption fit, is it beautiful, is it safe to show?

Any model of the right kind serves, from a folder or the hub, through transformers, which is imported when the first one
is loaded. Each class has one method, `score(frames, text)`, for frames uint8 (T, H, W, 3); three frames are enough.
"""

import re
from pathlib import Path

import numpy as np
from PIL import Image


class ModelError(Exception):
    """A model that cannot be used; the message names it and says what to do."""


class FrameTextSimilarity:
    """Does the caption say what the frames show? CLIP (2103.00020), for example openai/clip-vit-base-patch32."""

    def __init__(self, model: str, device: str = "cpu"):
        self.clip, self.processor = _load_clip(model, device)
        self.tokenizer = _load("AutoTokenizer", model)
        self.words = self.clip.config.text_config.max_position_embeddings

    def score(self, frames: np.ndarray, text: str = "") -> float:
        """The cosine of each frame's embedding with the text's, its mean over frames: -1 to 1, with CLIP mostly 0.1 to
        0.4. What the text has beyond CLIP's 77 tokens is cut off. Data-Juicer keeps from 0.1; its experiments with
        text-to-video (2407.11784) from 0.306."""
        if not text.strip():
            raise ValueError("a similarity of frames and text needs a text")
        import torch

        tokens = self.tokenizer([text], truncation=True, max_length=self.words, return_tensors="pt")
        tokens = {name: tokens[name].to(self.clip.device) for name in ("input_ids", "attention_mask")}
        with torch.inference_mode():
            words = torch.nn.functional.normalize(self.clip.get_text_features(**tokens).pooler_output)  # (1, D)
        return float((_embed(self.clip, self.processor, frames) @ words.T).mean())


class Aesthetics:
    """How much would people like the picture? LAION's predictors: a linear `head` on CLIP's normalised embedding, for
    example openai/clip-vit-large-patch14 with sac+logos+ava1-l14-linearMSE.pth of
    https://github.com/christophschuhmann/improved-aesthetic-predictor, a file that you download."""

    def __init__(self, model: str, head: str, device: str = "cpu"):
        self.clip, self.processor = _load_clip(model, device)
        self.weight, self.bias = (tensor.to(device) for tensor in read_head(head))
        made, wide = self.weight.shape[1], self.clip.config.projection_dim
        if made != wide:
            raise ModelError(f"{head}: made for embeddings of {made} numbers; those of {model} have {wide}")

    def score(self, frames: np.ndarray, text: str = "") -> float:
        """Mean over frames, on the scale of the votes that the head was trained on, 1 to 10. Keep from 4 (Movie Gen,
        2410.13720; Data-Juicer) or 5 (Open-Sora 1.2). The text does not matter."""
        return float((_embed(self.clip, self.processor, frames) @ self.weight.T + self.bias).mean())


class NotSafe:
    """Is it safe for work? Any image classifier with a class named "nsfw", such as Falconsai/nsfw_image_detection."""

    def __init__(self, model: str, device: str = "cpu"):
        self.classifier = _load("AutoModelForImageClassification", model).to(device)
        self.processor = _image_processor(model)
        labels = {str(label).lower(): index for index, label in self.classifier.config.id2label.items()}
        if "nsfw" not in labels:
            raise ModelError(f"{model}: has no class named nsfw; its classes are {', '.join(labels)}")
        self.label = labels["nsfw"]

    def score(self, frames: np.ndarray, text: str = "") -> float:
        """The probability (softmax) of "nsfw", its mean over frames: 0 to 1. Drop from 0.5 (Data-Juicer). The text does
        not matter."""
        import torch

        with torch.inference_mode():
            logits = self.classifier(pixel_values=_pixels(self.classifier, self.processor, frames)).logits
        return float(logits.softmax(-1)[:, self.label].mean())


def read_head(path: str):
    """The weight (1, D) and the bias (1,) of an aesthetic head, a .safetensors or .pth file, in one of the layouts

        weight, bias                              LAION's first predictors (sa_0_4_vit_…_linear.pth)
        predictor.weight, predictor.bias          the same, as shunk031 publishes them together with CLIP
        layers.{0,2,4,6,7}.weight, … .bias        LAION's second ones (…-linearMSE.pth), and shunk031's of them

    Between the second ones' five layers there is nothing but dropout, so they are one linear layer.
    """
    import torch
    from safetensors.torch import load_file

    if not Path(path).is_file():
        raise ModelError(f"{path}: there is no such head; see `Aesthetics` for where to download one")
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
        for index in sorted(layers)[1:]:
            layer = layers[index]
            weight, bias = layer["weight"] @ weight, layer["weight"] @ bias + layer["bias"]
        if weight.shape[0] != 1:
            raise ValueError(f"{weight.shape[0]} outputs instead of 1")
    except Exception as error:  # whatever a strange file makes of it
        raise ModelError(f"{path}: not a linear aesthetic head in a known layout ({_line(error)})") from None
    return weight, bias


def _embed(clip, processor, frames: np.ndarray):
    """Frames uint8 (T, H, W, 3) → CLIP's embeddings, of length 1: (T, D)."""
    import torch

    with torch.inference_mode():
        features = clip.get_image_features(pixel_values=_pixels(clip, processor, frames)).pooler_output
        return torch.nn.functional.normalize(features)


def _pixels(model, processor, frames: np.ndarray):
    """Frames uint8 (T, H, W, 3) → what the model sees, float (T, 3, h, w), resized and normalised as it was trained."""
    pictures = [Image.fromarray(frame) for frame in frames]
    return processor(images=pictures, return_tensors="pt")["pixel_values"].to(model.device)


def _image_processor(model: str):
    return _load("AutoImageProcessor", model, backend="pil")  # needs no torchvision, and is the same with and without


def _load_clip(model: str, device: str):
    clip = _load("AutoModel", model).to(device)
    if clip.config.model_type != "clip":
        raise ModelError(f"{model}: is a {clip.config.model_type} model, not a CLIP")
    return clip, _image_processor(model)


def _load(kind: str, model: str, **options):
    """A model, tokenizer or image processor from a folder or the hub, by the name of its auto class."""
    import transformers

    try:
        loaded = getattr(transformers, kind).from_pretrained(model, **options)
    except Exception as error:  # transformers and the hub raise many kinds
        raise ModelError(
            f"{model}: {kind} finds nothing that it can load there ({_line(error)}). Name a folder that holds the "
            "model (config.json, model.safetensors, preprocessor_config.json, …), or a hub id while there is a "
            "network; `hf download <id> --local-dir <folder>` fetches one"
        ) from error
    return loaded.eval() if hasattr(loaded, "eval") else loaded


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
