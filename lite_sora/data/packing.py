"""Clips of any shape in packs, each of which has about as many tokens as any other (Patch n' Pack, 2307.06304)."""

from collections.abc import Iterator
from itertools import count

import numpy as np

from lite_sora.seeds import seed_of

WINDOW = 64  # clips that wait, from which a pack takes what fits


class PackedOrder:
    """Which clips come when, as `loading.TrainingOrder` says, of clips that have unequal numbers of tokens. Epochs
    follow each other without a break, and each is a fresh permutation. A pack takes the clip that has waited longest,
    then always the largest that still fits. Of a pack every process takes as many clips as any other, and about as many
    tokens. The order depends on the seed and the number of processes alone."""

    def __init__(self, tokens: list[int], budget: int, seed: int, start: int, stop: int, rank: int = 0, world: int = 1):
        """tokens: of each clip; budget: the most that a pack has, over all processes. Raises ValueError where a clip of
        each process would not fit into it."""
        if world * max(tokens) > budget:
            raise ValueError(
                f"a clip of {max(tokens)} tokens for each of {world} processes does not fit into a batch of {budget}"
            )
        self.tokens, self.budget, self.seed = tokens, budget, seed
        self.start, self.stop, self.rank, self.world = start, stop, rank, world

    def __len__(self) -> int:
        return self.stop - self.start

    def stream(self) -> Iterator[int]:
        """All clips, again and again."""
        for epoch in count():
            yield from np.random.default_rng(seed_of(self.seed, "packed epoch", epoch)).permutation(len(self.tokens))

    def packs(self) -> Iterator[list[int]]:
        """The clips of one step after another, the largest first."""
        stream, waiting = self.stream(), []
        while True:
            pack, left = [], self.budget
            while True:
                while len(waiting) < WINDOW:
                    waiting.append(int(next(stream)))
                fitting = [place for place, clip in enumerate(waiting) if self.tokens[clip] <= left]
                if not fitting:
                    break
                largest = max(fitting, key=lambda place: self.tokens[waiting[place]]) if pack else 0
                left -= self.tokens[waiting[largest]]
                pack.append(waiting.pop(largest))
            whole = len(pack) // self.world * self.world
            waiting[:0] = pack[whole:]
            yield sorted(pack[:whole], key=lambda clip: -self.tokens[clip])

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for step, pack in zip(range(self.stop), self.packs(), strict=False):
            if step >= self.start:
                keys = [(clip, seed_of(self.seed, "packed sample", step, place)) for place, clip in enumerate(pack)]
                yield dealt(keys, self.rank, self.world)


def dealt(cards: list, rank: int, world: int) -> list:
    """What a process is dealt of cards in order of size: there and back again, so that all get about as much."""
    rounds = [cards[first : first + world] for first in range(0, len(cards), world)]
    return [cards[-1 - rank] if number % 2 else cards[rank] for number, cards in enumerate(rounds)]
