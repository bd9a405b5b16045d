"""Codes: nearest vectors, moving averages, restarts, FSQ's levels, perplexity."""

import pytest
import torch

from lite_sora.autoencoders.quantizers import FSQ, EMACodebook, perplexity
from lite_sora.autoencoders.vq import PRESETS, VQAutoencoder, VQConfig


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_nearest_code_is_chosen_and_gradients_pass_through():
    book = EMACodebook(codes=9, width=4)
    z = random(2, 4, 2, 3, 3).requires_grad_()
    vectors, codes, commitment = book(z)
    rows = z.detach().movedim(1, -1)
    assert torch.equal(codes, torch.cdist(rows.flatten(0, 3), book.vectors).argmin(1).view(2, 2, 3, 3))
    torch.testing.assert_close(vectors.detach(), book.vectors[codes].movedim(-1, 1))
    torch.testing.assert_close(commitment, 0.25 * (z - book.look_up(codes)).square().mean((1, 2, 3, 4)))
    vectors.sum().backward()
    assert torch.equal(z.grad, torch.ones_like(z))


def test_codes_become_the_moving_average_of_what_chose_them():
    book, generator = EMACodebook(codes=2, width=3), torch.Generator().manual_seed(0)
    book.start_from(torch.tensor([[1.0, 0, 0], [0, 1, 0]]), generator)
    first = book.vectors.clone()
    z, codes = random(200, 3), torch.arange(200) % 2
    book.update(z, codes, generator)
    for code in range(2):
        mine = z[codes == code]
        counts, sums = 0.99 + 0.01 * 100, 0.99 * first[code] + 0.01 * mine.sum(0)
        torch.testing.assert_close(book.vectors[code], sums / counts)


def test_codes_that_too_few_choose_start_again_at_latents():
    book, generator = EMACodebook(codes=4, width=2), torch.Generator().manual_seed(0)
    book.start_from(random(50, 2), generator)
    z = 10 + random(500, 2, seed=1)
    for _ in range(3):
        book.update(z, torch.zeros(500, dtype=torch.long), generator)
    assert (book.counts[1:] < 1).all() and book.counts[0] > 1
    assert (book.vectors[1:, None] == z).all(-1).any(-1).all()  # each is one of the latents
    few = EMACodebook(codes=64, width=2)  # more codes than latents
    few.start_from(z[:5], generator)
    assert few.vectors.unique(dim=0).shape == (64, 2) and (few.vectors - 10).abs().max() < 5


def test_fsq_rounds_to_its_levels_and_back():
    fsq = FSQ([8, 5, 4])
    z = (3 * random(4, 3, 5, 6, 7)).requires_grad_()
    values, codes, penalty = fsq(z)
    assert fsq.codes == 160 and codes.min() >= 0 and codes.max() < 160 and not penalty.any()
    torch.testing.assert_close(values.detach(), fsq.look_up(codes))
    for channel, levels in enumerate((8, 5, 4)):
        found = values[:, channel].unique()
        assert len(found) == levels and found.min() == -1 and found.max() <= 1
    assert len(codes.unique()) > 100
    everything = torch.arange(160)[None, None, None]
    assert len(fsq.look_up(everything).flatten(2).movedim(1, -1)[0].unique(dim=0)) == 160
    values.sum().backward()
    assert (z.grad >= 0).all() and z.grad.max() > 0.1


@pytest.mark.parametrize("levels", [[], [8, 1], [8, 2], [2, 2, 2]])
def test_fsq_refuses_fewer_than_three_levels(levels):
    for make in (FSQ, lambda levels: VQConfig(quantizer="fsq", levels=levels)):
        with pytest.raises(ValueError, match="FSQ needs at least 3 levels in each channel, not"):
            make(levels)
    assert VQConfig(quantizer="ema", levels=levels).latent_channels == 256  # where they are not used, they may be so


@pytest.mark.parametrize("levels", [[3, 3], [4, 3, 64], [1000, 5]])
def test_fsq_is_finite_for_every_number_of_levels_that_it_takes(levels):
    fsq = FSQ(levels)
    values, codes, _ = fsq(3 * random(2, len(levels), 3, 4, 5))
    assert values.isfinite().all() and codes.min() >= 0 and codes.max() < fsq.codes


@pytest.mark.parametrize("make", [lambda: EMACodebook(codes=64, width=8), lambda: FSQ([8, 5, 5, 5, 8, 4, 4, 1000])])
def test_autocast_changes_no_code(make):
    torch.manual_seed(0)
    quantizer = make().eval()
    z = 1 + 0.1 * random(2, 8, 4, 6, 6)  # a common offset: in bfloat16 most distances would be equal
    if isinstance(quantizer, EMACodebook):
        quantizer.start_from(z.movedim(1, -1).flatten(0, 3), torch.Generator().manual_seed(0))
    codes = quantizer.choose(z)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(quantizer.choose(z), codes)
        assert torch.equal(quantizer(z)[1], codes)
        low = quantizer.choose(z.bfloat16())
    assert torch.equal(low, quantizer.choose(z.bfloat16().float()))


def test_perplexity_counts_the_codes_in_use():
    assert perplexity(torch.zeros(4, 2, dtype=torch.long), 16) == pytest.approx(1)
    assert perplexity(torch.arange(16), 16) == pytest.approx(16)
    assert perplexity(torch.tensor([0, 0, 1, 1]), 16) == pytest.approx(2)


@pytest.mark.parametrize("quantizer, channels", [("ema", 6), ("fsq", 4)])
def test_latents_and_codes_tell_the_same(quantizer, channels):
    config = VQConfig((4, 4, 2), channels=8, blocks=1, quantizer=quantizer, codes=16, code_width=6)
    network = VQAutoencoder(config).eval()
    network.shift.fill_(0.3)
    network.scale.fill_(2)
    x = random(2, 3, 8, 8, 6).clamp(-1, 1)
    latents, codes = network.encode(x), network.codes(x)
    assert latents.shape[1:] == network.latent_shape(8, 8, 6) == (channels, 2, 2, 3) and codes.shape == (2, 2, 2, 3)
    decoded = network.decode(latents)
    assert decoded.shape == x.shape and torch.equal(decoded, network.decode_codes(codes))
    output = network(x)
    assert torch.equal(output.codes, codes)
    torch.testing.assert_close(output.reconstruction, decoded, rtol=0, atol=1e-5)


def test_every_weight_learns():
    network = VQAutoencoder(VQConfig(channels=8, blocks=1, codes=16, code_width=6))
    output = network(random(2, 3, 8, 8, 8))
    (output.reconstruction.square().mean() + output.penalty.mean()).backward()
    assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in network.parameters())


def test_sizes_and_parts_that_do_not_fit_are_clear_errors():
    network = VQAutoencoder(VQConfig(channels=8, blocks=1, codes=16, code_width=6)).eval()
    with pytest.raises(ValueError, match="--frames 3 does not divide by 4.*try 4"):
        network.encode(torch.zeros(1, 3, 3, 8, 8))
    with pytest.raises(ValueError, match="--height 10 does not divide by 4"):
        network.codes(torch.zeros(1, 3, 4, 10, 8))
    with pytest.raises(ValueError, match="quantizer 'vq' is not one of ema, fsq"):
        VQConfig(quantizer="vq")
    with pytest.raises(ValueError, match="channels 6 must be a multiple of twice the number of heads, 4"):
        VQConfig(channels=6)
    assert PRESETS["videogpt"] == VQConfig((4, 4, 4), 240, 4, 2, "ema", 2048, 256)
