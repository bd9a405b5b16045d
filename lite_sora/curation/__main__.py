"""Raw footage → clean clips.

    python -m lite_sora.curation RECIPE --manifest in.jsonl --out out.jsonl

RECIPE is the name of a recipe that ships with lite_sora, or a YAML or JSON file. After a crash or Ctrl-C, run the same
command again: nothing is measured twice, not even if the recipe's limits change.
"""

import argparse
import os
from pathlib import Path

from lite_sora.commands import command
from lite_sora.curation.curate import curate
from lite_sora.curation.recipe import read_recipe, shipped


@command("curation", "stopped; the same command resumes here")
def main() -> None:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m lite_sora.curation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", metavar="RECIPE", help=f"a file, or one of {shipped()}")
    parser.add_argument("--manifest", required=True, type=Path, help="JSONL of clips")
    parser.add_argument("--out", required=True, type=Path, help="JSONL of the clips that are kept, in the same folder")
    processes = max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    parser.add_argument("--workers", type=int, default=processes, help="processes (default: one for each core)")
    parser.add_argument("--device", help="for models in the recipe (default: cuda if there is one, then mps, then cpu)")
    parser.add_argument("--skip-unknown", action="store_true", help="ignore operators that are not known here")
    parser.add_argument("--allow-outside", action="store_true", help="let the manifest name videos outside its folder")
    options = parser.parse_args()
    if options.workers < 0:
        parser.error("--workers must be 0 (everything in this process) or more")
    if options.device:
        from lite_sora.processes import check_device  # needs torch, which few recipes do

        options.device = check_device(options.device)
    recipe = read_recipe(options.recipe, options.skip_unknown)
    selection = curate(
        recipe, options.manifest, options.out, options.workers, options.allow_outside, device=options.device
    )
    if selection:
        for reason in recipe.left_out:
            print(f"left out: {reason}")
        for name, before, after in selection.counts:
            print(f"{before:8} → {after:8}  {name}")
        print(f"{options.out}, and {options.out.with_name(options.out.stem + '-report')}/report.md")


if __name__ == "__main__":
    main()
