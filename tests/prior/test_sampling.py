"""Drawing codes, on distributions that are known."""

import pytest
import torch

from lite_sora.prior.sampling import draw, guided, keep_top_k, keep_top_p

SHARES = torch.tensor([[0.1, 0.4, 0.2, 0.3], [0.7, 0.1, 0.1, 0.1]])


def kept(logits: torch.Tensor) -> list[list[int]]:
    return [row.isfinite().nonzero()[:, 0].tolist() for row in logits]


def test_top_k_keeps_the_most_likely():
    assert kept(keep_top_k(SHARES.log(), 1)) == [[1], [0]]
    assert kept(keep_top_k(SHARES.log()[:1], 2)) == [[1, 3]]
    assert kept(keep_top_k(SHARES.log(), 2)) == [[1, 3], [0, 1, 2, 3]]  # three are second alike
    assert torch.equal(keep_top_k(SHARES.log(), 100), SHARES.log())


@pytest.mark.parametrize(
    "p, codes",
    [
        (0.05, [[1], [0]]),
        (0.39, [[1], [0]]),
        (0.5, [[1, 3], [0]]),
        (0.69, [[1, 3], [0]]),
        (0.75, [[1, 2, 3], None]),
        (1.0, [[0, 1, 2, 3], [0, 1, 2, 3]]),
    ],
)
def test_top_p_keeps_the_fewest_with_that_probability(p, codes):
    found = kept(keep_top_p(SHARES.double().log(), p))
    assert all(expected in (None, row) for expected, row in zip(codes, found, strict=True))
    left = keep_top_p(SHARES.double().log(), p)
    assert torch.equal(
        left[left.isfinite()], SHARES.double().log()[left.isfinite()]
    )  # of what is kept, nothing changes


def shares_of_draws(logits: torch.Tensor, **options) -> torch.Tensor:
    """The share of each code, drawn with evenly spread chances: exact to 1 / 10,000."""
    chance = (torch.arange(10_000) + 0.5) / 10_000
    return torch.bincount(draw(logits.expand(10_000, -1), chance, **options), minlength=4) / 10_000


def test_codes_are_drawn_by_their_probability():
    for row in SHARES:
        torch.testing.assert_close(shares_of_draws(row.log()), row, rtol=0, atol=2e-4)


def test_temperature_sharpens_and_zero_takes_the_most_likely():
    for temperature in (0.5, 2.0):
        expected = SHARES[0] ** (1 / temperature)
        found = shares_of_draws(SHARES[0].log(), temperature=temperature)
        torch.testing.assert_close(found, expected / expected.sum(), rtol=0, atol=2e-4)
    assert draw(SHARES.log(), torch.tensor([0.0, 0.999]), temperature=0).tolist() == [1, 0]


def test_what_is_left_out_is_never_drawn():
    expected = torch.tensor([0, 4 / 7, 0, 3 / 7])
    for options in ({"top_k": 2}, {"top_p": 0.6}, {"top_k": 3, "top_p": 0.75}):
        torch.testing.assert_close(shares_of_draws(SHARES[0].log(), **options), expected, rtol=0, atol=2e-4)
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf]])
    for chance in (0.0, 0.5, 1 - 2**-24):  # the ends of the interval too
        assert draw(logits, torch.tensor([chance])).tolist() == [1]


def test_guidance_raises_what_the_prompt_makes_more_likely():
    prompt, negative = SHARES[:1].log(), torch.tensor([[0.25, 0.25, 0.25, 0.25]]).log()
    torch.testing.assert_close(guided(prompt, negative, 1.0), prompt)
    torch.testing.assert_close(guided(prompt, negative, 0.0), negative)
    expected = SHARES[:1] ** 2 / (SHARES[:1] ** 2).sum()  # p(x | prompt)² / p(x | negative), which is flat
    torch.testing.assert_close(guided(prompt, negative, 2.0).softmax(-1), expected)
