"""Clips of any number of tokens in packs that are full."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest

from lite_sora.data.packing import PackedOrder

TOKENS = np.random.default_rng(0).choice([16, 24, 36, 64, 144], 300).tolist()
BUDGET = 512


def order(start=0, stop=60, tokens=TOKENS, budget=BUDGET, seed=1, **more):
    return list(PackedOrder(tokens, budget, seed, start, stop, **more))


def test_packs_are_full_but_never_more():
    sums = [sum(TOKENS[clip] for clip, _ in pack) for pack in order()]
    assert max(sums) <= BUDGET and np.mean(sums) > 0.98 * BUDGET


def test_at_8k_tokens_of_clips_from_two_seconds_to_a_minute_at_least_95_percent_are_used():
    rng = np.random.default_rng(2)
    seconds = rng.lognormal(np.log(7.2), 0.6, 5000).clip(2, 60)  # 8.5 on average, as in Panda-70M (2402.19479)
    grids = rng.choice([4 * 7, 7 * 4, 5 * 5], 5000, p=[0.8, 0.1, 0.1])  # wide, tall, square
    tokens = (np.round(seconds) * grids).astype(int).tolist()
    for world in (1, 4):
        packs = list(islice(PackedOrder(tokens, 8192, 0, 0, 100, 0, world).packs(), 100))
        filled = [sum(tokens[clip] for clip in pack) / 8192 for pack in packs]
        assert np.mean(filled) > 0.95 and max(filled) <= 1


def test_every_clip_comes_once_an_epoch_and_each_time_with_other_noise():
    clips = [clip for pack in order(stop=200) for clip, _ in pack]
    counts = Counter(clips)
    assert set(counts) == set(range(len(TOKENS))) and max(counts.values()) - min(counts.values()) <= 2
    seeds = [seed for pack in order(stop=200) for _, seed in pack]
    assert len(set(seeds)) == len(seeds)


def test_the_order_depends_on_the_seed_alone_and_can_be_taken_up_anywhere():
    assert order()[13:] == order(start=13)
    assert order() != order(seed=2)


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_a_pack_evenly(world):
    parts = [order(rank=rank, world=world) for rank in range(world)]
    for step in zip(*parts, strict=True):
        assert len({len(part) for part in step}) == 1
        loads = [sum(TOKENS[clip] for clip, _ in part) for part in step]
        assert max(loads) - min(loads) <= max(TOKENS) and sum(loads) <= BUDGET
        assert len({seed for part in step for _, seed in part}) == sum(map(len, step))


def test_a_clip_that_no_pack_can_hold_is_refused():
    with pytest.raises(ValueError, match="a clip of 144 tokens for each of 4 processes does not fit into a batch"):
        order(world=4)
