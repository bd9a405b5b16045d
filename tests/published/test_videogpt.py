"""The published VideoGPT VQ-VAE, as ours: the same codes, the same videos."""

import pytest
import torch
import videogpt_original

from lite_sora.autoencoders import load_autoencoder
from lite_sora.autoencoders.saved import save_folder
from lite_sora.published.state_dicts import OriginalError
from lite_sora.published.videogpt import from_original


def video(*shape: int, seed: int = 3) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) - 0.5


@pytest.mark.parametrize(
    "downsample, shapes",
    [
        ((4, 4, 4), {}),
        ((2, 4, 4), {"width": 8, "blocks": 1, "codes": 7, "code_width": 5}),
        ((1, 4, 8), {"halvings": 3, "blocks": 1}),
    ],
)
def test_codes_and_videos_are_the_originals(downsample, shapes):
    state = videogpt_original.random_state(videogpt_original.videogpt_shapes(**shapes))
    shape = (2, 3, *(n * factor for n, factor in zip((2, 3, 4), downsample, strict=True)))
    latents = videogpt_original.videogpt_latents(state, video(*shape, seed=4), downsample).flatten(0, 3)
    state["codebook.embeddings"] = latents[: len(state["codebook.N"])].clone()  # codes are where latents are
    module, x = from_original("videogpt", state, downsample=downsample), video(*shape)
    codes = module.codes(x)
    assert codes.shape == (2, 2, 3, 4) and len(codes.unique()) > 3
    assert torch.equal(codes, videogpt_original.videogpt_codes(state, x, downsample))
    decoded = module.decode_codes(codes)
    assert decoded.shape == x.shape and decoded.std() > 0.1
    torch.testing.assert_close(decoded, videogpt_original.videogpt_decode(state, codes, downsample), rtol=0, atol=1e-5)
    # the interface of all autoencoders, on [-1, 1], is the same function
    assert torch.equal(module.decode(module.encode(2 * x)), 2 * decoded)


def test_it_can_be_saved_as_an_autoencoder_and_opened(tmp_path):
    state = videogpt_original.random_state(videogpt_original.videogpt_shapes())
    module = from_original("videogpt", {f"module.{name}": value for name, value in state.items()})
    save_folder(module, tmp_path)
    x = video(1, 3, 8, 8, 8)
    opened = load_autoencoder(tmp_path)
    assert torch.equal(opened.model.codes(x), module.codes(x))
    assert opened.downsample == (4, 4, 4) and opened.latent_channels == 6


def test_another_state_dict_is_a_clear_error():
    state = videogpt_original.random_state(videogpt_original.videogpt_shapes())
    with pytest.raises(OriginalError, match="kind 'vqgan' is not one of videogpt"):
        from_original("vqgan", state)
    with pytest.raises(OriginalError, match=r"downsample \(8, 8, 8\) takes 3 halvings, but this VQVAE has 2"):
        from_original("videogpt", state, downsample=(8, 8, 8))
    with pytest.raises(OriginalError, match="three powers of two"):
        from_original("videogpt", state, downsample=(3, 4, 4))
    for name in ("codebook.embeddings", "encoder.res_stack.1.block.8.attn_h.w_ks.weight"):
        with pytest.raises(OriginalError, match=f"not a published VideoGPT VQ-VAE: tensor '{name}' is missing"):
            from_original("videogpt", {key: value for key, value in state.items() if key != name})
    with pytest.raises(OriginalError, match=r"not a published VideoGPT VQ-VAE[\s\S]*decoder"):
        from_original("videogpt", {key: value for key, value in state.items() if key != "decoder.convts.1.convt.bias"})
    with pytest.raises(OriginalError, match="not a published VideoGPT VQ-VAE"):
        from_original("videogpt", state | {"something.else": torch.zeros(1)})
