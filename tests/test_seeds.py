"""Seeds belong to samples: a sample's noise is the same whatever else is in the batch."""

import math

import pytest
import torch

from lite_sora.seeds import normal, seed_of, uniform


def test_seeds_are_the_same_everywhere():
    """These numbers stand in files: of runs that go on, and of videos that somebody wants to make again."""
    assert seed_of(0, "noise", 7) == 6748804321320779450
    assert seed_of("a red circle", 0) == 8315439797394868952


def test_seeds_differ_and_torch_takes_them():
    seeds = {seed_of(*parts) for parts in ((), (0,), (1,), (0, 1), (1, 0), ("0", "x"), ("x", 0), (10,), (1, "noise"))}
    assert len(seeds) == 9 and all(0 <= seed < 2**63 for seed in seeds)
    assert len({seed_of(0, "sample", i) for i in range(10_000)}) == 10_000
    torch.Generator().manual_seed(max(seeds))


def test_a_samples_noise_does_not_depend_on_the_batch():
    together, alone = normal([5, 6, 7], (3, 4)), normal([6], (3, 4))
    assert torch.equal(together[1:2], alone)
    assert torch.equal(uniform([5, 6, 7])[1:2], uniform([6]))
    torch.manual_seed(1)  # nor on what else draws random numbers
    assert torch.equal(normal([6], (3, 4)), alone)
    state = torch.get_rng_state()
    normal([6], (3, 4))
    uniform([6])
    assert torch.equal(torch.get_rng_state(), state)


def test_distributions():
    seeds = [seed_of("test", i) for i in range(4000)]
    noise, u = normal(seeds, (5,)), uniform(seeds)
    assert noise.shape == (4000, 5) and u.shape == (4000,)
    assert float(noise.mean()) == pytest.approx(0, abs=4 / math.sqrt(20_000))
    assert float(noise.std()) == pytest.approx(1, abs=4 / math.sqrt(40_000))
    correlation = noise.T.corrcoef() - torch.eye(5)
    assert correlation.abs().max() < 5 / math.sqrt(4000)
    assert u.min() >= 0 and u.max() < 1
    bins = torch.histc(u, 10, 0, 1)
    assert ((bins - 400).abs() < 4 * math.sqrt(360)).all()
