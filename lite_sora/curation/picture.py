"""Is the picture itself good? Brightness, sharpness and black bars, measured with numpy alone.

Thresholds belong to the recipe; those here are its defaults.
"""

import numpy as np
from PIL import Image

DARK, BRIGHT = 20.0, 200.0  # mean luma; DataFlow-MM takes 20 and 140, but bright footage that is fine reaches 190
BLURRED = 100.0  # variance of the Laplacian below which a picture is soft; published reports keep 200 to 2000
BLACK = 24  # luma: bars are 0 when encoded well, and a little more where compression rings
SHORT_SIDE = 256  # pixels at which blur is measured


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
    are enlarged, and rightly count as soft. Plain pictures (sky, fog, cartoons) count as soft too, and noise as
    sharp.
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
