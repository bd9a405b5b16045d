"""How well do models follow prompts at shapes inside and outside of those that they were trained on? Prints a table.

python train.py --buckets 8x32x32 8x24x24 4x32x32 --out runs/buckets
python train.py --buckets 8x32x32 8x24x24 4x32x32 --pack --out runs/packs
python tests/benchmarks/shapes.py --runs runs/toy runs/buckets runs/packs
"""

import argparse
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lite_sora.data.buckets import parse_bucket
from lite_sora.evaluation.adherence import FACTS, measure
from lite_sora.load import load_model

INSIDE = ("8x32x32", "8x24x24", "4x32x32")
OUTSIDE = ("4x24x24", "12x32x32", "16x32x32", "8x40x40", "8x48x48", "8x16x16")  # the judge reads squares


def main() -> None:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", nargs="+", required=True)
    parser.add_argument("--clips", type=int, default=64, help="of combinations that training showed")
    options = parser.parse_args()
    print("python", shlex.join(sys.argv))
    models = {run: load_model(run) for run in options.runs}
    print("\n| frames × height × width | " + " | ".join(f"{run}: {' · '.join(FACTS)}" for run in models) + " |")
    print("|---|" + "---|" * len(models))
    for name in (*INSIDE, *OUTSIDE):
        shape, cells = parse_bucket(name), []
        for model in models.values():
            seen = measure(model, clips=options.clips, **shape._asdict())["seen"]
            cells.append(" · ".join(f"{seen[fact]['accuracy']:.0%}" for fact in FACTS))
        print(f"| {name.replace('x', ' × ')} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
