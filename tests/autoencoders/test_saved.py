"""Run folders of autoencoders, and folders that are not; the interface that all share."""

import copy
import json

import pytest
import torch

from lite_sora.autoencoders import load_autoencoder
from lite_sora.autoencoders.kl import KLAutoencoder, KLConfig
from lite_sora.autoencoders.saved import open_folder, read_config, save_folder
from lite_sora.autoencoders.vq import VQAutoencoder, VQConfig
from lite_sora.compute import training_flops
from lite_sora.pipeline import TextToVideoConfig, assemble
from lite_sora.text.encoder import build_tokenizer


def kl() -> KLAutoencoder:
    return KLAutoencoder(KLConfig((2, 4, 4), 4, channels=8))


def vq() -> VQAutoencoder:
    return VQAutoencoder(VQConfig((2, 4, 4), channels=8, blocks=1, quantizer="fsq", levels=[4, 3]))


@pytest.mark.parametrize("make, frames, shape", [(kl, 5, (4, 3, 2, 3)), (vq, 4, (2, 2, 2, 3))])
def test_a_saved_autoencoder_is_the_same_when_opened(make, frames, shape, tmp_path):
    model = make().eval()
    model.scale.fill_(1.5)
    model.shift.fill_(0.25)
    save_folder(model, tmp_path / "run", {"steps": 3})
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["config.json", "model.safetensors"]
    before = torch.get_rng_state()
    opened = load_autoencoder(str(tmp_path / "run"))
    assert torch.equal(before, torch.get_rng_state())
    x = torch.rand(1, 3, frames, 8, 12) * 2 - 1
    latents = opened.encode(x)
    assert latents.shape[1:] == opened.latent_shape(frames, 8, 12) == shape
    torch.testing.assert_close(latents, model.encode(x))
    torch.testing.assert_close(opened.decode(latents), model.decode(latents))
    assert (opened.downsample, opened.latent_channels, opened.scale) == ((2, 4, 4), shape[0], 1.5)
    assert not any(weight.requires_grad for weight in opened.model.parameters())


def test_pixels_are_the_identity():
    pixel = load_autoencoder("pixel")
    x = torch.rand(1, 3, 4, 8, 12)
    assert pixel.encode(x) is x and pixel.decode(x) is x and pixel.latent_shape(4, 8, 12) == (3, 4, 8, 12)


def test_a_denoiser_does_not_take_the_autoencoders_weights_for_its_own(tmp_path):
    save_folder(vq(), tmp_path)
    denoiser = {"patch": (1, 1, 1), "width": 24, "depth": 1, "heads": 2}
    config = TextToVideoConfig(denoiser_config=denoiser, autoencoder=str(tmp_path), height=8, width=8, text_width=24)
    model = assemble(config, build_tokenizer(["a red circle"]), load_autoencoder(config.autoencoder))
    assert model.denoiser.config.channels == 2
    assert not any("autoencoder" in name for name in model.state_dict())
    assert training_flops(model, model.latent_shape(), words=4) > 0  # without its weights' values
    assert model.generate(["a red circle"], steps=1).shape == (1, 3, 8, 8, 8)


@pytest.mark.parametrize("make", [kl, vq])
def test_the_fingerprint_changes_with_all_that_latents_depend_on(make, tmp_path):
    model = make()
    save_folder(model, tmp_path / "run", {"steps": 3})
    save_folder(model, tmp_path / "moved", {"steps": 4})  # what latents do not depend on
    found = [load_autoencoder(tmp_path / "run").fingerprint()]
    assert found[0] == load_autoencoder(tmp_path / "moved").fingerprint()
    for change in (
        lambda: model.shift.add_(5),
        lambda: model.scale.mul_(2),
        lambda: next(model.parameters()).data.view(-1)[0].add_(1e-6),
    ):
        change()
        save_folder(model, tmp_path / "run")
        found.append(load_autoencoder(tmp_path / "run").fingerprint())
    opened = load_autoencoder(tmp_path / "run")
    opened.scale = 0.5
    opened_config = load_autoencoder(tmp_path / "run")
    opened_config.model.config.downsample = (4, 4, 4)
    found += [opened.fingerprint(), opened_config.fingerprint()]
    assert len(set(found)) == len(found)


def test_copies_of_a_model_share_the_autoencoder(tmp_path):
    save_folder(kl(), tmp_path)
    opened = load_autoencoder(tmp_path)
    assert copy.deepcopy({"model": opened})["model"] is opened


def test_a_file_where_the_folder_should_be_is_a_clear_error(tmp_path):
    save_folder(kl(), tmp_path)
    with pytest.raises(ValueError, match="model.safetensors is a file; name the folder of an autoencoder's run"):
        load_autoencoder(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="model.safetensors is a file"):
        load_autoencoder(str(tmp_path / "model.safetensors"))
    for call in (open_folder, read_config):
        with pytest.raises(ValueError, match="cannot be read|does not exist"):
            call(tmp_path / "model.safetensors")


def test_what_is_not_an_autoencoder_is_a_clear_error(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="config.json does not exist"):
        load_autoencoder(tmp_path / "empty")
    folder = tmp_path / "run"
    save_folder(kl(), folder)
    text = (folder / "config.json").read_text(encoding="utf-8")

    def broken(config: str, message: str) -> None:
        (folder / "config.json").write_text(config, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            load_autoencoder(folder)

    broken("{", "config.json cannot be read")
    broken('{"denoiser": "dit", "autoencoder": "pixel"}', "describes a text-to-video model, not an autoencoder")
    broken('{"kind": "vae"}', "describes something else")
    broken(json.dumps(json.loads(text) | {"network": {"wings": 2}}), "does not describe an autoencoder of this version")
    other = json.loads(text)
    other["network"]["channels"] = 16
    broken(json.dumps(other), r"model.safetensors does not fit its config.json[\s\S]*size mismatch")
    (folder / "config.json").write_text(text, encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="model.safetensors does not fit"):
        load_autoencoder(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="has no model.safetensors"):
        load_autoencoder(folder)
