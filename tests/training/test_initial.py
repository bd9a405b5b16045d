"""--init: weights of other runs and of published models, as far as they fit."""

import pytest
import torch
from conftest import run_train, tiny_flags

from lite_sora.autoencoders import load_autoencoder
from lite_sora.configuration import TextToVideoConfig
from lite_sora.load import load_model
from lite_sora.pipeline import assemble
from lite_sora.storage.runs import CheckpointError
from lite_sora.text.encoder import build_tokenizer
from lite_sora.training.flags import TrainingError
from lite_sora.training.initial import start_from


def model(captions: list[str], **config):
    config = TextToVideoConfig(denoiser_config={"patch": [4, 16, 16], "depth": 2}, **config)
    return assemble(config, build_tokenizer(captions), load_autoencoder("pixel"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "first"
    torch.manual_seed(1)
    model(["a red circle", "a blue square"]).save_pretrained(folder)
    return folder


def test_all_that_fits_is_taken_and_words_by_their_spelling(run, capsys):
    torch.manual_seed(2)
    other, new = load_model(run), model(["a green circle", "a red square"])
    before = new.text.embedding.weight.clone()
    start_from(new, str(run))
    said = capsys.readouterr().out
    assert all(torch.equal(a, b) for a, b in zip(other.denoiser.parameters(), new.denoiser.parameters(), strict=True))
    ours, theirs = new.text.tokenizer.get_vocab(), other.text.tokenizer.get_vocab()
    for word, row in ours.items():
        expected = other.text.embedding.weight[theirs[word]] if word in theirs else before[row]
        assert torch.equal(new.text.embedding.weight[row], expected), word
    assert "7 of 8 words of the vocabulary are known" in said and "new: nothing" in said


def test_what_has_another_shape_is_new(run, capsys):
    new = model(["a red circle"], height=64, width=64)
    new.config.denoiser_config["patch"] = [4, 32, 32]
    new = assemble(new.config, new.text.tokenizer, load_autoencoder("pixel"))
    start_from(new, str(run))
    said = capsys.readouterr().out
    assert "new: denoiser.embed, denoiser.out" in said


def test_a_run_starts_from_another(run, toy, tmp_path, capsys):
    flags = [*tiny_flags(toy), "--steps", "1", "--lr", "1e-12", "--muon-lr", "1e-12", "--init", str(run)]
    made = run_train(*flags, "--adherence-clips", "0", "--out", str(tmp_path / "run"))
    assert f"from {run}: " in capsys.readouterr().out
    first, second = load_model(run).denoiser, load_model(made).denoiser
    torch.testing.assert_close(second.blocks[1].mlp.up.weight, first.blocks[1].mlp.up.weight, rtol=0, atol=1e-6)


def test_what_cannot_be_a_start_is_refused(run, toy, tmp_path):
    with pytest.raises(CheckpointError, match="no such folder"):
        run_train(*tiny_flags(toy), "--init", str(tmp_path / "nothing"))
    with pytest.raises(TrainingError, match="no weight of it has the name and shape"):
        start_from(torch.nn.Linear(2, 2), str(run))
