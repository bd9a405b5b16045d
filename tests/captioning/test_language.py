"""A language model answers requests, and makes one caption of the frames' captions; prompts are files."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BertConfig, BertForMaskedLM, ViTConfig, ViTModel
from writer import save_writer

from lite_sora.captioning.answers import Answer
from lite_sora.captioning.language import LanguageModel, _sample, load_language_model
from lite_sora.captioning.request import FOLDER, fill, read_prompt, summarise
from lite_sora.storage.hub import ModelError

REQUESTS = ["a dog", "a much longer request about a red circle", "圆"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return save_writer(tmp_path_factory.mktemp("writer"))


@pytest.fixture(scope="module")
def model(folder) -> LanguageModel:
    return load_language_model(folder, "cpu")


def by_hand(model: LanguageModel, text: str, max_tokens: int) -> Answer:
    """The same, a token at a time, without a batch, padding or a cache."""
    ids = model.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    asked = ids.shape[1]
    while ids.shape[1] < asked + max_tokens:
        with torch.no_grad():
            token = model.model(ids).logits[0, -1].argmax()
        if token == model.tokenizer.eos_token_id:
            return Answer(model.tokenizer.decode(ids[0, asked:], skip_special_tokens=True).strip())
        ids = torch.cat([ids, token[None, None]], dim=1)
    return Answer(model.tokenizer.decode(ids[0, asked:], skip_special_tokens=True).strip(), finished=False)


# ---------------------------------------------------------------- answers


def test_a_batch_is_answered_as_each_request_alone_in_a_chat(model):
    expected = [by_hand(model, f"<user>{request}<end><assistant>", 24) for request in REQUESTS]
    assert model.write(REQUESTS, max_tokens=24) == expected
    assert len({answer.text for answer in expected}) == len(REQUESTS)  # it does depend on the request


def test_without_a_chat_template_the_text_goes_on(tmp_path):
    model = load_language_model(save_writer(tmp_path, chat=False), "cpu")
    assert model.write(REQUESTS, max_tokens=24) == [by_hand(model, request, 24) for request in REQUESTS]


def test_an_answer_that_ends_is_finished_and_one_that_does_not_is_cut_off(model):
    answers = model.write(REQUESTS, max_tokens=24)
    assert {answer.finished for answer in answers} == {True, False}
    finished = next(answer for answer in answers if answer.finished)
    longer = model.write(REQUESTS, max_tokens=48)
    assert finished in longer and "<end>" not in finished.text  # it stays as it is, and the others go on
    for short, long in zip(answers, longer, strict=True):
        assert long.text.startswith(short.text.rstrip("\ufffd")) and (
            short.finished or len(long.text) > len(short.text)
        )


def test_a_sample_belongs_to_its_request_and_seed(model):
    alone = model.write(REQUESTS[:1], max_tokens=16, temperature=1.0, seed=3)
    state = torch.get_rng_state()
    assert model.write(REQUESTS, max_tokens=16, temperature=1.0, seed=3)[:1] == alone
    assert torch.equal(torch.get_rng_state(), state)  # nobody else's random numbers are touched
    assert model.write(REQUESTS[:1], max_tokens=16, temperature=1.0, seed=4) != alone
    assert model.write(REQUESTS[:1], max_tokens=16) != alone


def test_samples_follow_the_probabilities_at_a_temperature():
    logits, count = torch.tensor([2.0, 1.0, 0.0, -4.0]), 4000
    drawn = _sample(2.0, list(range(count)))(None, logits.expand(count, 4)).argmax(-1)
    shares = drawn.bincount(minlength=4) / count
    torch.testing.assert_close(shares, (logits / 2.0).softmax(-1), rtol=0, atol=4 * 0.5 / count**0.5)


def test_nothing_asked_nothing_answered(model):
    assert model.write([]) == []


def test_a_request_that_is_too_long_says_so(tmp_path):
    model = load_language_model(save_writer(tmp_path, most=64), "cpu")
    with pytest.raises(ModelError, match="reads and writes 64 tokens, but the longest request has"):
        model.write(["a" * 60], max_tokens=24)


# ---------------------------------------------------------------- what cannot be loaded


def test_no_model_there(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in (str(tmp_path / "nowhere"), str(tmp_path), "nobody/no-such-model"):
        with pytest.raises(ModelError, match=f"^{name}: .*Name a folder .*or a hub id if there is a network"):
            load_language_model(name, "cpu")


def test_other_kinds_of_model(tmp_path):
    tiny = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    ViTModel(ViTConfig(**tiny, image_size=32, patch_size=16)).save_pretrained(tmp_path / "vit")
    with pytest.raises(ModelError, match="no causal language model"):
        load_language_model(str(tmp_path / "vit"), "cpu")
    BertForMaskedLM(BertConfig(**tiny, vocab_size=260)).save_pretrained(tmp_path / "bert")
    save_writer(tmp_path / "llama")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "llama" / file).rename(tmp_path / "bert" / file)
    with pytest.raises(ModelError, match="a BertForMaskedLM, which fills gaps and does not write"):
        load_language_model(str(tmp_path / "bert"), "cpu")


def test_weights_that_are_missing(tmp_path):
    folder = save_writer(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop("model.layers.1.mlp.up_proj.weight")
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="model.layers.1.mlp.up_proj.weight is missing"):
        load_language_model(folder, "cpu")


def test_pickled_weights_are_not_read(tmp_path):
    folder = save_writer(tmp_path)
    torch.save(AutoModelForCausalLM.from_pretrained(folder).state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelError):
        load_language_model(folder, "cpu")


def test_code_of_a_model_runs_only_when_it_is_trusted(tmp_path):
    folder = save_writer(tmp_path)
    (tmp_path / "own.py").write_text(
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "class OwnConfig(LlamaConfig):\n    model_type = 'own'\n"
        "class OwnModel(LlamaForCausalLM):\n    config_class = OwnConfig\n"
        f"open({str(tmp_path / 'ran')!r}, 'w').close()\n",
        encoding="utf-8",
    )
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    config |= {"model_type": "own", "architectures": ["OwnModel"]}
    config["auto_map"] = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelError, match="brings Python code of its own.*--trust-remote-code"):
        load_language_model(folder, "cpu")
    assert not (tmp_path / "ran").exists()
    with pytest.warns(UserWarning, match="Python code that comes with the model may run"):
        model = load_language_model(folder, "cpu", trust_remote_code=True)
    assert (tmp_path / "ran").exists() and model.write(["a dog"], max_tokens=4)[0].text


# ---------------------------------------------------------------- prompts


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_prompts_that_ship(language):
    names = {path.name.removesuffix(".en.txt") for path in FOLDER.glob("*.en.txt")}
    assert {"video", "image", "summary", "upsample"} <= names
    for name in names:
        text = read_prompt(name, language)
        assert text == text.strip() and any("\u4e00" <= letter <= "\u9fff" for letter in text) == (language == "zh")
        assert text.count("{") == read_prompt(name).count("{")  # the same parts in both languages
    assert "{captions}" in read_prompt("summary", language)
    assert "{prompt}" in read_prompt("upsample", language)


def test_a_prompt_of_ones_own_may_hold_any_braces(tmp_path):
    (tmp_path / "mine.txt").write_text('As JSON, {"caption": …}:\n{captions}\n', encoding="utf-8")
    template = read_prompt(str(tmp_path / "mine.txt"))
    assert fill(template, captions="a {odd} dog") == 'As JSON, {"caption": …}:\na {odd} dog'


def test_prompts_that_cannot_be_used(tmp_path):
    with pytest.raises(ValueError, match="no such file, and the prompts in 'en' are .*summary.*video"):
        read_prompt("vidoe")
    with pytest.raises(ValueError, match="there are none in 'tlh'"):
        read_prompt("video", "tlh")
    (tmp_path / "empty.txt").write_text(" \n", encoding="utf-8")
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1"))
    with pytest.raises(ValueError, match="empty.txt: the file is empty"):
        read_prompt(str(tmp_path / "empty.txt"))
    with pytest.raises(ValueError, match="latin.txt: not a text file in UTF-8"):
        read_prompt(str(tmp_path / "latin.txt"))
    with pytest.raises(ValueError, match="has no {captions}"):
        fill("Summarise this.", captions="a dog")


# ---------------------------------------------------------------- one caption of many


def test_a_summary_is_asked_for_with_all_captions_and_times(model, monkeypatch):
    asked = []

    def write(requests, **settings):
        asked.extend(requests)
        return [Answer(f"summary {number}") for number, _ in enumerate(requests)]

    monkeypatch.setattr(model, "write", write)
    captions = [["a dog\nsits", "", "a dog runs"], ["", " "], ["a {captions} cat"]]
    answers = summarise(model, captions, [[0.0, 1.0, 2.25], [0.0, 1.0], [0.5]], "Frames:\n{captions}\nVideo:")
    assert asked == [
        "Frames:\n0.0 s: a dog sits\n2.2 s: a dog runs\nVideo:",
        "Frames:\n0.5 s: a {captions} cat\nVideo:",
    ]
    assert answers == [Answer("summary 0"), Answer(""), Answer("summary 1")]  # nothing is made up of nothing


def test_a_summary_is_what_the_model_writes(model):
    captions, times, template = [["a dog", "a cat"], ["a cat"]], [[0.0, 1.0], [0.0]], read_prompt("summary")
    answers = summarise(model, captions, times, template, max_tokens=12)
    assert answers == model.write(
        [template.replace("{captions}", lines) for lines in ("0.0 s: a dog\n1.0 s: a cat", "0.0 s: a cat")],
        max_tokens=12,
    )


def test_a_summary_needs_a_time_for_each_caption(model):
    with pytest.raises(ValueError):
        summarise(model, [["a dog", "a cat"]], [[0.0]], "{captions}")
