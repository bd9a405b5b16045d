"""Draws the diagrams: python tutorials/drawing.py [--out out] writes pipeline.png, block.png and adaln.png there."""

import argparse
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).parents[1]))
from lite_sora.layers.attention import make_norm
from lite_sora.layers.patches import modulate
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


def pipeline() -> Figure:
    """From clips to a judged video, with frames of the toy world."""
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
    return figure


# ---------------------------------------------------------------- a block of the transformer

TOLD, SUM, LAYER = "#fde3c8", "#e8e8e8", "#d6e6f4"  # what the condition sets, sums and values, layers
COLUMN = (  # (what, its colour, what the condition sets there), from top to bottom; names are those of `DiTBlock`
    ("h: patches, then words", SUM, ""),
    ("norm1", LAYER, ""),
    ("modulate", TOLD, "shift1, scale1"),
    ("attention", LAYER, ""),
    ("×", TOLD, "gate1"),
    ("+", SUM, ""),
    ("norm2", LAYER, ""),
    ("modulate", TOLD, "shift2, scale2"),
    ("mlp", LAYER, ""),
    ("×", TOLD, "gate2"),
    ("+", SUM, ""),
    ("h", SUM, ""),
)


def block() -> Figure:
    """A DiT block with adaLN-zero, in the names of `lite_sora/denoisers/dit.py`."""
    figure, axis = plt.subplots(figsize=(6.4, 6.2))
    axis.set(xlim=(0, 6.4), ylim=(-len(COLUMN) + 0.6, 1.4))
    axis.axis("off")
    main, beside, told = 1.9, 0.35, 4.9  # x of the tokens, of the ways around, and of what they are told
    for row, (what, colour, setting) in enumerate(COLUMN):
        box(axis, main, -row, what, colour)
        if row:
            arrow(axis, (main, -row + 0.72), (main, -row + 0.28))
        if setting:
            axis.text(3.05, -row + 0.1, setting, ha="center", fontsize=8.5, style="italic")
            arrow(axis, (3.9, -row), (main + (0.46 if what == "modulate" else 0.13), -row))
    for start, end in ((0, 5), (5, 10)):  # what a block adds to
        axis.plot([main, beside, beside], [-start - 0.5, -start - 0.5, -end], color="black", linewidth=1)
        arrow(axis, (beside, -end), (main - 0.13, -end))

    box(axis, told - 0.75, 1, "t", SUM), box(axis, told + 0.75, 1, "text.pooled", SUM)
    box(axis, told - 0.75, 0, "embed_time", LAYER), box(axis, told + 0.75, 0, "embed_pooled", LAYER)
    for side in (-0.75, 0.75):
        arrow(axis, (told + side, 0.72), (told + side, 0.28))
        arrow(axis, (told + side, -0.28), (told + side * 0.2, -0.8))
    box(axis, told, -1, "+", SUM)
    axis.text(told + 0.35, -1, "condition", va="center", fontsize=8.5, style="italic")
    arrow(axis, (told, -1.28), (told, -1.6))
    axis.add_patch(plt.Rectangle((3.9, -9.5), 2, 7.9, facecolor=LAYER, edgecolor="black", linewidth=0.8))
    words = "modulation\n\nSiLU, Linear:\nD → 6 D\n\nstarts at zero:\nall gates are shut,\nh leaves as it came"
    axis.text(told, -5.5, words, ha="center", va="center", fontsize=9)
    return figure


def adaln() -> Figure:
    """What adaLN-zero does to tokens × channels, with a fresh block's modulation and with another one."""
    torch.manual_seed(0)
    h = 0.8 * torch.randn(1, 8, 12) + torch.linspace(-1, 1, 8)[:, None]  # (1, tokens, channels)
    mixed = torch.randn(8, 8).softmax(-1) * 1.5  # what attention takes from which token
    figure, axes = plt.subplots(2, 5, figsize=(6.4, 2.3), gridspec_kw={"wspace": 0.4, "hspace": 0.1})
    for row, when, size in zip(axes, ("at first:\nall zero", "later: set by\nt, caption"), (0, 0.8), strict=True):
        shift, scale, gate = size * torch.randn(3, 1, 1, 12)
        normed = make_norm("layer", 12, affine=False)(h)
        modulated = modulate(normed, shift, scale)
        added = gate * (mixed @ modulated)
        for axis, values in zip(row, (h, normed, modulated, added, h + added), strict=True):
            axis.imshow(values[0], cmap="RdBu", vmin=-3, vmax=3)
            axis.set_xticks([]), axis.set_yticks([])
        for axis in row[1:]:
            axis.annotate("", (-0.05, 0.5), (-0.35, 0.5), xycoords="axes fraction", arrowprops={"arrowstyle": "->"})
        row[0].set_ylabel(when, fontsize=8)
    titles = ("h: tokens\n× channels", "norm1(h)", "modulate: × (1 +\nscale) + shift", "gate1 ×\nattention", "h + that")
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=8)
    return figure


def box(axis: Axes, x: float, y: float, what: str, colour: str) -> None:
    style = {"boxstyle": "round,pad=0.35", "facecolor": colour, "linewidth": 0.8}
    axis.text(x, y, what, ha="center", va="center", fontsize=9, bbox=style)


def arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axis.annotate("", end, start, arrowprops={"arrowstyle": "->", "shrinkA": 0, "shrinkB": 0})


DRAWINGS = {"pipeline": pipeline, "block": block, "adaln": adaln}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--out", type=Path, default=Path("out"), help="a folder (default: %(default)s)")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for name, drawing in DRAWINGS.items():
        drawing().savefig(out / f"{name}.png", dpi=110, bbox_inches="tight")
        print(out / f"{name}.png")


if __name__ == "__main__":
    main()
