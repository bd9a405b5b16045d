"""For each exercise of lesson 10 a right answer, and typical wrong ones with a part of what must be said of them."""

import math

import torch

from lite_sora.autoencoders.quantizers import EMACodebook


def right_10_1(z, vectors):
    return (vectors.square().sum(1) - 2 * z @ vectors.T).argmin(1)


def lengths_forgotten_10_1(z, vectors):
    return (-2 * z @ vectors.T).argmin(1)


def single_product_10_1(z, vectors):
    return (vectors.square().sum(1) - z @ vectors.T).argmin(1)


def farthest_10_1(z, vectors):
    return torch.cdist(z, vectors).argmax(1)


def over_latents_10_1(z, vectors):
    return torch.cdist(z, vectors).argmin(0)


def distances_10_1(z, vectors):
    return torch.cdist(z, vectors).amin(1)


def right_10_2(z, codes):
    chance = torch.Generator().manual_seed(0)
    book = EMACodebook(codes, z.shape[1])
    book.start_from(z, chance)
    for _ in range(500):
        some = z[torch.randint(len(z), (256,), generator=chance)]
        book.update(some, torch.cdist(some, book.vectors).argmin(1), chance)
    return book.vectors


def noise_10_2(z, codes):
    return torch.randn(codes, z.shape[1], generator=torch.Generator().manual_seed(0)) * 10


def collapsed_10_2(z, codes):
    return z.mean(0).repeat(codes, 1)


def some_latents_10_2(z, codes):
    return z[:codes]


def too_few_updates_10_2(z, codes):
    chance = torch.Generator().manual_seed(0)
    book = EMACodebook(codes, z.shape[1])
    book.start_from(z, chance)
    book.update(z, torch.cdist(z, book.vectors).argmin(1), chance)
    return book.vectors


def means_of_none_10_2(z, codes):
    vectors = torch.randn(codes, z.shape[1], generator=torch.Generator().manual_seed(0)) * 10
    chosen = torch.cdist(z, vectors).argmin(1)
    return torch.stack([z[chosen == code].mean(0) for code in range(codes)])


def right_10_3(logits, codes):
    of_codes = logits.log_softmax(-1).gather(-1, codes[..., None])[..., 0]  # (B, N)
    return -of_codes.sum(1) / math.log(2)


def nats_10_3(logits, codes):
    return right_10_3(logits, codes) * math.log(2)


def multiplied_10_3(logits, codes):
    return right_10_3(logits, codes) * math.log(2) ** 2


def mean_10_3(logits, codes):
    return right_10_3(logits, codes) / codes.shape[1]


def negative_10_3(logits, codes):
    return -right_10_3(logits, codes)


def raw_10_3(logits, codes):
    return -logits.gather(-1, codes[..., None])[..., 0].sum(1) / math.log(2)


def likeliest_10_3(logits, codes):
    return right_10_3(logits, logits.argmax(-1))


def right_10_4(logits, p):
    ordered, order = logits.sort(descending=True)
    probabilities = ordered.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    ordered[before >= p] = -torch.inf
    return torch.empty_like(logits).scatter(-1, order, ordered)


def crossing_lost_10_4(logits, p):
    ordered, order = logits.sort(descending=True)
    lost = ordered.softmax(-1).cumsum(-1) >= p
    lost[:, 0] = False
    return torch.empty_like(logits).scatter(-1, order, ordered.masked_fill(lost, -torch.inf))


def none_left_10_4(logits, p):
    ordered, order = logits.sort(descending=True)
    lost = ordered.softmax(-1).cumsum(-1) > p
    return torch.empty_like(logits).scatter(-1, order, ordered.masked_fill(lost, -torch.inf))


def sorted_10_4(logits, p):
    return right_10_4(logits, p).sort(descending=True).values


def _less_before(logits, p):
    shares = logits.softmax(-1)
    return shares.cumsum(-1) - shares < p


def unsorted_10_4(logits, p):
    return logits.masked_fill(~_less_before(logits, p), -torch.inf)


def upwards_10_4(logits, p):
    ordered, order = logits.sort()
    return torch.empty_like(logits).scatter(-1, order, ordered.masked_fill(~_less_before(ordered, p), -torch.inf))


def gathered_10_4(logits, p):
    ordered, order = logits.sort(descending=True)
    return logits.masked_fill(~_less_before(ordered, p).gather(-1, order), -torch.inf)


def each_10_4(logits, p):
    return logits.masked_fill(logits.softmax(-1) < p, -torch.inf)


def zeros_10_4(logits, p):
    kept = right_10_4(logits, p)
    return torch.where(kept.isfinite(), kept, 0)


def shares_10_4(logits, p):
    return right_10_4(logits, p).log_softmax(-1)


RIGHT = {"10.1": right_10_1, "10.2": right_10_2, "10.3": right_10_3, "10.4": right_10_4}
WRONG = {
    "10.1": [
        (lengths_forgotten_10_1, "|c|² is missing"),
        (single_product_10_1, "the product counts twice"),
        (farthest_10_1, "farthest away"),
        (over_latents_10_1, "one code for each of the 50 latents"),
        (distances_10_1, "argmin, not min"),
    ],
    "10.2": [
        (noise_10_2, "start at latents, not noise"),
        (collapsed_10_2, "collapsed"),
        (some_latents_10_2, "each vector is one of the latents"),
        (too_few_updates_10_2, "for long enough?"),
        (means_of_none_10_2, "of no latents"),
    ],
    "10.3": [
        (nats_10_3, "these are nats"),
        (multiplied_10_3, "divide by log 2"),
        (mean_10_3, "a clip costs the sum"),
        (negative_10_3, "the sign is missing"),
        (raw_10_3, "log_softmax first"),
        (likeliest_10_3, "not of the code that is there"),
        (lambda logits, codes: 3.0, "each of the 3 clips"),
    ],
    "10.4": [
        (crossing_lost_10_4, "it belongs to them"),
        (none_left_10_4, "the code that crosses p stays"),
        (sorted_10_4, "undo the sorting"),
        (unsorted_10_4, "only once they are sorted"),
        (upwards_10_4, "the sorting is upwards"),
        (gathered_10_4, "`scatter` undoes it"),
        (each_10_4, "no limit for a single code"),
        (zeros_10_4, "minus infinity"),
        (shares_10_4, "their logits have changed"),
        (lambda logits, p: logits, "nothing is left out"),
    ],
}
