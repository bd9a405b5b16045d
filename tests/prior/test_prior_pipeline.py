"""TextToCodes: seeds, sizes, saving and loading, and refusing what cannot be loaded."""

import json

import pytest
import torch
from prior.tiny_prior import save_vq, tiny_model

from lite_sora.autoencoders.kl import KLAutoencoder, KLConfig
from lite_sora.autoencoders.saved import open_folder, save_folder
from lite_sora.load import load_model, options_of
from lite_sora.pipeline import TextToVideo
from lite_sora.prior.pipeline import TextToCodes, open_vq
from lite_sora.prior.sampling import draw
from lite_sora.seeds import seed_of
from lite_sora.storage.runs import CheckpointError


@pytest.fixture
def model(tmp_path) -> TextToCodes:
    save_vq(tmp_path / "vq")
    return tiny_model(tmp_path / "vq")


def test_a_seed_belongs_to_its_prompt(model):
    for guidance in (1.0, 2.0):
        alone = model.generate(["a red circle"], seeds=[3], guidance=guidance)
        assert alone.shape == (1, 3, 4, 16, 16)
        asked = ["a blue square", "a red circle", "a red circle moving right"]
        batch = model.generate(asked, seeds=[1, 3, 3], guidance=guidance)
        torch.testing.assert_close(batch[1:2], alone, rtol=0, atol=1e-5)
        assert not torch.allclose(batch[1], batch[2], atol=1e-3)  # another prompt
        again = model.generate(["a red circle"], seeds=[4], guidance=guidance)
        assert not torch.allclose(again, alone, atol=1e-3)  # another seed


def test_codes_can_be_watched_as_they_are_written(model):
    seen = []
    video = model.generate(["a red circle", "a blue square"], seeds=[1, 2], observe=seen.append)
    assert [codes.shape for codes in seen] == [(2, n) for n in range(1, 33)]
    assert all(torch.equal(before, after[:, :-1]) for before, after in zip(seen, seen[1:], strict=False))
    assert torch.equal(model.decode(seen[-1].unflatten(1, (2, 4, 4))).clamp(-1, 1), video)


def test_no_value_lies_outside_of_the_range(model):
    assert model.generate(["a red circle"]).abs().max() < 0.9
    model.autoencoder.model.decoder[-1].weight.data.mul_(100)  # a decoder's output is in about [-1, 1] at most
    assert model.generate(["a red circle"]).abs().max() == 1


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@torch.no_grad()
def test_generated_codes_are_those_that_computing_all_again_gives(model, temperature):
    """Generation, with its cache, against the whole network once for each code; greedy, and with the same chance."""
    ids = model.text.tokenize(["a red circle"])
    chance = torch.rand(32, generator=torch.Generator().manual_seed(seed_of(5, "codes")))
    codes = torch.zeros(1, 2, 4, 4, dtype=torch.long)
    for place in range(32):
        logits = model.transformer(codes, model.text(ids))[:, place]
        codes.flatten(1)[:, place] = draw(logits, chance[place : place + 1], temperature, top_p=0.9)
    video = model.generate(["a red circle"], seeds=[5], guidance=1.0, temperature=temperature, top_p=0.9)
    assert torch.equal(video, model.decode(codes).clamp(-1, 1))
    assert len(codes.unique()) > 4 or temperature == 0


def test_the_likelihood_is_that_of_the_codes_in_order(model):
    codes = torch.randint(10, (2, 2, 4, 4), generator=torch.Generator().manual_seed(0))
    ids = model.text.tokenize(["a red circle", "a blue square"])
    with torch.no_grad():
        logits = model.transformer(codes, model.text(ids)).log_softmax(-1)
        found = model(codes, ids)
    expected = [-sum(logits[b, n, code].item() for n, code in enumerate(codes[b].flatten())) / 32 for b in range(2)]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_guidance_and_negative_prompts_change_the_video(model):
    asked = ["a red circle"]
    plain = model.generate(asked, guidance=1.0)
    assert not torch.allclose(model.generate(asked, guidance=4.0), plain, atol=1e-3)
    against = model.generate(asked, guidance=4.0, negative="a blue square")
    assert not torch.allclose(against, model.generate(asked, guidance=4.0), atol=1e-3)
    same = model.generate(asked, guidance=3.0, negative="a red circle")
    torch.testing.assert_close(same, plain, rtol=0, atol=1e-4)


def test_other_sizes_than_trained(model):
    assert model.generate(["a red circle"], frames=6, height=24, width=8).shape == (1, 3, 6, 24, 8)
    with pytest.raises(ValueError, match="18 does not divide by 4"):
        model.generate(["a red circle"], height=18)


@pytest.mark.parametrize(
    "options, message", [({"temperature": -1}, "temperature"), ({"top_k": 0}, "top-k"), ({"top_p": 0.0}, "top-p")]
)
def test_sampling_that_cannot_be_is_a_clear_error(model, options, message):
    with pytest.raises(ValueError, match=message):
        model.generate(["a red circle"], **options)


def test_saved_and_loaded_is_the_same_model(model, tmp_path):
    model.config.top_k = 4
    model.save_pretrained(tmp_path / "run")
    again = load_model(tmp_path / "run")
    assert isinstance(again, TextToCodes) and again.config == model.config
    assert torch.equal(again.generate(["a red circle"]), model.generate(["a red circle"]))
    names = {str(path.relative_to(tmp_path / "run")) for path in (tmp_path / "run").rglob("*") if path.is_file()}
    weights = {"config.json", "model.safetensors"}
    assert names == weights | {"tokenizer.json"} | {f"autoencoder/{name}" for name in weights}
    assert not any("quantizer" in name for name in model.state_dict())  # it is not trained, or saved twice


def test_folders_that_hold_no_prior_are_refused_with_a_reason(model, tmp_path):
    run = tmp_path / "run"
    model.save_pretrained(run)
    with pytest.raises(CheckpointError, match="prior.*not a denoiser"):
        TextToVideo.from_pretrained(run)
    with pytest.raises(ValueError, match="a prior, not an autoencoder"):
        open_folder(run)
    with pytest.raises(CheckpointError, match="of kind 'vq', which makes no videos"):
        load_model(tmp_path / "vq")
    settings = json.loads((run / "config.json").read_text(encoding="utf-8"))
    for key, value in (("transformer", {"width": "x"}), ("x", 1), ("temperature", -1), ("kind", "magic")):
        (run / "config.json").write_text(json.dumps(settings | {key: value}), encoding="utf-8")
        with pytest.raises(CheckpointError, match="config.json"):
            load_model(run)
    wrong = settings["transformer"] | {"codes": 11}
    (run / "config.json").write_text(json.dumps(settings | {"transformer": wrong}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="a prior over 11 codes, an autoencoder of 10"):
        load_model(run)
    (run / "config.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(CheckpointError, match="config.json (cannot be read|does not contain settings)"):
        load_model(run)
    (run / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    (run / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes()[:100])
    with pytest.raises(CheckpointError, match="model.safetensors does not fit"):
        load_model(run)


def test_an_autoencoder_without_codes_is_refused(tmp_path):
    save_folder(KLAutoencoder(KLConfig(channels=8)), tmp_path / "kl")
    (tmp_path / "empty").mkdir()
    for folder, message in (
        ("kl", "without codes"),
        ("empty", "config.json does not exist"),
        ("nowhere", "no such folder"),
    ):
        with pytest.raises(CheckpointError, match=f"{message}.*python train.py autoencoder --kind vq"):
            open_vq(tmp_path / folder)


def test_only_the_options_that_a_model_has_are_passed_on(model):
    assert options_of(model, steps=None, top_k=3, guidance=None) == {"top_k": 3}
    with pytest.raises(ValueError, match="--steps, --sampler: an autoregressive prior has no such option; it has --to"):
        options_of(model, steps=3, sampler="euler", top_k=None)
