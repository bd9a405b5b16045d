"""What the exercises of lesson 10 are checked by."""

import math

import torch
from exercises import Wrong, begun

from lite_sora.prior.sampling import keep_top_p


def check_1(nearest) -> None:
    """It costs one matrix product, however many latents and codes there are: no table of all differences.
    |z - c|² = |z|² - 2 z·c + |c|². The first term is the same for every code, so it does not decide. The products z·c
    of all latents and all codes are `z @ vectors.T`.
    """
    random = torch.Generator().manual_seed(0)
    for latents, codes, width in ((50, 7, 3), (200, 32, 4), (9, 40, 2), (128, 16, 1)):
        z = torch.randn(latents, width, generator=random)
        vectors = torch.randn(codes, width, generator=random) * torch.rand(codes, 1, generator=random) * 3
        found = begun(nearest(z, vectors))
        if not isinstance(found, torch.Tensor):
            raise Wrong(f"it returns a tensor of codes, not a {type(found).__name__}")
        if found.is_floating_point():
            raise Wrong("a code is the number of a vector in the codebook, an integer: argmin, not min")
        if found.shape == (codes,):
            raise Wrong(f"the minimum is taken over the latents: one code for each of the {latents} latents, (N,)")
        if found.shape != (latents,):
            raise Wrong(f"the codes have the shape {tuple(found.shape)}, but there are {latents} latents: (N,)")
        distance = torch.cdist(z, vectors)
        if torch.equal(found, distance.argmin(1)):
            continue
        if torch.equal(found, distance.argmax(1)):
            raise Wrong("these are the codes that are farthest away")
        products = z @ vectors.T
        if torch.equal(found, products.argmax(1)):
            raise Wrong("|c|² is missing: a long vector has a large product with latents that are not near it")
        if torch.equal(found, (vectors.square().sum(1) - products).argmin(1)):
            raise Wrong("the product counts twice: |z - c|² = |z|² - 2 z·c + |c|²")
        wrong = int((found != distance.argmin(1)).sum())
        raise Wrong(f"right shape, wrong values: {wrong} of {latents} latents have a code that is not their nearest")


def check_2(codebook) -> None:
    """Restarts are what keeps a codebook alive: a code that nobody chooses gets no gradient and no average.
    Make an `EMACodebook(codes, width)` and a `torch.Generator()`. Call `start_from(z, generator)` once, then `update` a
    few hundred times, each time with some random latents and the codes nearest to them; its `vectors` are the answer.
    Or alternate: each latent to its nearest code, each code to the mean of its latents, and a code without any to a
    random latent.
    """
    for seed, codes in ((0, 32), (1, 24)):
        random = torch.Generator().manual_seed(seed)
        z = torch.randn(8192, 4, generator=random)
        z[torch.rand(8192, generator=random) < 0.85] *= 0.05  # most latents nearly coincide
        found = begun(codebook(z.clone(), codes))
        if not isinstance(found, torch.Tensor) or found.shape != (codes, 4):
            shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
            raise Wrong(f"it returns {codes} vectors of the latents' width, ({codes}, 4), not {shape}")
        found = found.detach().float()
        if not found.isfinite().all():
            raise Wrong("some vectors are NaN: was the mean taken of no latents?")
        by_chance = [z[torch.randperm(len(z), generator=random)[:codes]] for _ in range(5)]
        limit = 2 / 3 * sum(error(z, vectors) for vectors in by_chance) / 5
        if error(z, found) <= limit:
            continue
        chosen = torch.cdist(z, found).argmin(1)
        used, share = len(chosen.unique()), error(z, found) / limit * 2 / 3
        if used == 1:
            raise Wrong(f"the codebook has collapsed: all latents share one of the {codes} codes")
        if used < codes / 2:
            raise Wrong(
                f"{used} of {codes} codes are used, the others lie where no latent is: start at latents, not noise"
            )
        asked = f"the error is {share:.2f} times that of random latents as codes, and 0.67 is asked"
        if (found[:, None] == z).all(-1).any(1).all():
            raise Wrong(f"{asked}: each vector is one of the latents, and none has learned to be a mean of many")
        raise Wrong(f"{asked}: has it learned for long enough?")


def error(z: torch.Tensor, vectors: torch.Tensor) -> float:
    """The mean squared distance to the nearest vector."""
    return float(torch.cdist(z, vectors).amin(1).square().mean())


def check_3(bits) -> None:
    """With it any model of probabilities is measured: a better one needs fewer bits for clips that it has not seen.
    `logits.log_softmax(-1)` are the logarithms of probabilities, in nats. Gather those of the codes that are there, add
    them up for each clip, change the sign; one bit is log 2 nats.
    """
    random = torch.Generator().manual_seed(0)
    for clips, places, codes in ((3, 5, 4), (1, 20, 256), (4, 2, 2)):
        logits = torch.randn(clips, places, codes, generator=random) * 2
        there = torch.randint(codes, (clips, places), generator=random)
        found = begun(bits(logits, there))
        nats = torch.zeros(clips)
        for clip in range(clips):  # slowly, one code after another
            for place in range(places):
                shares = logits[clip, place].exp() / logits[clip, place].exp().sum()
                nats[clip] -= math.log(shares[there[clip, place]])
        expected = nats / math.log(2)
        if not isinstance(found, torch.Tensor) or found.shape != (clips,):
            shape = tuple(found.shape) if isinstance(found, torch.Tensor) else "one number"
            raise Wrong(f"each of the {clips} clips has its own bits: ({clips},), not {shape}")
        mistakes = {
            "these are nats: a bit is log 2 of them": nats,
            "that is the mean over the places: a clip costs the sum": expected / places,
            "the sign is missing: a likely code costs few bits, none costs fewer than 0": -expected,
            "divide by log 2: a nat is more than one bit": nats * math.log(2),
            "logits are no logarithms of probabilities yet: log_softmax first": -_of(logits, there) / math.log(2),
            "that is the price of the likeliest code at each place, not of the code that is there": -logits.log_softmax(
                -1
            )
            .amax(-1)
            .sum(1)
            / math.log(2),
        }
        if torch.allclose(found.float(), expected, rtol=1e-4, atol=1e-4):
            continue
        for words, values in mistakes.items():
            if torch.allclose(found.float(), values, rtol=1e-4, atol=1e-4):
                raise Wrong(words)
        raise Wrong(f"right shape, wrong values: off by up to {(found - expected).abs().max():.2g} bits")


def _of(values: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """The sum of each clip's values of its codes."""
    return values.gather(-1, codes[..., None])[..., 0].sum(1)


def check_4(nucleus) -> None:
    """The tail goes: hundreds of codes, each of them unlikely, are together drawn often, and one can spoil a clip.
    Sort the logits downwards; softmax; a code stays where those before it have together less than p (its cumulated
    probability minus its own). Then put -inf where it does not stay, at the places from before sorting (`scatter`).
    """
    random = torch.Generator().manual_seed(0)
    for rows, codes in ((1000, 6), (20, 256)):
        for p in (0.05, 0.5, 0.9, 1.0):
            logits = torch.randn(rows, codes, generator=random).double() * 2
            found, expected = begun(nucleus(logits.clone(), p)), keep_top_p(logits, p)
            if not isinstance(found, torch.Tensor) or found.shape != logits.shape:
                raise Wrong(f"it returns logits of the shape that it was given, {tuple(logits.shape)}")
            if torch.allclose(found.double(), expected):
                continue
            kept, right = found.isfinite(), expected.isfinite()
            if kept.all() and ((found == 0) == ~right).all():
                raise Wrong("a logit of 0 can still be drawn; what may not be drawn has one of minus infinity")
            if kept.all() and not right.all():
                raise Wrong(f"nothing is left out at p = {p}")
            if not kept.any(1).all():
                raise Wrong(f"at p = {p} a row has no code left: the code that crosses p stays")
            if torch.allclose(found.double().sort(descending=True).values, expected.sort(descending=True).values):
                raise Wrong("these are the right logits at wrong places: undo the sorting")
            for words, mistaken in _mistaken(logits, p).items():
                if torch.equal(kept, mistaken):
                    raise Wrong(words)
            fewer = right.sum(1) - kept.sum(1)
            if fewer.max() == 1 and fewer.min() == 0:
                raise Wrong("the code that crosses p is left out, so that less than p stays; it belongs to them")
            if torch.equal(kept, right):
                raise Wrong("the right codes stay, but their logits have changed")
            other = (kept != right).any(1).float().mean()
            raise Wrong(f"right shape, wrong values: at p = {p}, other codes should stay in {other:.0%} of the rows")


def _mistaken(logits: torch.Tensor, p: float) -> dict[str, torch.Tensor]:
    """What is wrong → the codes that stay then, (B, K)."""

    def less_before(logits: torch.Tensor) -> torch.Tensor:
        shares = logits.softmax(-1)
        return shares.cumsum(-1) - shares < p

    (downwards, order), (upwards, rising) = logits.sort(descending=True), logits.sort()
    back = rising.argsort()
    return {
        "the likeliest codes come first only once they are sorted": less_before(logits),
        "the sorting is upwards, so that the least likely codes stay; `descending=True`": less_before(upwards).gather(
            -1, back
        ),
        "`gather` with the order sorts once more; `scatter` undoes it": less_before(downwards).gather(-1, order),
        "p is no limit for a single code: it is what those that stay have together": logits.softmax(-1) >= p,
    }
