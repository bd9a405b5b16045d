"""The causal VAE: what sees what, and that pieces make the whole."""

import pytest
import torch

from lite_sora.autoencoders.kl import PRESETS, KLAutoencoder, KLConfig
from lite_sora.autoencoders.streaming import in_tiles

CONFIGS = [
    KLConfig((2, 4, 4), 4, channels=8),
    KLConfig((4, 8, 8), 3, channels=16, patch=1),
    KLConfig((4, 2, 2), 4, channels=8, patch=2),  # time is halved where space is not
    KLConfig((1, 4, 2), 4, channels=8, patch=1),  # images alone, or frame by frame but for the past that is seen
]


def model(config: KLConfig) -> KLAutoencoder:
    """With weights for which every layer does something, and latents that are neither centred nor of variance 1."""
    generator = torch.Generator().manual_seed(0)
    network = KLAutoencoder(config).eval()
    for weight in network.parameters():
        if weight.dim() == 5:
            spread = weight[0].numel() ** -0.5
            weight.data = torch.randn(weight.shape, generator=generator) * spread
    network.scale.fill_(0.7)
    network.shift.normal_(generator=generator)
    return network


def video(config: KLConfig, k: int, side: int = 16, batch: int = 1, seed: int = 1) -> torch.Tensor:
    frames = 1 + k * config.downsample[0]
    return torch.rand(batch, 3, frames, side, side + 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("config", CONFIGS)
def test_one_and_kt_frames_are_one_and_k_latents(config):
    network, x = model(config), video(config, k=3)
    latents = network.encode(x)
    assert latents.shape[1:] == network.latent_shape(*x.shape[2:]) and latents.shape[2] == 4
    assert network.decode(latents).shape == x.shape
    image = network.encode(x[:, :, :1])  # the first frame is encoded, and decoded, on its own
    torch.testing.assert_close(image, latents[:, :, :1], rtol=0, atol=1e-5)
    decoded = network.decode(latents)[:, :, :1]
    torch.testing.assert_close(network.decode(image), decoded, rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", CONFIGS[:2])
def test_no_latent_sees_a_later_frame_and_no_frame_a_later_latent(config):
    network, x, t = model(config), video(config, k=3), config.downsample[0]
    latents = network.encode(x)
    for k in range(3):
        changed = x.clone()
        changed[:, :, 1 + k * t :] += 0.5
        after = network.encode(changed)
        assert torch.equal(after[:, :, : 1 + k], latents[:, :, : 1 + k])
        assert (after[:, :, 1 + k] - latents[:, :, 1 + k]).abs().max() > 1e-2
        changed = latents.clone()
        changed[:, :, 1 + k :] += 0.5
        before, after = network.decode(latents), network.decode(changed)
        assert torch.equal(after[:, :, : 1 + k * t], before[:, :, : 1 + k * t])
        assert (after[:, :, 1 + k * t] - before[:, :, 1 + k * t]).abs().max() > 1e-2


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("chunk", [1, 3])
def test_chunks_of_time_give_what_the_whole_gives(config, chunk):
    network, x = model(config), video(config, k=7)
    with torch.no_grad():
        latents = (network.encoder(x).chunk(2, dim=1)[0] - network.shift) * network.scale
        decoded = network.decoder(latents / network.scale + network.shift)
    network.chunk = chunk
    assert latents.std() > 0.1 and decoded.std() > 0.1
    torch.testing.assert_close(network.encode(x), latents, rtol=0, atol=1e-5)
    torch.testing.assert_close(network.decode(latents), decoded, rtol=0, atol=1e-5)


def test_a_video_can_come_and_go_in_pieces():
    network, x = model(CONFIGS[1]), video(CONFIGS[1], k=5)
    pieces = network.encode_stream([x[:, :, :1], x[:, :, 1:13], x[:, :, 13:]])
    latents = torch.cat(list(pieces), dim=2)
    torch.testing.assert_close(latents, network.encode(x), rtol=0, atol=1e-5)
    decoded = torch.cat(list(network.decode_stream(latents.split(1, dim=2))), dim=2)
    torch.testing.assert_close(decoded, network.decode(latents), rtol=0, atol=1e-5)


# ---------------------------------------------------------------- tiles


@pytest.mark.parametrize("read, write", [((4, 2), (1, 1)), ((1, 1), (2, 4)), ((1, 1), (1, 1))])
@pytest.mark.parametrize("tile, overlap", [(5, 2), (4, 1), (6, 3), (100, 3)])
def test_tiles_of_a_network_without_neighbourhood_are_exact(read, write, tile, overlap):
    h = torch.rand(2, 3, 2, 13 * read[0], 11 * read[1], generator=torch.Generator().manual_seed(0))

    def network(piece):
        piece = piece[..., :: read[0], :: read[1]].square()
        return piece.repeat_interleave(write[0], 3).repeat_interleave(write[1], 4)

    torch.testing.assert_close(in_tiles(network, h, tile, overlap, read, write), network(h), rtol=0, atol=1e-6)


def test_tiles_differ_from_the_whole_only_where_they_meet():
    network = model(CONFIGS[0])
    x = torch.rand(1, 3, 3, 16, 192, generator=torch.Generator().manual_seed(0)) * 2 - 1
    network.tile = 48  # all of it
    whole, rebuilt = network.encode(x), network.decode(network.encode(x))
    network.tile, network.overlap = 28, 8  # 0 to 28 and 20 to 48
    tiled = network.encode(x)
    assert tiled.shape == whole.shape
    torch.testing.assert_close(tiled[..., :20], whole[..., :20], rtol=0, atol=1e-5)
    torch.testing.assert_close(tiled[..., 28:], whole[..., 28:], rtol=0, atol=1e-5)
    assert 1e-5 < (tiled - whole)[..., 20:28].abs().mean() < 0.2 * whole.std()
    decoded = network.decode(whole)
    assert decoded.shape == rebuilt.shape
    torch.testing.assert_close(decoded[..., :80], rebuilt[..., :80], rtol=0, atol=1e-5)


# ---------------------------------------------------------------- training's view, and errors


def test_the_penalty_is_the_divergence_from_a_standard_normal_distribution():
    network, x = model(CONFIGS[0]), video(CONFIGS[0], k=1, batch=2)
    mean, log_variance = network.encoder(x).chunk(2, dim=1)
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    expected = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).flatten(1).mean(1)
    output = network(x, torch.zeros_like(mean))
    torch.testing.assert_close(output.penalty, expected)
    assert torch.equal(output.reconstruction, network.decoder(mean))
    noisy = network(x, torch.ones_like(mean)).reconstruction
    torch.testing.assert_close(noisy, network.decoder(mean + posterior.stddev))


def test_every_weight_learns():
    network, x = model(CONFIGS[1]), video(CONFIGS[1], k=1)
    output = network(x, torch.ones(1, *network.latent_shape(*x.shape[2:])))
    (output.reconstruction.square().mean() + output.penalty.mean()).backward()
    assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in network.parameters())


@pytest.mark.parametrize(
    "sizes, message",
    [
        ((8, 32, 32), "--frames 8 is not 1 . a multiple of 4.*try 9"),
        ((3, 32, 32), "--frames 3 is not 1 . a multiple of 4.*try 1|try 5"),
        ((5, 36, 32), "--height 36 does not divide by 8.*try 32"),
        ((5, 32, 33), "--width 33 does not divide by 8.*try 32"),
    ],
)
def test_sizes_that_do_not_fit_are_clear_errors(sizes, message):
    network = model(CONFIGS[1])
    with pytest.raises(ValueError, match=message):
        network.latent_shape(*sizes)
    with pytest.raises(ValueError, match=message):
        network.encode(torch.zeros(1, 3, *sizes))


def test_parts_that_do_not_fit_are_clear_errors():
    with pytest.raises(ValueError, match=r"three powers of two .*\(3, 4, 4\)"):
        KLConfig((3, 4, 4))
    with pytest.raises(ValueError, match="patch 4 .* does not divide"):
        KLConfig((1, 2, 2), patch=4)


def test_presets_are_what_their_names_say():
    assert {name: config.downsample for name, config in PRESETS.items()} == {
        "toy": (2, 4, 4),
        "2x4x4": (2, 4, 4),
        "4x8x8": (4, 8, 8),
    }
    assert PRESETS["4x8x8"].strides == [(1, 2, 2), (2, 2, 2), (2, 2, 2)]
    assert PRESETS["4x8x8"].widths == [128, 256, 512, 512]
