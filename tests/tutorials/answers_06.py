"""For each exercise of lesson 06 a right answer, and typical wrong ones with a part of what must be said of them."""

import torch
from torch import nn


def right_6_1(frame, row, column, patch, grid):
    return (frame // patch[0] * grid[1] + row // patch[1]) * grid[2] + column // patch[2]


def pixels_6_1(frame, row, column, patch, grid):
    return (frame * grid[1] + row) * grid[2] + column


def columns_first_6_1(frame, row, column, patch, grid):
    return (frame // patch[0] * grid[2] + column // patch[2]) * grid[1] + row // patch[1]


def time_last_6_1(frame, row, column, patch, grid):
    return (row // patch[1] * grid[2] + column // patch[2]) * grid[0] + frame // patch[0]


def right_6_2(h, places, frequencies):
    angles = places[:, None] * frequencies  # (N, D / 2)
    a, b = h.chunk(2, dim=-1)
    return torch.cat([a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()], dim=-1)


def backwards_6_2(h, places, frequencies):
    return right_6_2(h, -places, frequencies)


def one_frequency_6_2(h, places, frequencies):
    return right_6_2(h, places, torch.ones_like(frequencies))


def neighbours_6_2(h, places, frequencies):
    a, b = right_6_2(torch.cat([h[..., 0::2], h[..., 1::2]], dim=-1), places, frequencies).chunk(2, dim=-1)
    return torch.stack([a, b], dim=-1).flatten(-2)


def neighbours_apart_6_2(h, places, frequencies):
    return right_6_2(torch.cat([h[..., 0::2], h[..., 1::2]], dim=-1), places, frequencies)


def added_6_2(h, places, frequencies):
    angles = places[:, None] * frequencies
    return h + torch.cat([angles.cos(), angles.sin()], dim=-1)


def stretched_6_2(h, places, frequencies):
    return 2 * right_6_2(h, places, frequencies)


def right_6_3(block):
    nn.init.zeros_(block.modulation[1].weight)
    nn.init.zeros_(block.modulation[1].bias)
    return block


def without_bias_6_3(block):
    nn.init.zeros_(block.modulation[1].weight)
    return block


def not_returned_6_3(block):
    right_6_3(block)


def asleep_6_3(block):
    for layer in (block.modulation[1], block.attention.out, block.mlp.down):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return block


def right_6_4():
    return "a red circle and a blue square", "a blue circle and a red square"


RIGHT = {"6.1": right_6_1, "6.2": right_6_2, "6.3": right_6_3, "6.4": right_6_4}
WRONG = {
    "6.1": [
        (pixels_6_1, "it counts pixels"),
        (columns_first_6_1, "columns run fastest"),
        (time_last_6_1, "time runs slowest"),
        (lambda *given: 0, "is token"),
    ],
    "6.2": [
        (backwards_6_2, "it turns backwards"),
        (one_frequency_6_2, "each has a frequency of its own"),
        (neighbours_6_2, "it pairs neighbours"),
        (neighbours_apart_6_2, "it pairs neighbours"),
        (added_6_2, "it adds the same whatever h is"),
        (stretched_6_2, "keeps the length"),
        (lambda h, places, frequencies: h.flip(-1), "right shape, wrong values"),
        (lambda h, places, frequencies: h[..., :1], "what comes back"),
    ],
    "6.3": [
        (without_bias_6_3, "the bias of the modulation"),
        (not_returned_6_3, "does not return it"),
        (asleep_6_3, "it never wakes up"),
        (lambda block: block, "does not leave as it came"),
        (lambda block: nn.Identity(), "another thing"),
    ],
    "6.4": [
        (lambda: ("a red circle", "a blue circle"), "the words of one are not those of the other"),
        (lambda: ("a red circle and a blue square", "a blue square and a red circle"), "they say the same"),
        (lambda: ("a purple circle", "a violet circle"), "as far as the words are known"),
        (lambda: ("a dog", "a red circle"), "speaks of no"),
        (lambda: "a red circle", "two captions"),
    ],
}
