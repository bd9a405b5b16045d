"""Pictures of a lesson, small enough for a notebook: stills, and films, an animated PNG below a strip of its frames.

GitHub shows neither a GIF nor a <video> in a notebook; an animated PNG is a picture like any other, and plays. In a
notebook, pictures are shown; a script writes them to out/lessons/NAME.png.
"""

import io
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from lite_sora.data.preview import mosaic, sheet

COLOURS, WIDTH = 64, 640  # of a picture: the most, so that a notebook stays under 300 KB


def show(picture: Image.Image | Figure, name: str) -> None:
    """A still picture."""
    if isinstance(picture, Figure):
        drawn = io.BytesIO()
        picture.savefig(drawn, dpi=100, bbox_inches="tight")
        plt.close(picture)  # or a notebook shows it once more
        picture = Image.open(drawn)
    _put([picture.convert("RGB")], name)


def film(videos: list[np.ndarray], labels: list[str], name: str, milliseconds: int = 150, columns: int = 4) -> None:
    """Videos of one length, uint8 (T, H, W, 3) each: a strip of up to nine of their frames, and beneath it the videos,
    playing."""
    every = -(-len(videos[0]) // 9)
    _put([sheet([video[::every] for video in videos], labels)], f"{name}-strip")
    _put([Image.fromarray(frame) for frame in mosaic(videos, labels, columns)], name, milliseconds)


def walks(ways: dict[str, Tensor], kinds: dict[str, Tensor], name: str) -> None:
    """Ways of points in a plane, (times, points, 2) each, one below the other: five clouds, and the lines of twelve
    points. A point has the colour of its kind. Time is added to a point's first number, so that it runs to the right.
    """
    figure, axes = plt.subplots(len(ways), 1, figsize=(8, 3 * len(ways)), sharex=True, sharey=True, layout="tight")
    for axis, (label, way) in zip(axes, ways.items(), strict=True):
        aside = np.linspace(0, 28, len(way))
        marks = np.linspace(0, len(way) - 1, 5).round().astype(int)
        colours = np.array(["tab:blue", "tab:orange", "tab:green"])[kinds[label]]
        for index in marks:
            axis.scatter(way[index, :, 0] + aside[index], way[index, :, 1], 3, colours, alpha=0.5, linewidths=0)
        for point in range(12):
            axis.plot(way[:, point, 0] + aside, way[:, point, 1], color=colours[point], linewidth=0.8)
        axis.set(ylabel=label, yticks=[], xticks=aside[marks], xticklabels=["noise", 0.75, 0.5, 0.25, "data"])
    show(figure, name)


def _put(frames: list[Image.Image], name: str, milliseconds: int = 0) -> None:
    scale = min(1, WIDTH / frames[0].width)
    size = (round(frames[0].width * scale), round(frames[0].height * scale))
    frames = [frame if scale == 1 else frame.resize(size, Image.Resampling.LANCZOS) for frame in frames]
    palette = Image.fromarray(np.concatenate([np.asarray(frame) for frame in frames])).quantize(COLOURS, kmeans=1)
    first, *others = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    data = io.BytesIO()
    more = {"save_all": True, "append_images": others, "duration": milliseconds, "loop": 0} if others else {}
    first.save(data, "PNG", optimize=True, **more)
    if "ipykernel" in sys.modules:
        from IPython.display import Image as Shown
        from IPython.display import display

        display(Shown(data=data.getvalue(), format="png"))
        return
    path = Path("out/lessons") / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.getvalue())
    print(f"picture: {path}")
