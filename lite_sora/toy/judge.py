"""Frames → facts: the judge of the toy world, without any learned part.

It looks for the palette's colours, re-draws each candidate shape to see which one fits, and follows the centre of mass.
"""

from dataclasses import dataclass

import numpy as np

from lite_sora.toy.world import COLOURS, coverage


@dataclass(frozen=True)
class Seen:
    """The facts that the judge reads of one thing. A word is "unclear" if nothing fits."""

    shape: str
    colour: str
    motion: str
    start: tuple[float, float]  # centre of mass in the first frame, in frame sides
    size: float  # square root of the mean area, in frame sides
    distance: float  # between the centres of mass of the first and the last frame, in frame sides

    @property
    def triple(self) -> tuple[str, str, str]:
        return self.shape, self.colour, self.motion


def judge(frames: np.ndarray) -> list[Seen]:
    """The things in uint8 frames (T, side, side, 3), T ≥ 2, the largest first. Raises ValueError for other shapes."""
    if len(frames) < 2 or frames.shape[1] != frames.shape[2]:
        raise ValueError(f"the judge needs square videos of two frames or more, not {frames.shape[:3]}")
    video = frames.astype(np.float64)
    border = np.concatenate([video[:, 0], video[:, -1], video[:, :, 0], video[:, :, -1]], axis=1)
    ground = np.median(border.reshape(-1, 3), axis=0)

    # Each pixel is ground + cover * (colour - ground) for one palette colour: take the colour with the least residual.
    toward = np.array(list(COLOURS.values()), float) - ground  # (K, 3)
    along, length2 = (video - ground) @ toward.T, np.maximum((toward**2).sum(1), 1)  # (T, H, W, K), (K,)
    cover = np.clip(along / length2, 0, 1)
    residual = cover * (cover * length2 - 2 * along)  # squared, minus the one at cover 0
    cover *= (residual.argmin(-1)[..., None] == np.arange(len(COLOURS))) & (cover > 0.2)

    seen = [_read(colour, cover[..., k]) for k, colour in enumerate(COLOURS) if cover[..., k].mean() > 0.008]
    return sorted(seen, key=lambda thing: -thing.size)


def _read(colour: str, cover: np.ndarray) -> Seen:
    """The facts of one thing, from the cover (T, side, side) of its colour."""
    side = cover.shape[-1]
    solid = _blur(_blur(cover > 0.5)) > 0  # pixels further away are a codec's fringe on the edge of another thing
    cover = cover * solid
    area = cover.sum((1, 2)) / side**2  # (T,) in frame sides squared
    weight = cover / np.maximum(cover.sum((1, 2), keepdims=True), 1e-9)
    position = (np.arange(side) + 0.5) / side
    centre = np.stack([(weight.sum(1) * position).sum(1), (weight.sum(2) * position).sum(1)], axis=1)  # (T, 2): x, y

    # Shape: re-draw each candidate with the measured area and centre of mass, and compare. Both are blurred
    # first: yuv420p halves the resolution of colour, which at 32 pixels is much of a small triangle.
    overlap, blurred = {}, _blur(cover)
    for shape, fill, drop in (("circle", np.pi / 4, 0.0), ("square", 1.0, 0.0), ("triangle", 0.5, 1 / 3)):
        half_width = np.sqrt(area / fill) / 2
        redrawn = _blur(coverage(shape, centre[:, 0], centre[:, 1] - drop * half_width, half_width, side))
        overlap[shape] = np.minimum(blurred, redrawn).sum() / (np.maximum(blurred, redrawn).sum() + 1e-9)
    shape = max(overlap, key=overlap.get)
    visible = np.all(area > 0.2 * np.median(area))
    if overlap[shape] < 0.75 or not visible:
        shape = "unclear"

    motion = _motion(centre, area) if visible else "unclear"
    distance = float(np.linalg.norm(centre[-1] - centre[0]))
    start = (float(centre[0, 0]), float(centre[0, 1]))
    return Seen(shape, colour, motion, start, float(np.sqrt(area.mean())), distance)


def _blur(cover: np.ndarray) -> np.ndarray:
    """Each pixel of (T, side, side) averaged with its eight neighbours."""
    side = cover.shape[-1]
    padded = np.pad(cover.astype(float), ((0, 0), (1, 1), (1, 1)))
    return sum(padded[:, y : y + side, x : x + side] for y in range(3) for x in range(3)) / 9


def _motion(centre: np.ndarray, area: np.ndarray) -> str:
    """The motion of a centre of mass (T, 2) and an area (T,), both in frame sides."""
    net = centre[-1] - centre[0]
    farthest = np.linalg.norm(centre - centre[0], axis=1).max()
    growth = np.sqrt(area[-1] / area[0])
    if farthest > 0.12 and np.linalg.norm(net) < 0.5 * farthest:
        return "bouncing"
    if np.linalg.norm(net) > 0.12:
        sector = round(np.arctan2(net[1], net[0]) / (np.pi / 4)) % 8
        return ("right", "down-right", "down", "down-left", "left", "up-left", "up", "up-right")[sector]
    if growth > 1.3:
        return "growing"
    if growth < 1 / 1.3:
        return "shrinking"
    return "still" if farthest < 0.08 else "unclear"
