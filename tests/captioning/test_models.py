"""Captioners of every family, tiny and random, through the one path that loads them and has them describe clips."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from captioning import tiny
from transformers.utils import is_torchvision_available

from lite_sora.captioning.answers import Answer
from lite_sora.captioning.models import Captioner, load_captioner
from lite_sora.storage.hub import ModelError

PROMPT = "describe the video"
BUILDERS = [*tiny.FAMILIES, tiny.minicpmv4_6] if is_torchvision_available() else tiny.FAMILIES
EVERY_FAMILY = pytest.mark.parametrize("family", [build.__name__ for build in BUILDERS])


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """folder(family) is the folder of a tiny model, made when it is first asked for."""
    root = tmp_path_factory.mktemp("captioners")

    def make(family: str) -> Path:
        if not (root / family).exists():
            (root / family).mkdir()
            getattr(tiny, family)(root / family)
        return root / family

    return make


@pytest.fixture(scope="session")
def captioner(folder):
    """captioner(family) is the tiny model, loaded once."""
    loaded = {}

    def load(family: str) -> Captioner:
        if family not in loaded:
            loaded[family] = load_captioner(str(folder(family)), device="cpu")
        return loaded[family]

    return load


def clips(model: Captioner, count: int, height: int = 20, width: int = 24) -> list[np.ndarray]:
    """Clips of as many frames as the model looks at, each of four random colours."""
    frames = 1 if model.takes == "image" else model.family.frames or 4
    colours = np.random.default_rng(0).integers(0, 256, (count, frames, 2, 2, 3), dtype=np.uint8)
    return list(colours.repeat(height // 2, axis=2).repeat(width // 2, axis=3))


def scores(model: Captioner, clip: np.ndarray, prompt: str = PROMPT) -> torch.Tensor:
    """The scores of each first word, (V,)."""
    inputs = model._read([clip], prompt)
    how = {"max_new_tokens": 1, "do_sample": False, "num_beams": 1}
    return model.model.generate(**inputs, **how, output_scores=True, return_dict_in_generate=True).scores[0][0]


# ---------------------------------------------------------------- every family


@EVERY_FAMILY
def test_describes_clips_and_a_batch_says_what_each_would_alone(captioner, family):
    model = captioner(family)
    several = clips(model, 3)
    answers = model.describe(several, PROMPT, max_tokens=6)
    assert all(isinstance(answer, Answer) and answer.text for answer in answers)
    assert len({answer.text for answer in answers}) > 1  # they look
    assert answers == [model.describe([clip], PROMPT, max_tokens=6)[0] for clip in several]
    known = set(model.processor.tokenizer.all_special_tokens)
    assert not any(set(answer.text.split()) & known or PROMPT in answer.text for answer in answers)


@EVERY_FAMILY
def test_every_frame_counts(captioner, family):
    model = captioner(family)
    clip = clips(model, 1)[0]
    before = scores(model, clip)
    for frame in range(len(clip)):
        changed = clip.copy()
        changed[frame] = 255 - changed[frame]
        assert not torch.allclose(scores(model, changed), before, rtol=0, atol=1e-5), f"frame {frame}"


@EVERY_FAMILY
def test_an_answer_is_finished_when_its_end_was_written(captioner, family, monkeypatch):
    model = captioner(family)
    several = clips(model, 2)
    generate = model.model.generate

    def ending(**how):
        """Nobody ends of its own accord, but the first answer does after three words."""
        words = []

        def end(ids, scores):
            scores[:, 2] = 100.0 if len(words) == 3 else -torch.inf
            scores[1:, 2] = -torch.inf
            words.append(ids)
            return scores

        return generate(**how, logits_processor=[end])

    monkeypatch.setattr(model.model, "generate", ending)
    first, second = model.describe(several, PROMPT, max_tokens=6)
    assert first.finished and not second.finished
    assert len(first.text.split()) <= 3 < len(second.text.split()) <= 6


# ---------------------------------------------------------------- what families take


@pytest.mark.parametrize(
    "family, takes",
    [
        ("smolvlm", "images"),
        ("idefics3", "images"),
        ("gemma3", "images"),
        ("video_llava", "video"),
        ("llava_next_video", "video"),
        ("llava_onevision", "video"),
        ("internvl", "video"),
        ("instructblipvideo", "video"),
        ("llava", "image"),
        ("blip", "image"),
        ("florence2", "image"),
        ("git", "image"),
        ("git_video", "images"),
    ],
)
def test_what_it_takes(captioner, family, takes):
    assert captioner(family).takes == takes


def test_videos_in_patches_go_in_as_images_where_torchvision_is_missing(captioner):
    expected = "video" if is_torchvision_available() else "images"
    assert captioner("qwen2_vl").takes == captioner("qwen3_vl").takes == expected


@pytest.mark.parametrize("family", ["smolvlm", "qwen2_vl", "qwen3_vl", "glm4v", "internvl", "gemma3"])
def test_clips_of_any_length_and_size_in_one_call(captioner, family):
    model = captioner(family)
    draw = np.random.default_rng(1)
    shapes = [(2, 20, 24), (4, 20, 24), (2, 40, 16), (1, 20, 24), (4, 24, 20)]
    mixed = [draw.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
    alone = [model.describe([clip], PROMPT, max_tokens=5)[0] for clip in mixed]
    assert model.describe(mixed, PROMPT, max_tokens=5) == alone
    assert model.describe([], PROMPT) == []


def test_frames_are_not_cut_into_tiles(captioner):
    model = captioner("smolvlm")
    large = np.zeros((2, 64, 64, 3), np.uint8)
    assert model._read([large], PROMPT)["pixel_values"].shape[:2] == (1, 2)  # the images of one clip


def test_the_prompt_is_read_by_those_that_read(captioner):
    for family, reads in (("smolvlm", True), ("video_llava", True), ("instructblip", True), ("blip", False)):
        model = captioner(family)
        clip = clips(model, 1)[0]
        assert torch.equal(scores(model, clip, "a red circle"), scores(model, clip, "up down left")) != reads, family


def test_a_template_that_writes_the_start_token_gets_no_second_one(captioner):
    model = captioner("gemma3")
    ids = model._read(clips(model, 1), PROMPT)["input_ids"]
    assert (ids == model.processor.tokenizer.bos_token_id).sum() == 1


# ---------------------------------------------------------------- words


def test_temperature_draws_words_by_the_seed(captioner):
    model = captioner("smolvlm")
    clip = clips(model, 1)
    state = torch.get_rng_state()
    drawn = [model.describe(clip, PROMPT, max_tokens=8, temperature=2.0, seed=seed)[0].text for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert torch.equal(torch.get_rng_state(), state)  # nobody else's randomness is touched


# ---------------------------------------------------------------- wrong input


def test_clips_that_are_none(captioner):
    model = captioner("smolvlm")
    right = np.zeros((2, 20, 24, 3), np.uint8)
    for wrong, says in (
        (right.astype(np.float32), r"uint8 array \(T, H, W, 3\), not float32"),
        (right[0], r"not uint8 \(20, 24, 3\)"),
        (right.transpose(0, 3, 1, 2), r"not uint8 \(2, 3, 20, 24\)"),
        (torch.zeros(2, 20, 24, 3), "not Tensor"),
        (right[:0], "is empty"),
        (right[:, :0], "is empty"),
    ):
        with pytest.raises(ValueError, match=says):
            model.describe([right, wrong], PROMPT)


def test_more_frames_than_it_looks_at(captioner):
    eight = [np.zeros((8, 20, 24, 3), np.uint8)]
    for family, says in (
        ("blip", "one frame at a time, not 8"),
        ("llava", "one frame at a time, not 8"),
        ("git_video", "exactly 6 frames, not 8"),
        ("instructblipvideo", "exactly 4 frames, not 8"),
    ):
        with pytest.raises(ValueError, match=says):
            captioner(family).describe(eight, PROMPT)


# ---------------------------------------------------------------- models that cannot be used


def test_a_folder_of_something_else(tmp_path):
    with pytest.raises(ModelError, match="has no config.json: name the folder"):
        load_captioner(str(tmp_path))
    with pytest.raises(ModelError, match="there is no folder"):
        load_captioner(str(tmp_path / "missing"))
    (tmp_path / "config.json").write_text('{"denoiser": "dit"}', encoding="utf-8")
    with pytest.raises(ModelError, match="not a model of the transformers library"):
        load_captioner(str(tmp_path))
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match="config.json is not JSON"):
        load_captioner(str(tmp_path))


def test_a_model_of_text_only(tmp_path):
    import transformers

    transformers.GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=96).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="is a gpt2, which takes no images: name a vision-language model"):
        load_captioner(str(tmp_path))


@pytest.mark.skipif(is_torchvision_available(), reason="is about its absence")
def test_a_model_that_needs_torchvision(folder):
    with pytest.raises(ModelError, match="minicpmv4_6 needs torchvision: pip install torchvision"):
        load_captioner(str(folder("minicpmv4_6")))


def test_a_hub_id_without_a_network(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        ModelError,
        match="Name a folder with .*or a hub id if .*`hf download nobody/nothing",
    ):
        load_captioner("nobody/nothing")


def test_weights_in_a_pickle_are_not_loaded(folder, tmp_path):
    copy = Path(shutil.copytree(folder("blip"), tmp_path / "blip"))
    (copy / "model.safetensors").unlink()
    torch.save({}, copy / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors"):
        load_captioner(str(copy))


def test_a_model_without_a_chat_template(folder, tmp_path):
    copy = Path(shutil.copytree(folder("smolvlm"), tmp_path / "smolvlm"))
    (copy / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="has no chat template"):
        load_captioner(str(copy))


@pytest.mark.parametrize("template", ["{{ messages[0]['content'][-1]['text'] }}", "<image>", "{{ messages[1]['x'] }}"])
def test_a_chat_template_that_drops_frames(folder, tmp_path, template):
    copy = Path(shutil.copytree(folder("smolvlm"), tmp_path / "smolvlm"))
    (copy / "chat_template.jinja").write_text(template, encoding="utf-8")
    with pytest.raises(ModelError, match="chat template"):
        load_captioner(str(copy))


# ---------------------------------------------------------------- code that a model brings along

CODE = """
import pathlib
from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration
pathlib.Path(__file__).with_name("ran").touch()
class OwnConfig(SmolVLMConfig):
    model_type = "own_captioner"
class OwnModel(SmolVLMForConditionalGeneration):
    config_class = OwnConfig
"""


def test_code_of_the_models_own_runs_only_when_trusted(folder, tmp_path, monkeypatch):
    import transformers.dynamic_module_utils

    monkeypatch.setattr(transformers.dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path / "cache")
    copy = Path(shutil.copytree(folder("smolvlm"), tmp_path / "own"))
    (copy / "own.py").write_text(CODE, encoding="utf-8")
    config = json.loads((copy / "config.json").read_text(encoding="utf-8")) | {"model_type": "own_captioner"}
    config["auto_map"] = {"AutoConfig": "own.OwnConfig", "AutoModelForImageTextToText": "own.OwnModel"}
    (copy / "config.json").write_text(json.dumps(config), encoding="utf-8")
    settings = json.loads((copy / "processor_config.json").read_text(encoding="utf-8")) | {
        "processor_class": "Idefics3Processor"
    }
    (copy / "processor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(ModelError, match="trust"):
        load_captioner(str(copy), device="cpu")
    assert not list(tmp_path.rglob("ran"))
    with pytest.warns(UserWarning, match="may run code of its own"):
        model = load_captioner(str(copy), device="cpu", trust_remote_code=True)
    assert list(tmp_path.rglob("ran")) and type(model.model).__name__ == "OwnModel"
    assert model.takes == "images" and model.describe(clips(model, 1), PROMPT, max_tokens=4)[0].text
