"""What attention costs with the number of tokens: full, factorised, in windows. Prints a table, and draws it.

    python tests/benchmarks/attention.py --picture data/samples/attention.png

A point is one block of a DiT-S, forward and backward, on a clip of T × 16 × 16 patches, in a process of its own: the
median of three, and the most memory that it took beyond what was there before.
"""

import argparse
import json
import resource
import shlex
import subprocess
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lite_sora.denoisers.dit import SIZES
from lite_sora.denoisers.variants import Context, VariantBlock, VariantConfig
from lite_sora.layers.patches import rotations_3d
from lite_sora.layers.sequence import Windows

KINDS = ("full", "factorised", "windows")
WINDOW = (4, 8, 8)


def point(kind: str, tokens: int) -> dict:
    """Seconds and MiB of a block. Factorised attention takes two blocks for one: half of both is counted."""
    config = VariantConfig(**SIZES["S"], attention=kind, words="none")
    grid = (tokens // 256, 16, 16)
    blocks = [VariantBlock(config, within) for within in (("space", "time") if kind == "factorised" else (None,))]
    h, condition = torch.randn(1, tokens, config.width), torch.randn(1, 1, config.width)
    given = Context(condition, None, None, None, rotations_3d(grid, config.width // config.heads), grid)
    before, seconds = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
    for _ in range(3):
        start = time.perf_counter()
        for block in blocks:
            given.mask = Windows(grid, WINDOW, shifted=True, mask=None) if kind == "windows" else None
            block(h.requires_grad_(), given).sum().backward()
        seconds.append((time.perf_counter() - start) / len(blocks))
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"seconds": sorted(seconds)[1], "mib": kibibytes / 1024}


def draw(found: dict, counts: list[int], path: str) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="tight")
    for axis, (name, unit) in zip(axes, (("seconds", "seconds"), ("mib", "memory, MiB")), strict=True):
        for kind in KINDS:
            axis.plot(counts, [found[kind, tokens][name] for tokens in counts], marker="o", label=kind)
        axis.set(xlabel="tokens", ylabel=unit, xscale="log", yscale="log")
        axis.set_xticks(counts, [f"{tokens:,}" for tokens in counts], rotation=45)
        axis.minorticks_off()
    axes[0].legend(title="a block of DiT-S")
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--most", type=int, default=32768, help="tokens")
    parser.add_argument("--picture", help="where to draw the curves")
    parser.add_argument("--point", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point:
        print(json.dumps(point(options.point[0], int(options.point[1]))))
        return
    print("python", shlex.join(sys.argv))
    counts, found = [2**power for power in range(8, 16) if 2**power <= options.most], {}
    print("\n| tokens | " + " | ".join(f"{kind}: s | MiB" for kind in KINDS) + " |\n|" + "---|" * (1 + 2 * len(KINDS)))
    for tokens in counts:
        for kind in KINDS:
            command = [sys.executable, __file__, "--point", kind, str(tokens)]
            found[kind, tokens] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        row = [f"{found[kind, tokens]['seconds']:.3f} | {found[kind, tokens]['mib']:.0f}" for kind in KINDS]
        print(f"| {tokens:,} | {' | '.join(row)} |", flush=True)
    if options.picture:
        draw(found, counts, options.picture)


if __name__ == "__main__":
    main()
