"""Autoencoders of diffusers: tiny random ones, saved to a folder and opened from there, image VAEs and video VAEs."""

import copy
import json
import sys

import pytest
import torch

from lite_sora.autoencoders import load_autoencoder
from lite_sora.compute import training_flops
from lite_sora.pipeline import TextToVideoConfig, assemble
from lite_sora.text.encoder import build_tokenizer

four, five = (8,) * 4, (16,) * 5
conv = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
wan = {"base_dim": 3, "z_dim": 4, "dim_mult": [1] * 4, "num_res_blocks": 1}
wan |= {"latents_mean": [0.5, -0.5, 1.0, 0.0], "latents_std": [2.0, 0.5, 1.0, 4.0]}
ltx = {"latent_channels": 8, "block_out_channels": four, "layers_per_block": [1] * 5, "patch_size": 1}
magvit = {"block_out_channels": four, "latent_channels": 4, "layers_per_block": 1, "norm_num_groups": 2}
cosmos = {"encoder_block_out_channels": four, "decode_block_out_channels": four, "attention_resolutions": (8,)}
cosmos |= {"resolution": 64, "num_layers": 1, "latent_channels": 4}
cosmos |= {"latents_mean": [0.1 * i for i in range(12)], "latents_std": [1.0 + i for i in range(12)]}

TINY = {  # class: (settings, what it divides frames, height and width by, frames that fit, frames that do not)
    "AutoencoderKL": (
        conv | {"block_out_channels": (8, 8), "norm_num_groups": 4, "shift_factor": 0.3},
        (1, 2, 2),
        [1, 2, 3],
        [],
    ),
    "AutoencoderKLTemporalDecoder": ({"block_out_channels": (32,)}, (1, 1, 1), [1, 2, 3], []),
    "AutoencoderKLKVAE": (
        {"channels": 32, "num_enc_blocks": 1, "num_dec_blocks": 1, "z_channels": 4, "ch_mult": (1, 2)},
        (1, 2, 2),
        [1, 2],
        [],
    ),
    "AutoencoderKLHunyuanImage": (
        {"in_channels": 3, "out_channels": 3, "latent_channels": 4, "block_out_channels": (32, 64)}
        | {"layers_per_block": 1, "spatial_compression_ratio": 2, "sample_size": 16, "scaling_factor": 0.5},
        (1, 2, 2),
        [1, 2],
        [],
    ),
    "AutoencoderKLCogVideoX": (
        {"block_out_channels": four, "latent_channels": 4, "layers_per_block": 1, "norm_num_groups": 2},
        (4, 8, 8),
        [1, 8, 9],
        [5],
    ),
    "AutoencoderKLHunyuanVideo": (
        {"block_out_channels": four, "latent_channels": 4, "layers_per_block": 1, "norm_num_groups": 2},
        (4, 8, 8),
        [1, 5],
        [8],
    ),
    "AutoencoderKLHunyuanVideo15": (
        {"latent_channels": 4, "block_out_channels": five, "layers_per_block": 1},
        (4, 16, 16),
        [1, 5],
        [4],
    ),
    "AutoencoderKLWan": (wan, (4, 8, 8), [1, 5], [8]),
    "AutoencoderKLQwenImage": (wan, (4, 8, 8), [1, 5], []),
    "AutoencoderKLLTXVideo": (
        ltx | {"decoder_block_out_channels": four, "decoder_layers_per_block": [1] * 5, "timestep_conditioning": True},
        (8, 8, 8),
        [1, 9],
        [16],
    ),
    "AutoencoderKLLTX2Video": (
        ltx | {"decoder_block_out_channels": (16, 32, 64), "decoder_layers_per_block": [1] * 4},
        (8, 8, 8),
        [1, 9],
        [16],
    ),
    "AutoencoderKLMochi": (
        {"encoder_block_out_channels": (32,) * 4, "decoder_block_out_channels": (32,) * 4, "layers_per_block": [1] * 5},
        (6, 8, 8),
        [1, 7],
        [6],
    ),
    "AutoencoderKLMagvit": (
        magvit
        | {"down_block_types": ["SpatialDownBlock3D"] + ["SpatialTemporalDownBlock3D"] * 3}
        | {"up_block_types": ["SpatialUpBlock3D"] + ["SpatialTemporalUpBlock3D"] * 3},
        (4, 8, 8),
        [1, 5],
        [4],
    ),
    "AutoencoderKLCosmos": (cosmos, (8, 8, 8), [1, 9], [25]),
    "AutoencoderKLKVAEVideo": (
        {"ch": 32, "ch_mult": [1] * 4, "num_res_blocks": 1, "z_channels": 4},
        (4, 8, 8),
        [1, 5],
        [4],
    ),
}


def save(name: str, folder, **changes) -> torch.nn.Module:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    model = getattr(diffusers, name)(**TINY[name][0] | changes)
    for statistic in ("latents_mean", "latents_std"):  # LTX's, which no setting gives
        if statistic in dict(model.named_buffers()):
            getattr(model, statistic).copy_(torch.linspace(0.5, 2, 8))
    model.save_pretrained(folder)
    return model.eval()


@pytest.mark.parametrize("name", TINY)
def test_every_one_is_a_round_trip(name, tmp_path):
    save(name, tmp_path)
    before = torch.get_rng_state()
    opened = load_autoencoder(tmp_path)
    assert torch.equal(before, torch.get_rng_state())
    _, downsample, fit, unfit = TINY[name]
    assert opened.downsample == downsample
    assert not any(weight.requires_grad for weight in opened.model.parameters())
    height, width = 2 * 16, 3 * 16
    for frames in fit:
        shape = opened.latent_shape(frames, height, width)
        assert shape[1:] == (1 + (frames - 1) // downsample[0], height // downsample[1], width // downsample[2]) or (
            name == "AutoencoderKLCogVideoX" and shape[1] == frames // 4  # which takes multiples of 8 frames as well
        )
        video = torch.rand(2 if frames < 8 else 1, 3, frames, height, width) * 2 - 1
        latents = opened.encode(video)
        assert latents.shape[1:] == shape and latents.std() > 0 and not latents.requires_grad
        decoded = opened.decode(latents)
        assert decoded.shape == video.shape and decoded.isfinite().all()
    for frames in unfit:
        with pytest.raises(
            ValueError, match=f"--frames {frames}: .* does not decode as many frames as it encodes; try"
        ):
            opened.latent_shape(frames, height, width)
        with pytest.raises(ValueError, match=f"--frames {frames}: "):
            opened.encode(torch.zeros(1, 3, frames, height, width))
    if downsample[1] > 1:
        with pytest.raises(ValueError, match="--width 17 does not divide"):
            opened.latent_shape(fit[0], height, 17)


def test_frames_that_do_not_fit_come_with_the_nearest_that_do(tmp_path):
    save("AutoencoderKLWan", tmp_path)
    opened = load_autoencoder(tmp_path)
    for frames, near in ((2, 1), (4, 5), (7, 5)):
        with pytest.raises(ValueError, match=f"--frames {frames}: .*try {near}$"):
            opened.latent_shape(frames, 16, 16)


# ---------------------------------------------------------------- normalisation, by hand


@pytest.mark.parametrize(
    "name, mean, deviation, factor",
    [
        ("AutoencoderKL", [0.3] * 4, [1.0] * 4, 0.18215),  # (h - shift_factor) * scaling_factor
        ("AutoencoderKLTemporalDecoder", [0.0] * 4, [1.0] * 4, 0.18215),
        ("AutoencoderKLCogVideoX", [0.0] * 4, [1.0] * 4, 1.15258426),
        ("AutoencoderKLHunyuanVideo", [0.0] * 4, [1.0] * 4, 0.476986),
        ("AutoencoderKLMagvit", [0.0] * 4, [1.0] * 4, 0.7125),
        ("AutoencoderKLWan", [0.5, -0.5, 1.0, 0.0], [2.0, 0.5, 1.0, 4.0], 1.0),  # (h - mean) / std
        ("AutoencoderKLLTXVideo", torch.linspace(0.5, 2, 8).tolist(), torch.linspace(0.5, 2, 8).tolist(), 1.0),
    ],
)
def test_each_is_normalised_as_its_pipeline_does(name, mean, deviation, factor, tmp_path):
    model = save(name, tmp_path)
    opened, video = load_autoencoder(tmp_path), torch.rand(1, 3, 1, 16, 16)
    with torch.no_grad():
        plain = model.encode(video[:, :, 0] if opened.downsample[0] == 1 else video).latent_dist.mode()
    latents = opened.encode(video)
    for channel, (m, s) in enumerate(zip(mean, deviation, strict=True)):
        expected = (plain[0, channel].flatten() - m) * factor / s
        torch.testing.assert_close(latents[0, channel].flatten(), expected, rtol=1e-4, atol=1e-5)


def test_a_scale_on_top_of_channel_statistics(tmp_path):
    save("AutoencoderKLWan", tmp_path, latents_mean=[0.0, 0.0, 0.0, 1.0])
    opened = load_autoencoder(tmp_path)
    assert opened.shift.flatten().tolist() == [0, 0, 0, 1] and opened.scale.flatten().tolist() == [0.5, 2, 1, 0.25]
    save("AutoencoderKLLTXVideo", tmp_path / "ltx", scaling_factor=0.5)
    opened = load_autoencoder(tmp_path / "ltx")
    torch.testing.assert_close(opened.scale.flatten(), 0.5 / torch.linspace(0.5, 2, 8))


def test_cosmos_has_statistics_of_each_frame_of_latents(tmp_path):
    model = save("AutoencoderKLCosmos", tmp_path)
    opened, video = load_autoencoder(tmp_path), torch.rand(1, 3, 17, 16, 16)
    with torch.no_grad():
        plain = model.encode(video).latent_dist.mode()[0]
    latents = opened.encode(video)[0]
    for channel in range(4):
        for frame in range(3):
            index = 3 * channel + frame
            expected = (plain[channel, frame] - 0.1 * index) / (1.0 + index)
            torch.testing.assert_close(latents[channel, frame], expected, rtol=1e-4, atol=1e-5)


def test_the_fingerprint_changes_with_all_that_latents_depend_on(tmp_path):
    save("AutoencoderKLWan", tmp_path / "one")
    save("AutoencoderKLWan", tmp_path / "same")
    save("AutoencoderKLWan", tmp_path / "shifted", latents_mean=[0.5, -0.5, 1.0, 0.1])
    save("AutoencoderKLWan", tmp_path / "scaled", latents_std=[2.0, 0.5, 1.0, 3.0])
    opened = {name: load_autoencoder(tmp_path / name) for name in ("one", "same", "shifted", "scaled")}
    found = {name: autoencoder.fingerprint() for name, autoencoder in opened.items()}
    assert found["one"] == found["same"] and len(set(found.values())) == 3
    opened["one"].shift = opened["one"].shift + 5
    opened["same"].scale = opened["same"].scale * 2
    next(opened["scaled"].model.parameters()).data.view(-1)[0] += 1e-6
    found |= {f"{name} changed": opened[name].fingerprint() for name in ("one", "same", "scaled")}
    assert len(set(found.values())) == 6


# ---------------------------------------------------------------- in a model


def test_a_denoiser_of_a_video_vaes_latents_generates_and_leaves_it_alone(tmp_path):
    save("AutoencoderKLWan", tmp_path)
    denoiser = {"patch": (1, 1, 1), "width": 24, "depth": 1, "heads": 2}
    size = {"frames": 5, "height": 16, "width": 16}
    config = TextToVideoConfig(denoiser_config=denoiser, autoencoder=str(tmp_path), text_width=24, **size)
    model = assemble(config, build_tokenizer(["a red circle"]), load_autoencoder(config.autoencoder))
    assert model.denoiser.config.channels == 4
    assert not any("autoencoder" in name for name in model.state_dict())
    assert copy.deepcopy(model).autoencoder is model.autoencoder
    assert training_flops(model, model.latent_shape(), words=4) > 0  # without its weights' values
    assert model.generate(["a red circle"], steps=1).shape == (1, 3, 5, 16, 16)
    with pytest.raises(ValueError, match="--frames 8: .*try 9"):
        model.generate(["a red circle"], frames=8)


# ---------------------------------------------------------------- what cannot be loaded


def test_without_diffusers_the_error_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text('{"_class_name": "AutoencoderKLWan"}', encoding="utf-8")
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ValueError, match="the autoencoder .* needs the diffusers package: pip install diffusers"):
        load_autoencoder(tmp_path)
    with pytest.raises(ValueError, match="there is no folder rums/kl; .* needs the diffusers package"):
        load_autoencoder("rums/kl")  # an id of the hub, or a slip


@pytest.mark.parametrize(
    "name, message",
    [
        ("UNet2DModel", "it is a UNet2DModel, not an AutoencoderKL… of diffusers"),
        ("AutoencoderKLOfTomorrow", "it is a AutoencoderKLOfTomorrow, not an AutoencoderKL… of diffusers"),
        ("os", "it is a os, not an AutoencoderKL"),
        ("AutoencoderKLFlux2", "is not supported: it normalises its latents in patches"),
        ("AutoencoderKLMiniMaxH3", "is not supported: its pixels are not between -1 and 1"),
    ],
)
def test_other_classes_are_refused_by_name(name, message, tmp_path):
    pytest.importorskip("diffusers")
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": name}), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_autoencoder(tmp_path)


def test_a_vae_of_sound_is_refused(tmp_path):
    diffusers = pytest.importorskip("diffusers")
    sound = diffusers.AutoencoderKLLTX2Audio(base_channels=8, ch_mult=(1, 1), num_res_blocks=1, mel_bins=8)
    sound.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is an AutoencoderKLLTX2Audio, which does not take videos of three channels"):
        load_autoencoder(tmp_path)


def test_weights_are_read_from_safetensors_alone_and_must_fit(tmp_path):
    model = save("AutoencoderKL", tmp_path)
    weights = tmp_path / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    with pytest.raises(ValueError, match="the autoencoder .* cannot be loaded"):
        load_autoencoder(tmp_path)
    weights.unlink()
    torch.save(model.state_dict(), tmp_path / "diffusion_pytorch_model.bin")  # pickled: never opened
    with pytest.raises(ValueError, match="the autoencoder .* cannot be loaded"):
        load_autoencoder(tmp_path)
    weights.write_bytes(whole)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    for change in ({"latent_channels": 5}, {"layers_per_block": 3}):
        (tmp_path / "config.json").write_text(json.dumps(config | change), encoding="utf-8")
        with pytest.raises(ValueError, match="the autoencoder .* cannot be loaded"):
            load_autoencoder(tmp_path)


def test_without_a_network_a_hub_id_is_a_clear_error(monkeypatch):
    pytest.importorskip("diffusers")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        ValueError, match="the autoencoder somebody/vae cannot be loaded .* without a network, name a folder"
    ):
        load_autoencoder("somebody/vae")
