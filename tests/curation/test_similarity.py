import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    AutoTokenizer,
    CLIPConfig,
    CLIPModel,
    PreTrainedTokenizerFast,
    ViTConfig,
    ViTForImageClassification,
)

from lite_sora.curation import similarity
from lite_sora.curation.similarity import Aesthetics, FrameTextSimilarity, NotSafe, read_head
from lite_sora.storage.hub import ModelError

WORDS = ["<pad>", "<start>", "<end>", "a", "red", "blue", "square", "falls"]
MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
FRAMES = np.random.default_rng(0).integers(0, 256, (5, 40, 64, 3), dtype=np.uint8)


def save_preprocessor(folder, kind: str, **more) -> None:
    """As on the hub: what CLIP's and ViT's preprocessor_config.json say."""
    config = {"image_processor_type": kind, "do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255}
    config |= {"do_normalize": True, "image_mean": MEAN, "image_std": STD, "resample": 3, **more}
    (folder / "preprocessor_config.json").write_text(json.dumps(config), encoding="utf-8")


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> str:
    """The folder of a tiny CLIP with random weights, whose embeddings have 24 numbers."""
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    text = {**tower, **special, "vocab_size": len(WORDS), "max_position_embeddings": 12}
    config = CLIPConfig(text_config=text, vision_config={**tower, "image_size": 32, "patch_size": 8}, projection_dim=24)
    model = CLIPModel(config)
    for parameter in model.parameters():  # the usual start is so small that all embeddings are nearly the same
        nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<start>", eos_token="<end>"
    ).save_pretrained(folder)
    crop = {"do_center_crop": True, "crop_size": {"height": 32, "width": 32}, "size": {"shortest_edge": 32}}
    save_preprocessor(folder, "CLIPImageProcessor", **crop)
    return str(folder)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """Saves a tiny ViT with these classes and returns its folder."""

    def make(*labels: str) -> str:
        folder = tmp_path_factory.mktemp("classifier")
        torch.manual_seed(1)
        config = ViTConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=32,
            patch_size=8,
            id2label=dict(enumerate(labels)),
            label2id={label: index for index, label in enumerate(labels)},
        )
        model = ViTForImageClassification(config)
        nn.init.normal_(model.classifier.weight, std=0.3)
        model.save_pretrained(folder)
        save_preprocessor(folder, "ViTImageProcessor", size={"height": 32, "width": 32})
        return str(folder)

    return make


def pixels(crop: bool) -> torch.Tensor:
    """What transformers' processors make of FRAMES, by hand: CLIP resizes the short side and crops, ViT stretches."""
    width, (left, right) = (51, (9, 41)) if crop else (32, (0, 32))  # 40×64 → 32×51, and (51 - 32) // 2 = 9
    resized = [Image.fromarray(frame).resize((width, 32), Image.Resampling.BICUBIC) for frame in FRAMES]
    values = np.stack([np.asarray(image) for image in resized])[:, :, left:right] / 255
    return torch.tensor((values - MEAN) / STD, dtype=torch.float32).permute(0, 3, 1, 2)


def test_similarity_is_clips_own_cosine(clip):
    model, tokenizer = CLIPModel.from_pretrained(clip).eval(), AutoTokenizer.from_pretrained(clip)
    scorer, scores = FrameTextSimilarity(clip), {}
    for text in ("a red square falls", "a blue square"):
        tokens = tokenizer([text], return_tensors="pt")
        with torch.inference_mode():
            out = model(
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], pixel_values=pixels(crop=True)
            )
        expected = float(out.logits_per_text.mean() / model.logit_scale.detach().exp())  # as Data-Juicer has it
        scores[text] = scorer.score([FRAMES], [text])[0]
        assert scores[text] == pytest.approx(expected, abs=1e-4) and -1 <= scores[text] <= 1
    assert abs(np.diff(list(scores.values()))[0]) > 1e-3  # so the text does matter
    assert scorer.score([FRAMES], [text])[0] == pytest.approx(
        np.mean([scorer.score([FRAMES[i : i + 1]], [text])[0] for i in range(5)])
    )


def test_a_long_caption_is_cut_off_and_none_is_refused(clip):
    scorer = FrameTextSimilarity(clip)
    assert scorer.score([FRAMES], ["a red square " * 50])[0] == scorer.score([FRAMES], ["a red square " * 5])[0]
    with pytest.raises(ValueError, match="needs a text"):
        scorer.score([FRAMES], [" "])[0]


def mlp() -> nn.Sequential:
    """LAION's second predictor, for embeddings of 24 numbers."""
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Linear(24, 64), nn.Dropout(0.2), nn.Linear(64, 16), nn.Dropout(0.2), nn.Linear(16, 8), nn.Dropout(0.1),
        nn.Linear(8, 4), nn.Linear(4, 1),
    ).eval()  # fmt: skip


@pytest.mark.parametrize("layout", ["", "predictor.", "layers."])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_aesthetics_of_each_layout(layout, suffix, clip, tmp_path):
    head = mlp() if layout == "layers." else nn.Linear(24, 1)
    tensors = {layout + name: tensor for name, tensor in head.state_dict().items()}
    if layout:  # shunk031's files hold CLIP's image tower as well
        tensors |= {"visual_projection.weight": torch.zeros(24, 32), "vision_model.post_layernorm.bias": torch.ones(32)}
    path = tmp_path / f"head.{suffix}"
    save_file(tensors, path) if suffix == "safetensors" else torch.save(tensors, path)
    model = CLIPModel.from_pretrained(clip).eval()
    with torch.inference_mode():
        embedding = model.get_image_features(pixel_values=pixels(crop=True)).pooler_output
        expected = float(head(embedding / embedding.norm(dim=-1, keepdim=True)).mean())
    assert Aesthetics(clip, str(path)).score([FRAMES], [""])[0] == pytest.approx(expected, abs=1e-4)


class Trap:
    """What a pickle would run."""

    def __reduce__(self):
        return (open, ("trap.txt", "w"))


def test_heads_that_cannot_be_used(clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with_relu = nn.Sequential(
        *[layer for i in range(5) for layer in (nn.Linear(4, 4), nn.ReLU(), nn.Dropout(0.1))][:-2]
    )
    linear = nn.Linear(24, 1).state_dict()
    heads = {
        "relu.pth": {f"layers.{name}": tensor for name, tensor in with_relu.state_dict().items()},
        "two.pth": nn.Linear(24, 2).state_dict(),
        "nothing.pth": {"other": torch.zeros(1)},
        "no-bias.pth": {"weight": linear["weight"]},
        "trap.pth": {**linear, "trap": Trap()},
    }
    for name, tensors in heads.items():
        torch.save(tensors, name)
    (tmp_path / "noise.safetensors").write_bytes(b"noise" * 20)
    for name in (*heads, "noise.safetensors"):
        with pytest.raises(ModelError, match=f"^{name}: not a linear aesthetic head"):
            read_head(name)
    assert not (tmp_path / "trap.txt").exists()
    with pytest.raises(ModelError, match="missing.pth: this head does not exist"):
        read_head("missing.pth")
    torch.save(nn.Linear(768, 1).state_dict(), "large.pth")
    with pytest.raises(ModelError, match="made for embeddings of 768 numbers; those of .* have 24"):
        Aesthetics(clip, "large.pth")


@pytest.mark.parametrize("labels", [("normal", "nsfw"), ("NSFW", "drawing", "SFW")])
def test_probability_of_the_class_named_nsfw(labels, classifier):
    folder = classifier(*labels)
    model = ViTForImageClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        probabilities = model(pixel_values=pixels(crop=False)).logits.softmax(-1)
    label = [label.lower() for label in labels].index("nsfw")
    score = NotSafe(folder).score([FRAMES], [""])[0]
    assert score == pytest.approx(float(probabilities[:, label].mean()), abs=1e-4)
    assert 0.01 < score < 0.99


def test_models_of_another_kind(clip, classifier):
    with pytest.raises(ModelError, match="none of its classes is named nsfw; they are cat, dog"):
        NotSafe(classifier("cat", "dog"))
    with pytest.raises(ModelError, match="is a vit model, not a CLIP"):
        Aesthetics(classifier("normal", "nsfw"), "head.pth")


def test_a_missing_model_says_how_to_name_a_folder(tmp_path):
    for place in (tmp_path / "nowhere", tmp_path):  # no folder; an empty one
        for make in (FrameTextSimilarity, NotSafe):
            with pytest.raises(ModelError, match=f"^{place}: .*Name a folder with config.json"):
                make(str(place))


def test_no_network(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="^nobody/no-such-model: .*or a hub id if there is a network"):
        NotSafe("nobody/no-such-model")


def test_a_batch_of_clips_scores_as_each_alone(clip, classifier, monkeypatch):
    """Also where it is more than the model sees at a time."""
    monkeypatch.setattr(similarity, "BATCH", 4)
    clips, texts = [FRAMES, FRAMES[:2, :30], 255 - FRAMES], ["a red square falls", "a", "a blue square"]
    torch.save(nn.Linear(24, 1).state_dict(), f"{clip}/head.pth")
    for scorer in (
        FrameTextSimilarity(clip),
        Aesthetics(clip, f"{clip}/head.pth"),
        NotSafe(classifier("nsfw", "fine")),
    ):
        alone = [scorer.score([frames], [text])[0] for frames, text in zip(clips, texts, strict=True)]
        assert scorer.score(clips, texts) == pytest.approx(alone, abs=1e-5)
        assert len({round(score, 6) for score in alone}) == 3
