"""Draws the pipeline, with frames of the toy world in it: python tutorials/drawing.py [--out out/pipeline.png]."""

import argparse
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from lite_sora.toy.world import CORNERS, draw, random_scene

STEPS = (  # (what, where in lite_sora, how noisy the picture is)
    ("captioned\nclips", "data/  catalogs/\ncuration/  captioning/", 0.0),
    ("autoencoder:\npixels or latents", "autoencoders/", 0.0),
    ("noise of a\nrandom level t", "diffusion/path.py", 0.6),
    ("transformer, told\nt and the caption", "denoisers/  text/", 0.6),
    ("loss, optimiser,\naverage of weights", "diffusion/objective.py\ntraining/", 0.3),
    ("sampler: from noise\nto a video", "diffusion/samplers.py\ngenerate.py", 0.15),
    ("judge: is it what\nthe prompt said?", "evaluation/", 0.0),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--out", type=Path, default=Path("out/pipeline.png"), help="(default: %(default)s)")
    out = parser.parse_args().out
    rng = np.random.default_rng(1)
    scene = random_scene(rng, CORNERS["default"], triple=("circle", "red", "right"))
    frames = draw(scene, frames=len(STEPS), side=64) / 255  # (7, 64, 64, 3)
    figure, axes = plt.subplots(1, len(STEPS), figsize=(12, 2.6), gridspec_kw={"wspace": 0.35})
    for number, (axis, (what, where, t)) in enumerate(zip(axes, STEPS, strict=True)):
        noisy = (1 - t) * frames[number] + t * rng.normal(0.5, 0.5, frames[number].shape)
        axis.imshow(noisy.clip(0, 1))
        axis.set_title(what, fontsize=9)
        axis.set_xlabel(where, fontsize=7, color="0.35", family="monospace")
        axis.set_xticks([]), axis.set_yticks([])
        if number:
            axis.annotate("", (-0.04, 0.5), (-0.32, 0.5), xycoords="axes fraction", arrowprops={"arrowstyle": "->"})
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110, bbox_inches="tight")
    print(out)


if __name__ == "__main__":
    main()
