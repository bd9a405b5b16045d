"""How well does a model of --frame-levels go on from frames of the toy world? Prints three tables.

python train.py --frame-levels 0.5
python tests/benchmarks/continuation.py --run runs/toy-frame-levels-0.5
"""

import argparse
import shlex
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
from lite_sora.continuation import extend
from lite_sora.data.loading import to_frames, to_model_range
from lite_sora.diffusion.frames import ORDERS, Given
from lite_sora.evaluation.adherence.diversity import facts_right
from lite_sora.evaluation.adherence.questions import balanced
from lite_sora.load import load_model
from lite_sora.toy.judge import judge
from lite_sora.toy.sentences import prompt
from lite_sora.toy.world import CORNERS, combinations, draw, random_scene

BACK = {"right": "left", "left": "right", "up": "down", "down": "up"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True)
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--lengths", type=int, nargs="+", default=[32, 128])
    options = parser.parse_args()
    print("python", shlex.join(sys.argv))
    model = load_model(options.run)
    triples = balanced(combinations(CORNERS["default"], unseen=False), options.clips, 0)
    scenes = [random_scene(np.random.default_rng([5, n]), CORNERS["default"], triple=t) for n, t in enumerate(triples)]
    real = np.stack([draw(scene, model.config.frames, model.config.height) for scene in scenes])  # (N, T, H, W, 3)
    film = to_model_range(torch.from_numpy(real).movedim(-1, 1))  # (N, 3, T, H, W)
    known_frames(model, triples, film)
    orders(model, triples, film)
    longer(model, triples, film, options.lengths)


def right(triples: list[tuple], videos: np.ndarray) -> str:
    marks = [facts_right(triple, judge(frames)) for triple, frames in zip(triples, videos, strict=True)]
    shape, colour, motion, all_right = np.mean(marks, axis=0)
    return f"{shape:.0%} · {colour:.0%} · {motion:.0%} · {all_right:.0%}"


def psnr(made: torch.Tensor, film: torch.Tensor) -> float:
    return float(10 * torch.log10(4 / (made - film).square().mean()))


def make(model, triples: list[tuple], **options) -> torch.Tensor:
    prompts, seeds = [prompt(*triple) for triple in triples], list(range(len(triples)))
    parts = [slice(first, first + 32) for first in range(0, len(triples), 32)]
    given = [Given(**{name: v[p] if torch.is_tensor(v) else v for name, v in options.items()}) for p in parts]
    return torch.cat([model.generate(prompts[p], seeds=seeds[p], given=g) for p, g in zip(parts, given, strict=True)])


def known_frames(model, triples: list[tuple], film: torch.Tensor) -> None:
    print("\n| known | shape · colour · motion · all right | PSNR of the others to the real clip |\n|---|---|---|")
    last, half = film.shape[2] - 1, tuple(range(film.shape[2] // 2))
    cases = {"nothing": (), "first": (0,), "last": (last,), "both ends": (0, last), "half": half}
    for name, places in cases.items():
        made = make(model, triples, **({"known": film[:, :, places], "places": places} if places else {}))
        others = [frame for frame in range(film.shape[2]) if frame not in places]
        print(f"| {name} | {right(triples, to_frames(made))} | {psnr(made[:, :, others], film[:, :, others]):.1f} dB |")


def orders(model, triples: list[tuple], film: torch.Tensor) -> None:
    print("\n| order, the first frame known | shape · colour · motion · all right |\n|---|---|")
    for order in ORDERS:
        made = make(model, triples, known=film[:, :, :1], places=(0,), order=order)
        print(f"| {order} | {right(triples, to_frames(made))} |")


def longer(model, triples: list[tuple], film: torch.Tensor, lengths: list[int]) -> None:
    """Films that turn around with each clip's length: a thing that kept its direction would leave the frame."""
    print("\n| frames | shape · colour · motion · all right, of the last clip | size, of the real | colour off by |")
    print("|---|---|---|---|")
    triples, size = triples[:16], film.shape[2]
    film, sizes = film[:16], [judge(frames)[0].size for frames in to_frames(film[:16])]
    piece = 0
    while film.shape[2] < max(lengths):
        triples = [(shape, colour, BACK[motion]) for shape, colour, motion in triples]
        seeds = [1000 * piece + n for n in range(len(triples))]
        film, piece = extend(model, [prompt(*triple) for triple in triples], film, size, seeds=seeds), piece + 1
        if film.shape[2] in lengths:
            frames = to_frames(film[:, :, -size:])
            seen = [judge(video) for video in frames]
            ratio = np.mean([things[0].size / first for things, first in zip(seen, sizes, strict=True) if things])
            off = np.mean([np.abs(video - (video > 127) * 255.0).mean() for video in frames])
            print(f"| {film.shape[2]} | {right(triples, frames)} | {ratio:.2f} | {off:.1f} of 255 |", flush=True)


if __name__ == "__main__":
    main()
