"""Prompt adherence on the toy world: does the video show what the prompt said?

    python -m lite_sora.evaluation.adherence --run runs/toy --clips 256

For each combination of shape, colour and motion the model is asked for videos, and the toy world's judge, which has no
learned part, reads them. Combinations that training showed and ones that it held out are counted apart. Beside it
stands diversity: how much position, size and distance vary over videos of one prompt, as a share of how much they vary
over real clips of it. A model that always draws the same video has a high adherence and a diversity near 0.
"""

import argparse
import json
import math
import sys
from collections import defaultdict

import numpy as np
from tqdm import tqdm

from lite_sora.data.loading import to_frames
from lite_sora.diffusion.samplers import SAMPLERS
from lite_sora.load import VideoModel, load_model, options_of
from lite_sora.processes import default_device
from lite_sora.toy.judge import Seen, judge
from lite_sora.toy.sentences import prompt
from lite_sora.toy.world import CORNERS, Corner, combinations, draw, random_scene

FACTS = ("shape", "colour", "motion", "all")


def measure(
    model: VideoModel, corner: str = "default", clips: int = 128, batch: int = 32, seed: int = 0, **options
) -> dict:
    """Adherence on `clips` videos of seen and as many of held-out combinations. `options` go to `model.generate`.

    Returns {"seen": …, "held-out": …}, each with "clips" and, for shape, colour, motion and all three together,
    {"accuracy", "low", "high"}: the share that is right and its 95 % confidence interval; and "diversity" (see there).
    """
    result = {}
    for name, unseen in (("seen", False), ("held-out", True)):
        triples = combinations(CORNERS[corner], unseen)
        asked = [triples[i % len(triples)] for i in range(clips)]
        seen = [things for _, things in watch(model, asked, batch, seed, name, **options)]
        right = np.array([_right(triple, things) for triple, things in zip(asked, seen, strict=True)])  # (clips, 4)
        result[name] = {"clips": clips}
        for fact, column in zip(FACTS, right.T, strict=True):
            low, high = wilson(int(column.sum()), clips)
            result[name][fact] = {"accuracy": float(column.mean()), "low": low, "high": high}
        if not unseen:
            result["diversity"] = diversity(asked, seen, CORNERS[corner], seed)
    return result


def watch(model: VideoModel, asked: list[tuple], batch: int, seed: int, name: str, **options):
    """Yields (frames, what the judge sees in them) of a generated video for each (shape, colour, motion) asked for."""
    with tqdm(total=len(asked), desc=f"adherence ({name})", unit="clip") as bar:
        for first in range(0, len(asked), batch):
            triples = asked[first : first + batch]
            seeds = [seed * 10**6 + first + i for i in range(len(triples))]
            videos = model.generate([prompt(*triple) for triple in triples], seeds=seeds, **options)
            for frames in to_frames(videos):
                yield frames, judge(frames)
                bar.update()


def _right(asked: tuple[str, str, str], things: list[Seen]) -> list[bool]:
    """Whether shape, colour, motion and all are right. The largest thing counts; a second one makes "all" wrong."""
    if not things:
        return [False] * 4
    facts = [a == b for a, b in zip(asked, things[0].triple, strict=True)]
    return [*facts, all(facts) and len(things) == 1]


def wilson(right: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % confidence interval of a share (Wilson 1927)."""
    share = right / of
    centre = (share + z**2 / (2 * of)) / (1 + z**2 / of)
    half = z / (1 + z**2 / of) * math.sqrt(share * (1 - share) / of + z**2 / (4 * of**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def diversity(asked: list[tuple], seen: list[list[Seen]], corner: Corner, seed: int = 0) -> dict[str, float]:
    """Spread of position, size and distance over videos of one prompt, divided by that over real clips: 1 is ideal.

    The spread is the standard deviation within prompts, pooled over prompts. Only videos with the right facts count.
    NaN where no prompt has two such videos.
    """
    real = []
    for index, triple in enumerate(asked):
        scene = random_scene(np.random.default_rng([seed, 17, index]), corner, triple=triple)
        real.append(judge(draw(scene, side=32)))
    shares = {}
    for name, measured in {
        "position": lambda thing: thing.start,
        "size": lambda thing: (thing.size,),
        "distance": lambda thing: (thing.distance,),
    }.items():
        spread, of_real = (_spread_within(asked, things, measured) for things in (seen, real))
        shares[name] = spread / of_real if of_real else math.nan
    return shares


def _spread_within(asked: list[tuple], seen: list[list[Seen]], measured) -> float:
    groups = defaultdict(list)
    for triple, things in zip(asked, seen, strict=True):
        if all(_right(triple, things)):
            groups[triple].append(measured(things[0]))
    groups = [np.array(values) for values in groups.values() if len(values) > 1]  # each (videos, numbers)
    if not groups:
        return math.nan
    squares = sum(((values - values.mean(0)) ** 2).sum(0) for values in groups)  # (numbers,)
    return float(np.sqrt((squares / sum(len(values) - 1 for values in groups)).mean()))


def report(result: dict) -> str:
    """The result as a small table."""
    lines = ["prompt adherence        shape  colour  motion     all   95 % interval of all"]
    for name in ("seen", "held-out"):
        row = result[name]
        shares = "".join(f"{row[fact]['accuracy']:8.1%}" for fact in FACTS)
        lines.append(f"{name:>10} ({row['clips']} clips){shares}   {row['all']['low']:.1%} to {row['all']['high']:.1%}")
    shares = ", ".join(f"{name} {value:.2f}" for name, value in result["diversity"].items())
    return "\n".join([*lines, f"diversity (1 = as varied as real clips): {shares}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True, help="run folder or hub id")
    parser.add_argument("--clips", type=int, default=128, help="videos of seen, and as many of held-out combinations")
    parser.add_argument("--batch", type=int, default=32, help="videos at a time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="sampler steps (default: as the run's config.json says)")
    parser.add_argument("--guidance", type=float, help="guidance scale (default: as the run's config.json says)")
    parser.add_argument("--sampler", choices=list(SAMPLERS), help="sampler (default: as the run's config.json says)")
    parser.add_argument("--temperature", type=float, help="of a prior, as the next two (default: as config.json says)")
    parser.add_argument("--top-k", type=int, help="draw from the k most likely codes only")
    parser.add_argument("--top-p", type=float, help="draw from the fewest codes with this probability together")
    parser.add_argument("--device", help="cuda, mps or cpu")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if options.clips < 1 or options.batch < 1 or options.seed < 0:
        parser.error("--clips and --batch must be at least 1, --seed at least 0")
    if options.steps is not None and options.steps < 1:
        parser.error(f"--steps must be at least 1, not {options.steps}")

    names = ("steps", "guidance", "sampler", "temperature", "top_k", "top_p")
    try:
        model = load_model(options.run, options.device or default_device())
        sampling = options_of(model, **{name: getattr(options, name) for name in names})
        corner = model.config.training.get("toy_corner", "default")
        result = measure(model, corner, options.clips, options.batch, options.seed, **sampling)
    except ValueError as error:
        sys.exit(f"adherence: {error}")
    except KeyboardInterrupt:
        sys.exit("adherence: stopped")
    print(json.dumps(result, indent=2) if options.json else report(result))


if __name__ == "__main__":
    main()
