"""Peak memory of curation against the length of the manifest, where everything has been measured before.

    python tests/benchmarks/curation_memory.py --rows 10000 100000

The manifest, and what was measured of its clips, are made up: half of the clips are cut in two, one in ten is a copy,
and of the others' perceptual hashes every bit is a coin's. The videos do not exist, and nobody asks for them. Each
length is measured in a process of its own: the highest resident memory, with Python and its libraries.
"""

import argparse
import json
import random
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lite_sora.curation.annotate import FACTS, _keys
from lite_sora.curation.curate import curate
from lite_sora.curation.recipe import read_recipe
from lite_sora.curation.splitting import pieces
from lite_sora.data.clip import Clip

RECIPE = """
- duration
- resolution: {min: 300}
- bits_per_pixel
- exact_duplicates
- split_by_scene
- luminance
- blur
- motion
- near_duplicates
"""


def write(folder: Path, rows: int) -> None:
    """A recipe, a manifest of so many rows, and a store with all that the recipe will ask for."""
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    (folder / "in-stats").mkdir()
    levels = [[step for _, step in steps] for steps in read_recipe(str(folder / "recipe.yaml")).levels()]
    rng = random.Random(0)
    signature = [f"{rng.getrandbits(64):016x}808080" for _ in range(8)]
    with (
        (folder / "in.jsonl").open("w", encoding="utf-8") as manifest,
        (folder / "in-stats/rank-0.jsonl").open("w", encoding="utf-8") as store,
    ):

        def keep(clip: Clip, steps: list, facts: dict, values: list) -> None:
            found = [facts, *({"value": value} for value in values)]
            keys = _keys(clip, steps, None)
            store.write(json.dumps({"id": clip.id, "values": dict(zip(keys, found, strict=True))}) + "\n")

        for i in range(rows):
            clip = Clip(
                f"{rng.getrandbits(64):016x}", f"videos/{i % 1000:03d}/{i:08d}.mp4", f"what clip {i} shows " * 4
            )
            manifest.write(json.dumps({"id": clip.id, "video": clip.video, "caption": clip.caption}) + "\n")
            duration, digest = rng.uniform(1.5, 60), f"{rng.getrandbits(128 if i % 20 else 4):032x}"
            cuts = [[0, duration / 2], [duration / 2, duration]] if i % 2 else [[0, duration]]
            facts = dict(zip(FACTS, (duration, 640, rng.choice([240, 360, 480]), 25.0), strict=True))
            keep(clip, levels[0], facts, [duration, facts["height"], rng.random(), digest, cuts])
            for piece in pieces(clip, duration, cuts):
                if rng.random() < 0.9:
                    signature = [f"{rng.getrandbits(64):016x}808080" for _ in range(8)]
                facts = facts | {"duration": (piece.end or duration) - (piece.start or 0)}
                values = [rng.gauss(110, 40), rng.uniform(50, 1000), rng.uniform(0, 0.3), signature]
                keep(piece, levels[1], facts, values)


def main() -> None:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)  # of a process that measures
    options = parser.parse_args()
    if options.folder:
        recipe = read_recipe(str(options.folder / "recipe.yaml"))
        selection = curate(recipe, options.folder / "in.jsonl", options.folder / "out.jsonl", 0, show=False)
        mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{selection.counts[-1][2]:,} | {mib:,.0f} | {time.process_time():.0f}")
        return

    print("python", shlex.join(sys.argv))
    print("| rows | clips kept | peak MiB | CPU s |")
    print("|---|---|---|---|")
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), rows)
            command = [sys.executable, __file__, "--folder", folder]
            done = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=True)
        print(f"| {rows:,} | {done.stdout.strip()} |", flush=True)


if __name__ == "__main__":
    main()
