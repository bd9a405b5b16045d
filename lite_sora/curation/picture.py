"""Is the picture good, and does something lie over it? Brightness, sharpness, black bars, text and watermarks, measured
with numpy alone. Thresholds belong to the recipe; those here are its defaults.

Text and watermarks are edges that stay in place while the picture behind them moves. These two are cheap first filters,
not OCR: a recipe that must be sure needs a trained detector.
"""

import numpy as np
from PIL import Image

DARK, BRIGHT = 20.0, 200.0  # mean luma; DataFlow-MM takes 20 and 140, but bright footage that is fine reaches 190
BLURRED = 100.0  # variance of the Laplacian below which a picture is soft; published reports keep 200 to 2000
BLACK = 24  # luma: bars are 0 when encoded well, and a little more where compression rings
SHORT_SIDE = 256  # pixels that frames are scaled to: give that or more, or they count as soft and small text is lost

TEXT = 0.015  # fraction of the picture; one line of subtitles is 0.02 to 0.04
RUN = 3  # frames for which text has to stay
STROKE = 40.0  # grey levels across the edge of a letter
LINE = 9, 33  # pixels, height and width of the window that part of a line of text fills
DENSE = 0.1  # fraction of that window in edges from dark to light, and the same from light to dark

MARKED = 0.15  # score
EDGE = 8.0  # grey levels across an edge; a watermark is faint
MARK = 32, 32  # pixels, the window that a logo, or a part of a watermark, fills


def luma(frames: np.ndarray) -> np.ndarray:
    """uint8 RGB (..., 3) → float luma (...) in 0..255: 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601)."""
    return frames @ np.array([0.299, 0.587, 0.114], np.float32)


def small_grey(frame: np.ndarray, short_side: int) -> np.ndarray:
    """The luma of a frame uint8 (H, W, 3), scaled to `short_side` pixels: float (h, w) in 0..255."""
    height, width = frame.shape[:2]
    scale = short_side / min(height, width)
    size = round(width * scale), round(height * scale)
    return np.asarray(Image.fromarray(luma(frame)).resize(size, Image.Resampling.BILINEAR))  # antialiased


def luminance(frames: np.ndarray) -> float:
    """Mean luma, 0..255, of frames uint8 (T, H, W, 3). Default: `DARK` to `BRIGHT`, 20 to 200."""
    return float(luma(frames.mean((0, 1, 2))))  # luma is linear: that of the mean colour is the mean


def blur(frames: np.ndarray) -> float:
    """Sharpness: the variance of the Laplacian of the luma, its median over frames. Default: from `BLURRED`, 100.

    Pech-Pacheco et al. 2000 ("Diatom autofocusing in brightfield microscopy"). The Laplacian depends on the size of the
    picture, so each frame is first scaled to a short side of 256 pixels. Give frames of that size or more: smaller ones
    are enlarged, and rightly count as soft. So do plain pictures (sky, fog, cartoons); noise counts as sharp.
    """
    variances = []
    for frame in frames:
        grey = small_grey(frame, SHORT_SIDE)
        neighbours = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
        variances.append((neighbours - 4 * grey[1:-1, 1:-1]).var())
    return float(np.median(variances))


def borders(frames: np.ndarray) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of the picture inside black bars, in fractions of the frame: (0, 0, 1, 1) for none.

    A row or column belongs to a bar if it is outside every pixel that is ever brighter than `BLACK`, 24. So give frames
    of the whole clip: a night scene may be dark at the edge for a while. A logo or subtitles inside the bar hide it. A
    clip that is black everywhere has no bars.
    """
    bright = luma(frames.max(0)) > BLACK  # (H, W), of the brightest that each pixel ever is
    rows, columns = np.flatnonzero(bright.any(1)), np.flatnonzero(bright.any(0))
    if not len(rows):
        return 0.0, 0.0, 1.0, 1.0
    height, width = bright.shape
    box = columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height
    return tuple(map(float, box))


def text_area(frames: np.ndarray) -> float:
    """Fraction of the picture, 0 to 1, that lines of overlaid text cover, for frames uint8 (T, H, W, 3), best at two to
    eight a second: with fewer, a line of subtitles disappears before three frames have shown it.

    A line of letters is a dense row of strong vertical edges, from dark to light and back. Edges that three frames have
    in the same place are kept, so that edges of a moving scene drop out. A window of 9×33 pixels (of a picture 256
    high) that is dense in both kinds of edges counts as text. The result is the mean over runs of three frames.
    Default: at most `TEXT`, 0.015. (Stable Video Diffusion, 2311.15127, drops above 0.07 of a detector's boxes.)

    Missed: text on a background of nearly its own brightness, letters below 8 pixels or above 30, text in columns, and
    text that moves or stays for less than three frames. Found by mistake: fences, shelves and lettering in the scene
    while the camera stands still.
    """
    areas = []
    for run in np.array_split(frames, max(1, len(frames) // RUN)):
        across = np.stack([_gradient(frame)[0] for frame in run])  # (T, h, w)
        rising, falling = (_fraction(edges.all(0), *LINE) for edges in (across > STROKE, across < -STROKE))
        areas.append((np.minimum(rising, falling) > DENSE).mean())
    return float(np.mean(areas))


def watermark(frames: np.ndarray) -> float:
    """Score of a logo or a watermark over the scene: 0 to 1, for frames uint8 (T, H, W, 3), best 16 or more.

    Behind a half-transparent mark the brightness changes with the scene, but the mark's own gradient is always there
    (Dekel et al., "On the effectiveness of visible watermarks", CVPR 2017). So an edge pixel whose gradient's mean over
    time exceeds its standard deviation stands still, and the others move. With moving edges as a fraction, the score is

        (largest fraction of still pixels in a window of 1/8 of the short side) * max(0, 2 * moving edges - 1)

    Default: at most `MARKED`, 0.15. Opaque logos, subtitles and dirt on the lens count alike.

    Missed: marks over a shot in which half of the edges stand still, as from a tripod, since the scene then looks like
    an overlay (score 0). Also marks that move, that are fainter than the scene's edges on average, or so soft or thin
    that they cover little of their window.
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
    return float(_fraction(still, *MARK).max() * max(0.0, 2 * moving - 1))


def _gradient(frame: np.ndarray) -> np.ndarray:
    """Differences of luma over two pixels, along x and along y, at 256 pixels: float (2, h, w), without the margin."""
    grey = small_grey(frame, SHORT_SIDE)
    return np.stack([grey[1:-1, 2:] - grey[1:-1, :-2], grey[2:, 1:-1] - grey[:-2, 1:-1]])


def _fraction(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """The fraction of true pixels in each window of height × width inside bool (h, w)."""
    sums = np.pad(mask.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    return inside / (height * width)
