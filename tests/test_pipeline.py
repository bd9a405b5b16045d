"""TextToVideo: saving, loading, generating, and refusing what cannot be loaded."""

import json
import os
import pickle
from pathlib import Path

import pytest
import torch

import generate
from lite_sora.autoencoders import load_autoencoder
from lite_sora.diffusion.choices import SAMPLERS
from lite_sora.diffusion.presets import PRESETS
from lite_sora.pipeline import TextToVideo, TextToVideoConfig, assemble
from lite_sora.storage.runs import CheckpointError
from lite_sora.text.encoder import build_tokenizer


def tiny_model(objective="sit", denoiser: dict | None = None) -> TextToVideo:
    torch.manual_seed(0)
    config = TextToVideoConfig(
        denoiser_config={"patch": [2, 8, 8], "width": 48, "depth": 2, "heads": 2} | (denoiser or {}),
        text_width=16,
        objective=PRESETS[objective],
        frames=4,
        height=16,
        width=16,
        steps=3,
    )
    model = assemble(
        config, build_tokenizer(["a red circle moving right", "a blue square"]), load_autoencoder(config.autoencoder)
    ).eval()
    torch.nn.init.normal_(model.denoiser.out.weight, std=0.05)  # it starts at zero, which would hide everything
    for block in model.denoiser.blocks:
        torch.nn.init.normal_(block.modulation[-1].weight, std=0.05)
    return model


def test_saved_and_loaded_is_the_same_model(tmp_path):
    model = tiny_model()
    model.save_pretrained(tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "config.json",
        "tokenizer.json",
        "model.safetensors",
    }
    again = TextToVideo.from_pretrained(tmp_path / "run")
    assert again.config == model.config
    assert torch.equal(again.generate(["a red circle"]), model.generate(["a red circle"]))


def test_a_seed_belongs_to_its_prompt():
    model = tiny_model()
    alone = model.generate(["a red circle"], seeds=[3])
    batch = model.generate(["a blue square", "a red circle", "a red circle moving right"], seeds=[1, 3, 3])
    torch.testing.assert_close(batch[1:2], alone, rtol=0, atol=1e-5)
    assert not torch.allclose(batch[1], batch[2], atol=1e-3)  # another prompt
    assert not torch.allclose(model.generate(["a red circle"], seeds=[4]), alone, atol=1e-3)  # another seed


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("objective", PRESETS)
def test_every_sampler_runs_with_every_preset(sampler, objective):
    video = tiny_model(objective).generate(["a red circle"], sampler=sampler)
    assert video.shape == (1, 3, 4, 16, 16) and video.isfinite().all() and video.abs().max() <= 1


def test_random_samplers_keep_seeds_apart_too():
    model = tiny_model()
    alone = model.generate(["a red circle"], seeds=[3], sampler="ddpm")
    batch = model.generate(["a blue square", "a red circle"], seeds=[1, 3], sampler="ddpm")
    torch.testing.assert_close(batch[1:], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("sampler", ["euler-maruyama", "heun-sde"])
def test_the_diffusion_of_an_sde_can_be_chosen(sampler):
    model = tiny_model()
    videos = [model.generate(["a red circle"], sampler=sampler, diffusion=name) for name in ("sigma", "sbdm")]
    assert not torch.allclose(*videos, atol=1e-3)
    assert torch.equal(videos[0], model.generate(["a red circle"], sampler=sampler))  # sigma is the default


def test_grids_and_times():
    model = tiny_model()
    even, karras = (model.generate(["a red circle"], grid=grid) for grid in ("uniform", "karras"))
    assert not torch.allclose(even, karras, atol=1e-3)
    assert torch.equal(model.generate(["a red circle"], times=torch.linspace(1, 0, 4)), even)


def test_guidance_in_an_interval_and_rescaled():
    model, asked = tiny_model(), ["a red circle"]
    plain, guided = (model.generate(asked, guidance=scale) for scale in (1.0, 4.0))
    assert torch.equal(model.generate(asked, guidance=4.0, guidance_interval=(0.0, 1.0)), guided)
    late = model.generate(asked, guidance=4.0, guidance_interval=(0.0, 0.5))
    assert not torch.allclose(late, guided, atol=1e-4) and not torch.allclose(late, plain, atol=1e-4)
    rescaled = model.generate(asked, guidance=4.0, guidance_rescale=1.0)
    assert (rescaled.std() - plain.std()).abs() < (guided.std() - plain.std()).abs()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "magic"}, "sampler 'magic' is not one of euler"),
        ({"grid": "magic"}, "grid 'magic' is not one of uniform"),
        ({"diffusion": "sigma"}, "for the samplers euler-maruyama and heun-sde.*the sampler is euler"),
        ({"sampler": "heun-sde", "diffusion": "magic"}, "'magic' is for the samplers .* one of constant"),
    ],
)
def test_sampling_that_cannot_be_is_a_clear_error(options, message):
    with pytest.raises(ValueError, match=message):
        tiny_model().generate(["a red circle"], **options)


def test_other_sizes_lengths_and_steps_than_trained():
    video = tiny_model().generate(["a red circle"], frames=6, height=24, width=32, steps=2)
    assert video.shape == (1, 3, 6, 24, 32)
    with pytest.raises(ValueError, match="does not divide into patches"):
        tiny_model().generate(["a red circle"], height=20)


def test_guidance_and_negative_prompts_change_the_video():
    model = tiny_model()
    plain, guided, against = (
        model.generate(["a red circle"], guidance=1.0),
        model.generate(["a red circle"], guidance=3.0),
        model.generate(["a red circle"], guidance=3.0, negative="a blue square"),
    )
    assert not torch.allclose(plain, guided, atol=1e-3) and not torch.allclose(guided, against, atol=1e-3)
    same = model.generate(["a red circle"], guidance=3.0, negative="a red circle")
    torch.testing.assert_close(same, plain, rtol=0, atol=1e-4)


class Malicious:
    def __reduce__(self):
        return (os.system, ("touch pwned",))


def test_folders_that_hold_no_model_are_refused_with_a_reason(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="no such folder"):
        TextToVideo.from_pretrained("runs/nothing/here")
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(CheckpointError, match="no config.json"):
        TextToVideo.from_pretrained(run)
    tiny_model().save_pretrained(run)
    weights = (run / "model.safetensors").read_bytes()
    for broken in (b"", weights[: len(weights) // 2], pickle.dumps(Malicious())):
        (run / "model.safetensors").write_bytes(broken)
        with pytest.raises(CheckpointError, match="model.safetensors"):
            TextToVideo.from_pretrained(run)
    assert not (tmp_path / "pwned").exists()
    (run / "model.safetensors").write_bytes(weights)
    settings = json.loads((run / "config.json").read_text(encoding="utf-8"))
    for key, value in (
        ("denoiser", "magic"),
        ("denoiser_config", {"width": 32}),
        ("objective", {"path": "magic"}),
        ("x", 1),
    ):
        (run / "config.json").write_text(json.dumps(settings | {key: value}), encoding="utf-8")
        with pytest.raises(CheckpointError, match="config.json"):
            TextToVideo.from_pretrained(run)
    (run / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match="config.json"):
        TextToVideo.from_pretrained(run)


def test_a_hub_id_is_fetched_from_the_hub(tmp_path, monkeypatch):
    tiny_model().save_pretrained(tmp_path / "there")
    asked = []

    def snapshot_download(name, allow_patterns):
        asked.append((name, tuple(allow_patterns)))
        return str(tmp_path / "there")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    TextToVideo.from_pretrained("somebody/lite-sora-toy")
    assert asked == [
        ("somebody/lite-sora-toy", ("config.json", "tokenizer.json", "model.safetensors", "autoencoder/*"))
    ]


def test_without_a_network_a_hub_id_gives_a_clear_error(monkeypatch):
    from huggingface_hub.errors import LocalEntryNotFoundError

    def offline(name, allow_patterns):
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(CheckpointError, match="somebody/model is not a folder here and could not be fetched"):
        TextToVideo.from_pretrained("somebody/model")


def test_generate_takes_the_newest_run_that_makes_videos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="no run in runs/ yet"):
        generate.newest_run()
    for number, name in enumerate(("old", "new")):
        tiny_model().save_pretrained(tmp_path / "runs" / name)
        os.utime(tmp_path / "runs" / name / "model.safetensors", (number, number))
    for name, config in {
        "captioner": '{"model_type": "smolvlm"}',
        "kl": '{"kind": "kl"}',
        "odd": "[]",
        "no": "{",
    }.items():
        (tmp_path / "runs" / name).mkdir()
        (tmp_path / "runs" / name / "config.json").write_text(config, encoding="utf-8")
        (tmp_path / "runs" / name / "model.safetensors").write_bytes(b"")
    assert generate.newest_run() == Path("runs/new")
