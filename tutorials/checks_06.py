"""What the exercises of lesson 06 are checked by."""

import numpy as np
import torch
from exercises import Wrong, begun
from torch import nn

from lite_sora.denoisers.dit import DenoiserConfig, DiT
from lite_sora.layers.patches import patchify, rotate
from lite_sora.text.encoder import Text, TextEncoder, build_tokenizer
from lite_sora.toy.sentences import captions, read_caption
from lite_sora.toy.world import SHAPES, WORLD, random_scene


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-4) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=tolerance, atol=tolerance)


def turned(h: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    return rotate(h, torch.cat([angles.cos(), angles.sin()], dim=-1))


def check_1(token_of) -> None:
    """With it you find the token of anything that you see, which is how one looks into attention.
    A patch begins every `patch` pixels: which one is it along each axis? Then count: a whole frame of patches comes
    before the next step of time, and a whole row of them before the next row.
    """
    for patch, grid in (((2, 8, 8), (4, 4, 4)), ((1, 2, 3), (3, 2, 5)), ((2, 3, 1), (2, 4, 3))):
        size = [p * n for p, n in zip(patch, grid, strict=True)]
        for place in [(0, 0, 0), (size[0] - 1, 0, 0), (0, size[1] - 1, 0), (0, 0, size[2] - 1), (1, 2, 2)]:
            video = torch.zeros(1, 1, *size)
            video[0, 0, *place] = 1
            expected = int(patchify(video, patch)[0].sum(-1).argmax())
            found = begun(token_of(*place, patch, grid))
            if found == expected:
                continue
            f, r, c = (at // p for at, p in zip(place, patch, strict=True))
            where = f"frame {place[0]}, row {place[1]}, column {place[2]}"
            if found == (place[0] * grid[1] + place[1]) * grid[2] + place[2]:
                raise Wrong("it counts pixels: a patch holds several of them along an axis")
            if found == (f * grid[2] + c) * grid[1] + r:
                raise Wrong("columns run fastest: next to a token stands its neighbour in the same row")
            if found == (r * grid[2] + c) * grid[0] + f:
                raise Wrong("time runs slowest: all tokens of a step of time stand together")
            raise Wrong(f"{where} of patches {patch} in a grid {grid} is token {expected}, not {found}")


def check_2(turn) -> None:
    """With it a query and a key know how far apart they are, for clips of any size and length.
    The angles are (N, D / 2): places[:, None] * frequencies. A pair (a, b) becomes (a cos - b sin, a sin + b cos), with
    a the first half of h's numbers and b the second. The package's `rotate` does that, if it is given cos and sin.
    """
    random = torch.Generator().manual_seed(0)
    for shape in ((2, 5, 4), (1, 9, 16), (3, 1, 2)):
        h = torch.randn(shape, generator=random)
        places = torch.randint(0, 20, shape[1:2], generator=random).float()
        frequencies = torch.rand(shape[2] // 2, generator=random)
        angles = places[:, None] * frequencies

        found, expected = begun(turn(h, places, frequencies)), turned(h, angles)
        if close(found, expected):
            continue
        if found.shape != h.shape:
            raise Wrong(f"h is {tuple(h.shape)}, but what comes back {tuple(found.shape)}")
        if close(found, turned(h, -angles)):
            raise Wrong("it turns backwards: (1, 0) turned by a small angle has a second number above 0")
        if close(found, turned(h, places[:, None].expand_as(angles))):
            raise Wrong("all pairs turn alike: each has a frequency of its own")
        halves = turned(torch.cat([h[..., 0::2], h[..., 1::2]], dim=-1), angles).chunk(2, dim=-1)
        if close(found, torch.stack(halves, dim=-1).flatten(-2)) or close(found, torch.cat(halves, dim=-1)):
            raise Wrong("it pairs neighbours, h[2 i] with h[2 i + 1]; here h[i] goes with h[i + D / 2]")
        doubled = turn(2 * h, places, frequencies) - found
        if close(doubled, h):
            raise Wrong("it adds the same whatever h is; turning keeps the length of h")
        if not close(found.norm(dim=-1), h.norm(dim=-1)):
            raise Wrong("turning keeps the length of h, and this does not")
        raise Wrong(f"right shape, wrong values: off by up to {(found - expected).abs().max():.2g}")


def check_3(begin) -> None:
    """So a network may be as deep as you like: at first it is as simple as its last layer, and grows from there.
    What lets through what attention and the feed-forward network have found? It is computed by `block.modulation`, a
    SiLU and a linear layer, which has a bias too. `nn.init.zeros_` sets a weight to zero.
    """
    with torch.random.fork_rng():
        for seed in range(3):
            torch.manual_seed(seed)
            begins(begin)


def begins(begin) -> None:
    """For one random block, in a DiT of one: it is the identity, and after some steps all of it has a gradient."""
    network = DiT(DenoiserConfig(channels=1, patch=(1, 2, 2), width=24, depth=1, heads=2, text_width=8))
    for weight in network.parameters():
        nn.init.normal_(weight, std=0.3)
    given = network.blocks[0]
    before = {name: weight.clone() for name, weight in given.state_dict().items()}
    returned = begin(given)
    if returned is None and any(not weight.equal(before[name]) for name, weight in given.state_dict().items()):
        raise Wrong("it changes the block, but does not return it")
    if begun(returned) is not given:
        raise Wrong("it returns another thing than the block that it was given")
    no_weight, changes = not given.modulation[1].weight.any(), []
    given.register_forward_hook(lambda layer, inputs, h: changes.append(float((h - inputs[0]).detach().abs().max())))
    x, target = torch.randn(2, 3, 1, 2, 4, 4)
    text = Text(torch.randn(3, 5, 8), torch.ones(3, 5, dtype=torch.bool), torch.randn(3, 8))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (network(x, torch.rand(3), text) - target).square().mean().backward()
        optimizer.step()
    if changes[0] > 0 and no_weight:
        raise Wrong("the bias of the modulation still opens the gates")
    if changes[0] > 0:
        raise Wrong(f"h does not leave as it came, but is changed by up to {changes[0]:.2g}")
    gradients = [given.attention.qkv.weight.grad, given.mlp.up.weight.grad]
    if any(part is None or not part.any() for part in gradients):
        raise Wrong("it never wakes up: the gates are shut, and so is what they let through: neither has a gradient")


def check_4(two_captions) -> None:
    """So a mean of words says what is in a video, but not what belongs to what: that is what the words are for.
    Does the order of the words count in a mean? Say two things of the toy world (circle, square, triangle; red, blue …)
    in a caption, and say something else with the same words in the other.
    """
    pair = begun(two_captions())
    if len(pair) != 2 or not all(isinstance(caption, str) for caption in pair):
        raise Wrong("it must return two captions, each a string")
    meanings = [sorted(read_caption(caption), key=str) for caption in pair]
    for caption, meaning in zip(pair, meanings, strict=True):
        if not meaning:
            raise Wrong(f'"{caption}" speaks of no {" or ".join(SHAPES)}')
    if meanings[0] == meanings[1]:
        raise Wrong(
            "they say the same: each thing has the same colour and motion in both, as far as the words are known"
        )
    known = [line for seed in range(50) for line in captions(random_scene(np.random.default_rng(seed), WORLD))]
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        encoder = TextEncoder(build_tokenizer(known), width=128)
        one, two = encoder(encoder.tokenize(list(pair))).pooled
    apart = float((one - two).norm() / one.norm())
    if apart > 0.05:
        raise Wrong(f"their pooled captions differ by {apart:.0%}: the words of one are not those of the other")
