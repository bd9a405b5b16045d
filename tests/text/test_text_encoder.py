"""Captions → tokens → embeddings: words, padding, truncation, and words that nobody has seen."""

import warnings

import pytest
import torch
from tokenizers import Tokenizer

from lite_sora.text.encoder import PAD, START, UNKNOWN, TextEncoder, build_tokenizer
from lite_sora.text.unknown import unknown_words, warn_of_unknown_words

CAPTIONS = ["a red circle moving right", "a blue square moving up", "the red circle moves to the right"]


def encoder(depth: int = 1, length: int = 32, captions=CAPTIONS) -> TextEncoder:
    torch.manual_seed(0)
    return TextEncoder(build_tokenizer(captions), width=16, depth=depth, heads=2, length=length).eval()


EVERY_DEPTH = pytest.mark.parametrize("depth", [0, 1, 2])


# ---------------------------------------------------------------- words


def test_vocabulary_is_special_tokens_then_words_by_frequency():
    vocabulary = build_tokenizer(["b a b c", "c b"]).get_vocab()
    assert vocabulary == {PAD: 0, UNKNOWN: 1, START: 2, "b": 3, "c": 4, "a": 5}
    assert build_tokenizer(["c b", "b a b c"]).get_vocab() == vocabulary  # the order of the captions does not matter


def test_vocabulary_keeps_the_most_frequent_words():
    tokenizer = build_tokenizer(["a a a b b c"], most_words=2)
    assert set(tokenizer.get_vocab()) == {PAD, UNKNOWN, START, "a", "b"}
    assert unknown_words(tokenizer, "a b c") == ["c"]


def test_case_and_punctuation():
    tokenizer = build_tokenizer(["A red circle, moving-up!"])
    assert tokenizer.encode("a RED\tcircle , Moving -up !").tokens == [
        START, "a", "red", "circle", ",", "moving", "-", "up", "!"
    ]  # fmt: skip
    assert tokenizer.encode("ｒｅｄ").tokens == [START, "red"]  # full-width letters are the same letters


def test_other_scripts():
    tokenizer = build_tokenizer(["kırmızı daire sağa", "красный круг"])
    assert not unknown_words(tokenizer, "Kırmızı daire, красный КРУГ".replace(",", ""))
    assert unknown_words(tokenizer, "mavi daire") == ["mavi"]


def test_tokenizer_survives_saving():
    tokenizer = build_tokenizer(CAPTIONS)
    again = Tokenizer.from_str(tokenizer.to_str())
    assert again.encode("a red purple circle").ids == tokenizer.encode("a red purple circle").ids


def test_unknown_words_are_named_as_they_were_written():
    tokenizer = build_tokenizer(CAPTIONS)
    assert unknown_words(tokenizer, "a Purple circle moving Sideways!") == ["Purple", "Sideways", "!"]
    assert unknown_words(tokenizer, "A RED CIRCLE") == []
    assert unknown_words(tokenizer, "") == []
    assert unknown_words(tokenizer, "[PAD] [UNK]") == ["[", "PAD", "]", "[", "UNK", "]"]  # no back door


def test_a_warning_names_the_unknown_word_and_the_prompt():
    with pytest.warns(UserWarning) as warned:
        warn_of_unknown_words(encoder(), ["a red circle", "a purple circle", "a red dodecahedron moving up"])
    messages = [str(warning.message) for warning in warned]
    assert len(messages) == 2
    assert "'purple'" in messages[0] and "'a purple circle'" in messages[0]
    assert "'dodecahedron'" in messages[1] and "'a red dodecahedron moving up'" in messages[1]


def test_no_warning_where_every_word_is_known():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_unknown_words(encoder(), [*CAPTIONS, ""])


# ---------------------------------------------------------------- tokens


def test_tokens_begin_with_the_start_and_end_with_padding():
    ids = encoder().tokenize(["a red circle", "a", ""])
    names = {index: word for word, index in build_tokenizer(CAPTIONS).get_vocab().items()}
    assert [[names[int(index)] for index in row] for row in ids] == [
        [START, "a", "red", "circle"],
        [START, "a", PAD, PAD],
        [START, PAD, PAD, PAD],
    ]


def test_long_captions_are_cut_off():
    model = encoder(length=6)
    words = ["a", "red", "circle", "moving", "right"]
    long = " ".join(words + ["up"] * 100)
    assert model.tokenize([long]).shape == (1, 6)  # the start and five words
    assert torch.equal(model.tokenize([long]), model.tokenize([" ".join(words)]))
    text = model(model.tokenize([long, "a"]))
    assert text.tokens.shape == (2, 6, 16) and text.tokens.isfinite().all()


# ---------------------------------------------------------------- embeddings


@EVERY_DEPTH
def test_shapes_and_mask(depth):
    model = encoder(depth)
    text = model(model.tokenize(["a red circle", "a", ""]))
    assert text.tokens.shape == (3, 4, 16) and text.pooled.shape == (3, 16)
    assert text.mask.dtype == torch.bool and text.mask.int().tolist() == [[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]]


@EVERY_DEPTH
def test_pooled_is_the_mean_over_words_without_padding(depth):
    model = encoder(depth)
    text = model(model.tokenize(["a red circle", "a", ""]))
    for i, words in enumerate((4, 2, 1)):
        torch.testing.assert_close(text.pooled[i], text.tokens[i, :words].mean(0))


@EVERY_DEPTH
def test_padding_changes_nothing(depth):
    model = encoder(depth)
    alone = model(model.tokenize(["a red circle"]))
    padded = model(model.tokenize(["a red circle", "the red circle moves to the right"]))
    torch.testing.assert_close(padded.tokens[:1, :4], alone.tokens, rtol=0, atol=1e-5)
    torch.testing.assert_close(padded.pooled[:1], alone.pooled, rtol=0, atol=1e-5)


@EVERY_DEPTH
def test_the_empty_caption_is_a_condition_like_any_other(depth):
    model = encoder(depth)
    text = model(model.tokenize(["", ""]))
    assert text.tokens.shape == (2, 1, 16) and text.pooled.isfinite().all()
    assert torch.equal(text.pooled[0], text.pooled[1])
    assert not torch.allclose(text.pooled[0], model(model.tokenize(["a"])).pooled[0], atol=1e-3)
    text.pooled.sum().backward()
    assert model.embedding.weight.grad.isfinite().all()


@EVERY_DEPTH
def test_words_and_their_order_count(depth):
    model = encoder(depth)

    def pooled(caption):
        return model(model.tokenize([caption])).pooled

    assert not torch.allclose(pooled("a red circle"), pooled("a blue circle"), atol=1e-3)
    assert not torch.allclose(pooled("red blue"), pooled("blue red"), atol=1e-3)
    assert torch.equal(pooled("a purple circle"), pooled("a orange circle"))  # neither has been seen


def test_everything_is_trained():
    model = encoder(depth=1)
    text = model(model.tokenize(CAPTIONS))
    (text.tokens.square() * torch.linspace(0, 1, 16)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
