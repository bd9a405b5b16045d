"""How much does a clip move, and does the camera shake? Block matching in numpy, the search that video codecs use.

All speeds are in diagonals of the frame per second, so that a scene has nearly the same number at another size or frame
rate. The usual score, optical flow in pixels per frame, does not have this property.
"""

import numpy as np

from lite_sora.curation.picture import small_grey

STILL, WILD = 0.005, 0.5  # diagonals per second: below, a slide show; above, the picture is crossed in two seconds
SHAKY = 0.2  # as if each compared frame were displaced by about 1 % of the diagonal
RATE = 8.0  # frames a second that are compared: slow enough to see slow motion, fast enough to follow it
SHORT_SIDE = 48  # pixels of the frames that are compared
BLOCK = 8  # pixels, each way
FASTEST = 0.65  # diagonals per second that the search reaches, at rates down to `RATE` / 3
CLEAR = 2.0  # grey levels a pixel by which a shift must fit better than no shift: in flat blocks every shift fits


def velocity(frames: np.ndarray, fps: float) -> np.ndarray:
    """Velocity (y, x) of each block in diagonals per second, (pairs of frames, blocks, 2), for frames uint8
    (T, H, W, 3) sampled at `fps`, best at 8 or more.

    Each block of 8×8 pixels of the small, grey picture is searched for in the next one, an eighth of a second later."""
    step = max(1, round(fps / RATE))
    grey = np.stack([_small(frame) for frame in frames[::step]])  # (T, h, w)
    if len(grey) == 1:
        return np.zeros((1, 1, 2))
    diagonal, rate = np.hypot(*grey.shape[1:]), fps / step
    reach = int(np.ceil(FASTEST * diagonal * min(3 / RATE, 1 / rate)))  # pixels
    shifts = [_match(before, after, reach) for before, after in zip(grey[:-1], grey[1:], strict=True)]
    return np.stack(shifts) * rate / diagonal


def motion(velocity: np.ndarray) -> float:
    """Mean speed over the picture and over time, from `velocity`'s result.

    Flat blocks count as still, so a small thing on a plain background has a low score. Flicker (glitter, a cut) matches
    anywhere, and has a high one. Default: `STILL`, 0.005, to `WILD`, 0.5. A clip of one frame has 0.
    """
    return float(np.linalg.norm(velocity, axis=-1).mean())


def jitter(velocity: np.ndarray) -> float:
    """How abruptly the camera's speed changes, from one eighth of a second to the next; 0 for a still or a steady pan.

    The camera's velocity is the median over the blocks; jitter is the mean length of its change. A hand-held camera
    reverses its drift many times a second. Shaking much faster than 4 times a second is seen in part, and a thing that
    fills half of the picture counts as the camera. Default: at most
    `SHAKY`, 0.2.
    """
    camera = np.median(velocity, axis=1)  # (pairs, 2)
    return float(np.linalg.norm(np.diff(camera, axis=0), axis=-1).mean()) if len(camera) > 1 else 0.0


def _small(frame: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) → grey float (h, w), the shorter side 48 pixels, cut off evenly to whole blocks."""
    grey = small_grey(frame, SHORT_SIDE)
    top, left = grey.shape[0] % BLOCK // 2, grey.shape[1] % BLOCK // 2
    return grey[top : top + grey.shape[0] // BLOCK * BLOCK, left : left + grey.shape[1] // BLOCK * BLOCK]


def _match(before: np.ndarray, after: np.ndarray, reach: int) -> np.ndarray:
    """How far (y, x), in pixels, each block of `before` has moved in `after`: float (blocks, 2).

    Of all whole shifts up to `reach`, the one with the least mean absolute difference is chosen. The remaining fraction
    of a pixel is the least-squares solution of gradient · shift = -difference over the block (Lucas and Kanade 1981).
    """
    height, width = before.shape
    far, side = np.pad(after, reach, mode="edge"), 2 * reach + 1
    costs = np.empty((side, side, height // BLOCK * (width // BLOCK)), np.float32)
    for y in range(side):
        for x in range(side):
            costs[y, x] = _blocks(np.abs(far[y : y + height, x : x + width] - before)).mean((1, 2))
    costs[reach, reach] -= CLEAR
    y, x = np.unravel_index(costs.reshape(side * side, -1).argmin(0), (side, side))  # (blocks,) each

    top, left = np.divmod(np.arange(len(y)), width // BLOCK)
    found = np.lib.stride_tricks.sliding_window_view(far, (BLOCK, BLOCK))[top * BLOCK + y, left * BLOCK + x]
    difference = found - _blocks(before)  # (blocks, 8, 8)
    gradient = np.stack([_blocks(axis) for axis in np.gradient(before)])  # (2, blocks, 8, 8), along y and x
    square = np.einsum("anij,bnij->nab", gradient, gradient) + np.eye(2) * (BLOCK * CLEAR) ** 2  # flat blocks stay put
    rest = np.linalg.solve(square, -np.einsum("anij,nij->na", gradient, difference)[..., None])[..., 0]
    return np.stack([y, x], -1) - reach + rest.clip(-1, 1)


def _blocks(picture: np.ndarray) -> np.ndarray:
    """(h, w) → (blocks, 8, 8), row by row."""
    height, width = picture.shape
    tiles = picture.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK).swapaxes(1, 2)
    return tiles.reshape(-1, BLOCK, BLOCK)
