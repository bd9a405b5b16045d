"""--init with a published image model: our video model takes over its blocks."""

import originals
import pytest
import torch

from lite_sora.autoencoders import load_autoencoder
from lite_sora.configuration import TextToVideoConfig
from lite_sora.diffusion.presets import PRESETS
from lite_sora.pipeline import assemble
from lite_sora.published import from_original
from lite_sora.published.pipeline import PublishedConfig, PublishedTextToVideo, text_of
from lite_sora.text.encoder import build_tokenizer
from lite_sora.training.initial import start_from


@pytest.mark.parametrize("name, convention", [("dit", "ddpm"), ("sit", "sit")])
def test_a_video_model_starts_from_a_published_image_model(name, convention, tmp_path, capsys):
    module = from_original(name, originals.random_state(originals.dit_shapes(width=48, channels=3)), heads=3)
    config = PublishedConfig(
        denoiser=name,
        denoiser_config=vars(module.config),
        convention=convention,
        objective=PRESETS["ddpm" if name == "dit" else "sit"],
        **{"frames": 1, "height": 8, "width": 8},
    )
    pixels = load_autoencoder("pixel")
    PublishedTextToVideo(config, text_of(module, config), module, pixels).save_pretrained(tmp_path)

    parts = {"patch": [2, 2, 2], "width": 48, "depth": 2, "heads": 3, "mlp": "gelu-tanh", "qk_norm": False}
    config = TextToVideoConfig(denoiser_config=parts, text_width=48, frames=4, height=8, width=8)
    video = assemble(config, build_tokenizer(["a red circle"]), pixels)
    start_from(video, str(tmp_path))
    said = capsys.readouterr().out
    image, ours = module.state_dict(), video.denoiser.state_dict()
    for weight in ("blocks.1.attention.qkv.weight", "blocks.0.modulation.1.weight", "modulation.1.bias"):
        assert torch.equal(ours[weight], image[weight])
    frames = ours["embed.weight"].unflatten(1, (3, 2, 4))  # (D, C, frames, pixels)
    torch.testing.assert_close(frames.sum(2).flatten(1), image["embed.weight"])
    assert ("denoiser.embed_time" in said) == (convention == "sit")
    assert "text.embedding" in said.partition("new: ")[2]
