"""Is something laid over the picture: subtitles, titles, a logo, a watermark? Two heuristics that need no model.

Both look for edges that stay where they are while the picture behind them moves. They are cheap first sieves, not OCR:
each docstring says what is missed, and a recipe that must be sure should ask a trained detector.
"""

import numpy as np

from lite_sora.curation.picture import small_grey

SHORT_SIDE = 256  # pixels at which frames are looked at: give that or more, or small text is lost

TEXT = 0.015  # share of the picture; one line of subtitles is 0.02 to 0.04
RUN = 3  # frames for which text has to stay
STROKE = 40.0  # grey levels across the edge of a letter
LINE = 9, 33  # pixels, height and width of the window that a piece of a line of text fills
DENSE = 0.1  # share of that window that edges from dark to light cover, and as many from light to dark

MARKED = 0.15  # score
EDGE = 8.0  # grey levels across an edge; a watermark is faint
MARK = 32, 32  # pixels, the window that a logo, or a part of a watermark, fills


def text_area(frames: np.ndarray) -> float:
    """Share of the picture, 0 to 1, that lines of overlaid text cover, for frames uint8 (T, H, W, 3), best at two to
    eight a second: with fewer, a line of subtitles has gone before three frames have shown it.

    A line of letters is a dense row of strong vertical edges, from dark to light and back. Those that three frames have
    in one place are kept, so that edges which move with the scene fall out; where a window of 9×33 pixels (of a picture
    256 high) is dense in both kinds of edges, there is text. The mean over runs of three frames. Drop above `TEXT`,
    0.015. (Stable Video Diffusion, 2311.15127, drops above 0.07, with the boxes of a trained detector.)

    Missed: text on a ground of nearly its own brightness, letters below 8 pixels or above 30, text in columns, and text
    that moves or stays for less than three frames. Found though it is none: fences, shelves and lettering in the scene,
    where the camera stands still.
    """
    runs = np.array_split(frames, max(1, len(frames) // RUN))
    return float(np.mean([_text(run).mean() for run in runs]))


def _text(run: np.ndarray) -> np.ndarray:
    """Which windows hold text in all of a few frames: bool (h, w), less a margin."""
    across = np.stack([_gradient(frame)[0] for frame in run])  # (T, h, w)
    rising, falling = (_share(edges.all(0), *LINE) for edges in (across > STROKE, across < -STROKE))
    return np.minimum(rising, falling) > DENSE


def watermark(frames: np.ndarray) -> float:
    """How surely a logo or a watermark lies over the scene: 0 to 1, for frames uint8 (T, H, W, 3), best 16 or more.

    Behind a half-transparent mark the brightness changes with the scene, but the mark's own gradient is always there
    (Dekel et al., "On the effectiveness of visible watermarks", CVPR 2017). So an edge pixel whose gradient's mean over
    time exceeds its standard deviation stands still, and the others move; the score is

        (largest share of still pixels in a window of 1/8 of the short side) * max(0, 2 * share of edges that move - 1)

    Drop above `MARKED`, 0.15. Opaque logos, subtitles and dirt on the lens count alike.

    Missed: whatever lies over a shot in which half of the edges stand still, as from a tripod, since the scene then
    looks like an overlay: 0. Also marks that move, that are fainter than the scene's own edges on average, or that are
    so soft or so thin that they cover little of their window.
    """
    total = squares = strength = 0.0
    for frame in frames:
        gradient = _gradient(frame)  # (2, h, w)
        length = (gradient**2).sum(0)
        total, squares, strength = total + gradient, squares + length, strength + np.sqrt(length)
    steady = (total**2).sum(0) / len(frames) ** 2  # the squared length of the mean gradient, (h, w)
    still = (steady > EDGE**2) & (steady > squares / len(frames) - steady)  # the latter is the variance
    edges = strength / len(frames) > EDGE
    moving = (edges & ~still).sum() / max(1, edges.sum())
    return float(_share(still, *MARK).max() * max(0.0, 2 * moving - 1))


def _gradient(frame: np.ndarray) -> np.ndarray:
    """Differences of luma over two pixels, along x and along y, at 256 pixels: float (2, h, w), less the margin."""
    grey = small_grey(frame, SHORT_SIDE)
    return np.stack([grey[1:-1, 2:] - grey[1:-1, :-2], grey[2:, 1:-1] - grey[:-2, 1:-1]])


def _share(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """The share of true pixels in each window of height × width that lies inside bool (h, w)."""
    sums = np.pad(mask.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    return inside / (height * width)
