"""The toy world as the web would caption it: short, incidental, now and then wrong.

    python -m lite_sora.toy.alt_text data/toy/manifest.jsonl --out data/toy/alt-text.jsonl

Texts next to videos on the web say little about what they show, which DALL-E 3 (section 2.1) calls the reason why
text-to-image models do not follow prompts. This command writes a copy of a toy manifest with such captions, to measure
what they do to a model, and how much captioning the clips again helps. With --plain the copy has the one plain true
caption instead, as an upper bound.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from lite_sora.commands import command
from lite_sora.data.clip import Clip, ManifestError, check_out, read_manifest, write_manifest
from lite_sora.toy.sentences import facts_of
from lite_sora.toy.world import COLOURS, SHAPES

NOTHING = (
    "video {number}",
    "clip {number} final",
    "my animation",
    "funny shapes",
    "for sale",
    "untitled",
    "watch this",
)
KINDS = {  # of alt-text, and their fractions
    "nothing": 0.25,  # about what the video shows
    "shape or colour": 0.30,
    "shape and colour": 0.25,
    "wrong": 0.10,  # a shape and a colour, one of which is wrong
    "true": 0.10,  # the whole caption, with the motion
}


def alt_text(shape: str, colour: str, caption: str, rng: np.random.Generator) -> str:
    """A text as on the web for a clip with this shape and colour, whose true caption is `caption`."""
    kind = rng.choice(list(KINDS), p=list(KINDS.values()))
    if kind == "true":
        return caption
    if kind == "nothing":
        return str(rng.choice(NOTHING)).format(number=rng.integers(10, 100))
    if kind == "shape or colour":
        return str(rng.choice([f"{shape} animation", f"something {colour}"]))
    if kind == "wrong":
        if rng.random() < 0.5:
            shape = str(rng.choice([other for other in SHAPES if other != shape]))
        else:
            colour = str(rng.choice([other for other in COLOURS if other != colour]))
    return f"{colour} {shape}"


def with_alt_text(clips: Iterator[Clip], plain: bool = False, seed: int = 0) -> Iterator[Clip]:
    """The clips of a toy manifest with alt-text, or with the plain caption. Raises ManifestError for a clip that is
    not of the toy world."""
    for number, clip in enumerate(clips):
        facts = facts_of(clip)
        if not facts:
            raise ManifestError(f"clip {clip.id!r} is not of the toy world, so it is unknown what it shows")
        shape, colour, _ = facts[0]
        text = alt_text(shape, colour, clip.caption, np.random.default_rng([seed, number]))
        yield replace(clip, caption=clip.caption if plain else text, captions=[])


@command("alt_text")
def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path, help="of the toy world")
    parser.add_argument("--out", type=Path, required=True, help="the new manifest, in the same folder")
    parser.add_argument("--plain", action="store_true", help="the plain true caption instead")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.seed < 0:
        parser.error(f"--seed must be at least 0, not {options.seed}")
    check_out(options.manifest, options.out)
    count = write_manifest(options.out, with_alt_text(read_manifest(options.manifest), options.plain, options.seed))
    print(f"{count} clips → {options.out}")


if __name__ == "__main__":
    main()
