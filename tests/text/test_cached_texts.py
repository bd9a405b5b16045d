"""Captions' embeddings in the cache are those of the frozen encoder, and are made once."""

import torch
from conftest import run_train, tiny_flags
from test_text_pretrained import save_t5

from lite_sora.processes import Processes
from lite_sora.storage.tensors import Shards
from lite_sora.text.cached import cached_texts
from lite_sora.text.pretrained import PretrainedText

ALONE = Processes(0, 1, torch.device("cpu"))
CAPTIONS = ["a red circle", "a blue square moving up"]


def test_they_are_the_encoders(tmp_path):
    save_t5(tmp_path / "t5", "T5EncoderModel")
    encoder = PretrainedText(str(tmp_path / "t5"))
    texts = cached_texts(encoder, CAPTIONS, tmp_path / "cache", ALONE)
    asked = [CAPTIONS[1], "", CAPTIONS[0]]  # the empty caption is there for guidance
    found, wanted = texts(asked), encoder(encoder.tokenize(asked))
    assert torch.equal(found.mask, wanted.mask)
    torch.testing.assert_close(found.tokens[found.mask], wanted.tokens[wanted.mask], atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(found.pooled, wanted.pooled, atol=2e-3, rtol=2e-3)


def test_each_is_encoded_once_by_each_encoder(tmp_path, monkeypatch):
    encoded, encode = [], PretrainedText.encode
    monkeypatch.setattr(PretrainedText, "encode", lambda self, c, *rest: encoded.extend(c) or encode(self, c, *rest))
    for name in ("one", "other"):
        save_t5(tmp_path / name, "T5EncoderModel")
    encoder = PretrainedText(str(tmp_path / "one"))
    for captions in (CAPTIONS[:1], CAPTIONS, CAPTIONS + CAPTIONS):
        cached_texts(encoder, captions, tmp_path / "cache", ALONE)
    assert sorted(encoded) == sorted([*CAPTIONS, ""])
    cached_texts(PretrainedText(str(tmp_path / "other")), CAPTIONS, tmp_path / "cache", ALONE)
    assert len(encoded) == 6


def test_training_encodes_no_caption_in_a_step(toy, tmp_path, monkeypatch):
    save_t5(tmp_path / "t5", "T5EncoderModel")
    flags = [*tiny_flags(toy), "--text", str(tmp_path / "t5"), "--cache-folder", str(tmp_path / "cache")]
    one = run_train(*flags, "--steps", "2", "--out", str(tmp_path / "one"))
    assert len(Shards(tmp_path / "cache").files) > 100
    monkeypatch.setattr(PretrainedText, "encode", None)  # all is there
    two = run_train(*flags, "--steps", "2", "--out", str(tmp_path / "two"))
    assert (one / "model.safetensors").read_bytes() == (two / "model.safetensors").read_bytes()
