"""Pretrained CLIP and T5 as text encoders: tiny random ones, saved to a folder and loaded from there."""

import gc
import json
import warnings
import weakref
from pathlib import Path

import pytest
import torch
import transformers
from conftest import run_train, tiny_flags
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from lite_sora.autoencoders import load_autoencoder
from lite_sora.compute import training_flops
from lite_sora.pipeline import TextToVideo, TextToVideoConfig, assemble
from lite_sora.storage.runs import CheckpointError
from lite_sora.text.encoder import build_tokenizer
from lite_sora.text.pretrained import PretrainedText, TextError, stack
from lite_sora.text.unknown import warn_of_unknown_words
from lite_sora.training.loop import TrainingError

WORDS = ["<pad>", "<end>", "<unk>", "<start>", "a", "red", "blue", "circle", "square", "moving", "right", "up"]
CAPTIONS = ["a red circle", "a blue square moving up", ""]


def save_tokenizer(folder: Path, template: str, padding: str = "<pad>") -> None:
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[("<start>", WORDS.index("<start>")), ("<end>", WORDS.index("<end>"))]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=padding, bos_token="<start>", eos_token="<end>", unk_token="<unk>"
    ).save_pretrained(folder)


def save_clip(folder: Path, whole: bool) -> None:
    size = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"vocab_size": len(WORDS), "max_position_embeddings": 8, "eos_token_id": 1, "bos_token_id": 3} | size
    if whole:
        vision = size | {"hidden_size": 12, "image_size": 16, "patch_size": 8}
        model = transformers.CLIPModel(
            transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=4)
        )
    else:
        model = transformers.CLIPTextModel(transformers.CLIPTextConfig(**text))
    model.save_pretrained(folder)
    save_tokenizer(folder, "<start> $A <end>", padding="<end>")  # its padding is its end, as in the published one


def save_t5(folder: Path, kind: str, words: int = len(WORDS)) -> None:
    config = getattr(transformers, kind.replace("EncoderModel", "").replace("ForConditionalGeneration", "") + "Config")
    size = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_decoder_layers": 1, "num_heads": 2}
    getattr(transformers, kind)(config(vocab_size=words, **size)).save_pretrained(folder)
    save_tokenizer(folder, "$A <end>")


SAVE = {
    "CLIPTextModel": lambda folder: save_clip(folder, whole=False),
    "CLIPModel": lambda folder: save_clip(folder, whole=True),
    "T5EncoderModel": lambda folder: save_t5(folder, "T5EncoderModel"),
    "T5ForConditionalGeneration": lambda folder: save_t5(folder, "T5ForConditionalGeneration"),
    "MT5EncoderModel": lambda folder: save_t5(folder, "MT5EncoderModel"),
    "UMT5EncoderModel": lambda folder: save_t5(folder, "UMT5EncoderModel"),
}


@pytest.fixture(scope="module", params=SAVE)
def folder(request, tmp_path_factory) -> str:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp(request.param)
    SAVE[request.param](folder)
    return str(folder)


@pytest.fixture(scope="module")
def t5(tmp_path_factory) -> str:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("t5")
    save_t5(folder, "T5EncoderModel")
    return str(folder)


# ---------------------------------------------------------------- embeddings


def test_shapes_mask_and_size(folder):
    encoder = PretrainedText(folder)
    ids = encoder.tokenize(CAPTIONS)
    text = encoder(ids)
    assert text.tokens.shape == (3, ids.shape[1], encoder.width) and text.pooled.shape == (3, 16)
    assert text.mask.sum(1).tolist() == ([5, 7, 2] if "CLIP" in folder else [4, 6, 1])
    assert torch.equal(text.mask, ids != -1)
    for h in (text.tokens[text.mask], text.pooled):
        assert h.dtype == torch.float32 and not h.requires_grad
        torch.testing.assert_close(h.mean(1), torch.zeros(len(h)), rtol=0, atol=1e-5)
        torch.testing.assert_close(h.var(1, correction=0), torch.ones(len(h)), rtol=0, atol=2e-2)


def test_it_says_what_transformers_says(folder):
    encoder = PretrainedText(folder)
    model, tokenizer = encoder.model, transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        out = model(**tokenizer(["a red circle"], return_tensors="pt"))
    pooled = out.pooler_output if "CLIP" in folder else out.last_hidden_state.mean(1)
    text = encoder(encoder.tokenize(["a red circle"]))
    norm = torch.nn.LayerNorm(16, elementwise_affine=False)
    torch.testing.assert_close(text.tokens, norm(out.last_hidden_state))
    torch.testing.assert_close(text.pooled, norm(pooled))


def test_neither_padding_nor_the_others_in_a_batch_change_a_caption(folder):
    encoder = PretrainedText(folder)
    together = encoder(encoder.tokenize(CAPTIONS))
    for i, caption in enumerate(CAPTIONS):
        alone = encoder(encoder.tokenize([caption]))
        torch.testing.assert_close(together.tokens[i][together.mask[i]], alone.tokens[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(together.pooled[i], alone.pooled[0], rtol=0, atol=1e-5)
    assert (together.pooled[0] - together.pooled[1]).abs().max() > 1e-2


def test_captions_encoded_once_are_stacked_into_any_batch(folder):
    encoder = PretrainedText(folder)
    kept = encoder.encode(CAPTIONS)
    for chosen in ([0, 2, 1], [2], [2, 0]):
        stacked = stack([kept[i] for i in chosen])
        text = encoder(encoder.tokenize([CAPTIONS[i] for i in chosen]))
        assert torch.equal(stacked.mask, text.mask)
        torch.testing.assert_close(stacked.tokens[text.mask], text.tokens[text.mask], rtol=0, atol=1e-5)
        torch.testing.assert_close(stacked.pooled, text.pooled, rtol=0, atol=1e-5)


def test_long_captions_are_cut_off(folder):
    long = " ".join(["red"] * 300)
    ids = PretrainedText(folder).tokenize([long])
    assert ids.shape[1] == (8 if "CLIP" in folder else 256) and ids[0, -1] == WORDS.index("<end>")
    assert PretrainedText(folder, length=6).tokenize([long]).shape == (1, 6)


def test_autocast_changes_nothing(t5):
    encoder = PretrainedText(t5)
    ids = encoder.tokenize(CAPTIONS)
    with torch.autocast("cpu", torch.bfloat16):
        inside = encoder(ids)
    assert torch.equal(inside.tokens, encoder(ids).tokens)


def test_unknown_words_are_named_and_the_end_of_a_caption_is_none(t5):
    encoder = PretrainedText(t5)
    with pytest.warns(UserWarning, match="never saw the word 'zebra' .in the prompt 'a red zebra'.") as warned:
        warn_of_unknown_words(encoder, ["a red zebra", "a red circle", ""])
    assert len(warned) == 1


def test_the_unknown_token_of_clip_is_its_end_token(tmp_path):
    save_clip(tmp_path, whole=False)
    tokens = ["<|startoftext|>", "<|endoftext|>", "r", "e", "d</w>", "re", "a</w>"]
    transformers.CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[("r", "e")]).save_pretrained(
        tmp_path
    )
    encoder = PretrainedText(str(tmp_path))
    assert encoder.unknown == "<|endoftext|>"
    assert encoder.tokenize(["A red", ""]).tolist() == [[0, 6, 5, 4, 1], [0, 1, -1, -1, -1]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_unknown_words(encoder, ["a red", ""])


def test_a_released_model_is_loaded_again_when_a_caption_comes(t5):
    encoder = PretrainedText(t5)
    ids = encoder.tokenize(CAPTIONS)
    before = encoder(ids)
    gone = weakref.ref(encoder.model)
    encoder.release()
    gc.collect()
    assert gone() is None and encoder.width == 16
    assert torch.equal(encoder(ids).tokens, before.tokens)
    PretrainedText(t5).release()  # nothing was loaded yet


# ---------------------------------------------------------------- in a model


def tiny_model(text: str) -> TextToVideo:
    torch.manual_seed(0)
    denoiser = {"patch": [2, 8, 8], "width": 48, "depth": 1, "heads": 2}
    config = TextToVideoConfig(denoiser_config=denoiser, text=text, text_width=16, frames=2, height=16, width=16)
    model = assemble(config, None, load_autoencoder(config.autoencoder)).eval()
    torch.nn.init.normal_(model.denoiser.out.weight, std=0.05)  # they start at zero, which would hide everything
    torch.nn.init.normal_(model.denoiser.blocks[0].modulation[-1].weight, std=0.05)
    return model


def test_a_model_neither_trains_nor_saves_it_but_finds_it_again(folder, tmp_path):
    model = tiny_model(folder)
    assert {name.partition(".")[0] for name in model.state_dict()} == {"denoiser"}
    assert not any(weight.requires_grad for weight in model.text.model.parameters())
    model.save_pretrained(tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"config.json", "model.safetensors"}
    again = TextToVideo.from_pretrained(tmp_path / "run")
    videos = [m.generate(["a red circle", "a blue square"], seeds=[0, 0], steps=2) for m in (model, again)]
    assert torch.equal(*videos) and (videos[0][0] - videos[0][1]).abs().max() > 1e-4


def test_flops_are_counted_without_its_weights(t5):
    model = tiny_model(t5)
    assert training_flops(model, model.latent_shape(), words=5) > training_flops(model, model.latent_shape(), words=4)
    assert "model" not in vars(model.text)  # it was never loaded
    words = assemble(
        TextToVideoConfig(**vars(model.config) | {"text": "words"}), build_tokenizer(["a"]), model.autoencoder
    )
    gradient = 2 * (5 + 1) * 16 * 48  # of words that are trained: five and their mean, through the first layer
    frozen, trained = (training_flops(m, m.latent_shape(), words=5) for m in (model, words))
    assert trained - frozen == gradient


@pytest.mark.parametrize(
    "parts", [{}, {"conditioning": "mm-dit"}, {"words": "cross-attention"}, {"words": "none"}, {"denoiser": "uvit"}]
)
def test_every_denoiser_takes_its_width_and_learns_from_it(parts, t5):
    torch.manual_seed(0)
    network = {"patch": [2, 8, 8], "width": 48, "depth": 1, "heads": 2} | parts
    config = TextToVideoConfig(denoiser=network.pop("denoiser", "dit"), denoiser_config=network, text=t5, text_width=16)
    model = assemble(config, None, load_autoencoder(config.autoencoder))
    torch.nn.init.normal_(model.denoiser.out.weight, std=0.05)
    for name, weight in model.denoiser.named_parameters():
        if "modulation" in name or "cross.out" in name:  # they start at zero
            torch.nn.init.normal_(weight, std=0.05)
    x, noise = torch.randn(2, 2, 3, 2, 16, 16)
    ids = model.text.tokenize(["a red circle", ""])
    model(latents=x, noise=noise, t=torch.tensor([0.3, 0.8]), captions=ids, signals={}).mean().backward()
    first = model.denoiser.embed_pooled if network.get("words") == "none" else model.denoiser.embed_text
    assert first.weight.grad.abs().max() > 0
    assert not any(weight.requires_grad for weight in model.text.model.parameters())


def test_training_resumes_and_generates(t5, toy, tmp_path, monkeypatch):
    monkeypatch.chdir(Path(t5).parent)
    before = PretrainedText(t5).model.state_dict()
    flags = [*tiny_flags(toy), "--text", Path(t5).name, "--steps", "3"]
    whole = run_train(*flags, "--out", str(tmp_path / "whole"))
    run = run_train(*flags, "--out", str(tmp_path / "run"), "--stop-after", "2")
    monkeypatch.chdir(tmp_path)  # the run finds its text encoder from anywhere
    run_train("--resume", str(run), "--device", "cpu")
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert config["text"] == str(Path(t5).resolve()) and config["text_width"] == 16
    assert not (run / "tokenizer.json").exists()
    assert (run / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    model = TextToVideo.from_pretrained(run)
    assert model.generate(["a red circle"], steps=2).isfinite().all()
    assert all(torch.equal(weight, before[name]) for name, weight in model.text.model.state_dict().items())


# ---------------------------------------------------------------- what cannot be loaded


def test_what_is_no_text_model_is_a_clear_error(tmp_path):
    with pytest.raises(TextError, match="cannot load it .*Name a folder with a model's config.json"):
        PretrainedText(str(tmp_path))
    transformers.BertConfig().save_pretrained(tmp_path)
    with pytest.raises(TextError, match="is a bert model, which is not supported; supported are clip, .* umt5"):
        PretrainedText(str(tmp_path))


def test_a_model_without_its_tokenizer_is_a_clear_error(tmp_path):
    save_t5(tmp_path, "T5EncoderModel", words=512)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).unlink()
    with pytest.raises(TextError, match="has no matching tokenizer: it knows .* of the model's 512 tokens"):
        PretrainedText(str(tmp_path))
    save_t5(tmp_path, "T5EncoderModel")
    save_tokenizer(tmp_path, "$A")
    with pytest.raises(TextError, match="adds neither a start nor an end token"):
        PretrainedText(str(tmp_path))


def test_weights_that_are_missing_or_of_another_model_are_a_clear_error(tmp_path):
    save_t5(tmp_path, "T5EncoderModel")
    (tmp_path / "model.safetensors").rename(tmp_path / "away")
    torch.save({"a": torch.zeros(1)}, tmp_path / "pytorch_model.bin")  # pickled: never opened
    encoder = PretrainedText(str(tmp_path))
    with pytest.raises(TextError, match="T5EncoderModel cannot load it"):
        encoder(encoder.tokenize(["a"]))
    (tmp_path / "other").mkdir()
    save_clip(tmp_path / "other", whole=False)
    (tmp_path / "other" / "model.safetensors").rename(tmp_path / "model.safetensors")
    with pytest.raises(TextError, match="its weights are not those of a T5EncoderModel: .* is missing"):
        encoder(encoder.tokenize(["a"]))


def test_without_a_network_a_hub_id_is_a_clear_error(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(TextError, match="somebody/t5: .*Name a folder .* or a hub id while there is a network"):
        PretrainedText("somebody/t5")


def test_training_and_loading_name_the_text_model_that_is_gone(t5, toy, tmp_path):
    with pytest.raises((TextError, TrainingError), match="nowhere"):
        run_train(*tiny_flags(toy), "--text", str(tmp_path / "nowhere"), "--out", str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    model = tiny_model(t5)
    model.config.text = str(tmp_path / "nowhere")
    model.save_pretrained(tmp_path / "run")
    with pytest.raises(CheckpointError, match="nowhere.*Name a folder"):
        TextToVideo.from_pretrained(tmp_path / "run")
