"""Clips of many shapes: what padding, buckets and packs make of a second, and which attention packs should use.

    python tests/benchmarks/packing.py

Clips last 8.5 seconds on average (lognormal, 2 s to a minute), as those of Panda-70M (2402.19479), and have a grid of
patches for each second; 80 % are wide (4 × 7 patches), the others tall or square. A step is a forward and a backward
pass of a DiT over up to --tokens tokens. Three ways to make batches of them take turns:

padding: clips as they come, filled up to the longest of the batch, which a mask hides
buckets: batches of one length and shape; a clip is cut to the longest of 2, 4, 8, 16 or 32 seconds that it has
packs:   `--pack`: one sequence
"""

import argparse
import shlex
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lite_sora.data.packing import PackedOrder
from lite_sora.denoisers.dit import SIZES, DenoiserConfig, DiT
from lite_sora.denoisers.packed import packed
from lite_sora.layers.attention import attend
from lite_sora.layers.sequence import Segments
from lite_sora.text.encoder import Text

LENGTHS = (2, 4, 8, 16, 32)  # of buckets
GRIDS = ((4, 7), (7, 4), (5, 5))
WORDS = 8


def shapes_of(clips: int) -> list[tuple[int, int, int]]:
    """(rows of patches in time, height, width) of clips."""
    rng = np.random.default_rng(0)
    seconds = rng.lognormal(np.log(7.2), 0.6, clips).clip(2, 60).round().astype(int)
    return [(int(s), *GRIDS[g]) for s, g in zip(seconds, rng.choice(3, clips, p=[0.8, 0.1, 0.1]), strict=True)]


def padded(shapes: list, budget: int) -> list[list[tuple]]:
    """Batches of clips in the order in which they come, each as long as its longest."""
    batches, batch = [], []
    for shape in shapes:
        longest = max(np.prod(each) for each in [*batch, shape])
        if batch and longest * (len(batch) + 1) > budget:
            batches.append(batch)
            batch = []
        batch.append(shape)
    return batches


def bucketed(shapes: list, budget: int) -> list[list[tuple]]:
    """Batches of one shape; what is left of a bucket at the end is left out."""
    batches, waiting = [], {}
    for frames, height, width in shapes:
        shape = max(length for length in LENGTHS if length <= frames), height, width
        bucket = waiting.setdefault(shape, [])
        bucket.append(shape)
        if (len(bucket) + 1) * np.prod(shape) > budget:
            batches.append(waiting.pop(shape))
    return batches


def packs(shapes: list, budget: int) -> list[list[tuple]]:
    order = PackedOrder([int(np.prod(shape)) for shape in shapes], budget, 0, 0, 1)
    return [[shapes[index] for index in pack] for pack in islice(order.packs(), len(shapes))]


def text(clips: int) -> Text:
    return Text(torch.randn(clips, WORDS, 128), torch.ones(clips, WORDS, dtype=torch.bool), torch.randn(clips, 128))


def video(shape: tuple, patch: tuple) -> Tensor:
    return torch.randn(3, *(n * p for n, p in zip(shape, patch, strict=True)))


def step(model: DiT, way: str, batch: list[tuple]) -> float:
    """Seconds of a forward and a backward pass. Padding is tokens of a video as long as the longest, and hidden."""
    patch = model.config.patch
    if way == "packs":
        inputs = [video(shape, patch) for shape in batch], [torch.rand(()) for _ in batch], text(len(batch))
        start = time.perf_counter()
        loss = sum(y.square().mean() for y in packed(model, *inputs))
    else:
        longest = max(batch, key=np.prod)
        inputs = torch.stack([video(longest, patch) for _ in batch]), torch.rand(len(batch)), text(len(batch))
        start = time.perf_counter()
        h, given = model.sequence(*inputs)
        if way == "padding":
            lengths = torch.tensor([int(np.prod(shape)) for shape in batch])
            places = torch.arange(h.shape[1])
            seen = (places < lengths[:, None]) | (places >= np.prod(longest))
            given = given._replace(mask=seen[:, None, None])
        loss = model.video(model.transform(h, given), given).square().mean()
    loss.backward()
    seconds = time.perf_counter() - start
    model.zero_grad(set_to_none=True)
    return seconds


def compare_batches(options: argparse.Namespace) -> None:
    torch.manual_seed(0)
    shapes = shapes_of(4000)
    model = DiT(DenoiserConfig(patch=(1, 4, 4), **SIZES[options.size]))
    ways = {"padding": padded, "buckets": bucketed, "packs": packs}
    batches = {way: make(shapes, options.tokens)[: options.steps] for way, make in ways.items()}
    whole = float(np.mean([np.prod(shape) for shape in shapes]))
    seconds = {way: [] for way in ways}
    for number in range(options.steps):
        for way in ways:
            seconds[way].append(step(model, way, batches[way][number]))
    print(f"\nDiT-{options.size}, up to {options.tokens:,} tokens a step, {options.steps} steps of each, in turns")
    print("| batches of | clips a step | positions useful | of a clip's tokens used | clips/s | tokens/s |")
    print("|---|---|---|---|---|---|")
    for way in ways:
        clips = sum(map(len, batches[way]))
        useful = sum(int(np.prod(shape)) for batch in batches[way] for shape in batch)
        held = sum(len(batch) * max(int(np.prod(shape)) for shape in batch) for batch in batches[way])
        held = options.tokens * options.steps if way == "packs" else held
        took = sum(seconds[way])
        print(
            f"| {way} | {clips / options.steps:.0f} | {useful / held:.1%} | {useful / clips / whole:.0%} "
            f"| {clips / took:.1f} | {useful / took:,.0f} |"
        )


def compare_attention(options: argparse.Namespace) -> None:
    """Milliseconds of attention in one pack, forward and backward."""
    lengths = [int(np.prod(shape)) for shape in packs(shapes_of(4000), options.tokens)[0]]
    clip = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    mask = clip[:, None] == clip

    def jagged(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        ends = torch.tensor([0, *lengths]).cumsum(0)
        rows = [x[0].transpose(0, 1).contiguous() for x in (q, k, v)]  # (N, heads, d)
        nested = [torch.nested.nested_tensor_from_jagged(x, ends).transpose(1, 2) for x in rows]
        return F.scaled_dot_product_attention(*nested).transpose(1, 2).values()

    ways = {
        "segments": lambda *qkv: attend(*qkv, Segments(lengths)),
        "jagged nested tensors": jagged,
        "a mask": lambda *qkv: attend(*qkv, mask),
    }
    took = {way: [] for way in ways}
    for _ in range(options.steps):
        for way, run in ways.items():
            qkv = [torch.randn(1, 4, sum(lengths), 32, requires_grad=True) for _ in range(3)]
            start = time.perf_counter()
            run(*qkv).square().sum().backward()
            took[way].append(1000 * (time.perf_counter() - start))
    print(f"\nattention, 4 heads of 32, {sum(lengths):,} tokens in {len(lengths)} clips, median of {options.steps}")
    print("| how | ms |\n|---|---|")
    for way, times in took.items():
        print(f"| {way} | {np.median(times):.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="toy", choices=list(SIZES))
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--steps", type=int, default=5)
    options = parser.parse_args()
    print("python", shlex.join(sys.argv))
    compare_batches(options)
    compare_attention(options)


if __name__ == "__main__":
    main()
