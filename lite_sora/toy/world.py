"""The toy world: coloured shapes that move over a plain background, small enough to learn on a laptop.

A scene is a list of *facts* (shape, colour, size, motion, speed, background). This module chooses and draws them.
sentences.py turns facts into captions and reads captions back; judge.py reads facts from frames alone, without any
learned part. So two questions have exact answers here: does the video show what the prompt says, and does the caption
say what the video shows? dataset.py writes clips to disk.
"""

import itertools
from dataclasses import dataclass, replace

import numpy as np

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
}
SHAPES = ("circle", "square", "triangle")
DIRECTIONS = {  # unit steps (x, y) in image coordinates: y grows downwards
    "right": (1, 0),
    "left": (-1, 0),
    "up": (0, -1),
    "down": (0, 1),
    "up-right": (1, -1),
    "up-left": (-1, -1),
    "down-right": (1, 1),
    "down-left": (-1, 1),
}
MOTIONS = (*DIRECTIONS, "still", "growing", "shrinking", "bouncing")
BACKGROUNDS = {"black": (0, 0, 0), "gray": (80, 80, 80), "white": (255, 255, 255)}
SIZES = {"small": (0.11, 0.14), "medium": (0.15, 0.18), "large": (0.19, 0.24)}  # half-width, in frame sides
SPEEDS = {"slowly": (0.25, 0.35), "quickly": (0.40, 0.55)}  # distance covered in one clip, in frame sides


@dataclass(frozen=True)
class Thing:
    """One moving shape. Words first, then the exact numbers behind them, in frame sides (0 to 1)."""

    shape: str
    colour: str
    motion: str
    size: str
    speed: str
    half_width: float  # of the box that the shape fills; a growing thing ends, a shrinking one starts, with it
    distance: float  # covered from the first frame to the last
    start: tuple[float, float]  # centre (x, y) of the box in the first frame

    @property
    def triple(self) -> tuple[str, str, str]:
        return self.shape, self.colour, self.motion

    def box(self, time: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Centre x, centre y and half-width of the box at each time (T,) in [0, 1]."""
        x, y = (np.full_like(time, position) for position in self.start)
        half_width = np.full_like(time, self.half_width)
        if self.motion in DIRECTIONS:
            step = np.array(DIRECTIONS[self.motion]) / np.linalg.norm(DIRECTIONS[self.motion])
            x, y = x + step[0] * self.distance * time, y + step[1] * self.distance * time
        elif self.motion == "bouncing":  # down to the floor and up again
            y = y + self.distance * (1 - np.abs(2 * time - 1))
        elif self.motion == "growing":
            half_width = half_width * (0.5 + 0.5 * time)
        elif self.motion == "shrinking":
            half_width = half_width * (1 - 0.5 * time)
        return x, y, half_width


@dataclass(frozen=True)
class Scene:
    """All the facts of one clip."""

    things: tuple[Thing, ...]
    background: str


@dataclass(frozen=True)
class Corner:
    """A part of the toy world to draw scenes from. The default is the simplest that still needs video: one large shape
    that moves right, left, up or down over black. `WORLD` is everything."""

    motions: tuple[str, ...] = ("right", "left", "up", "down")
    sizes: tuple[str, ...] = ("large",)
    backgrounds: tuple[str, ...] = ("black",)
    most_things: int = 1


WORLD = Corner(MOTIONS, tuple(SIZES), tuple(BACKGROUNDS), most_things=3)
CORNERS = {"default": Corner(), "world": WORLD}


def held_out(shape: str, colour: str, motion: str) -> bool:
    """Whether no training clip shows this combination: one in twelve, or one in nine of the default corner. Every pair
    (shape, colour), (shape, motion), (colour, motion) is still shown, so a model that composes gets these right."""
    return (2 * SHAPES.index(shape) + list(COLOURS).index(colour) + 5 * MOTIONS.index(motion)) % 12 == 7


def combinations(corner: Corner, unseen: bool) -> list[tuple[str, str, str]]:
    """All (shape, colour, motion) of a corner that are held out (`unseen`), or those that are shown in training."""
    triples = itertools.product(SHAPES, COLOURS, corner.motions)
    return [triple for triple in triples if held_out(*triple) == unseen]


# ---------------------------------------------------------------- facts → a scene


def random_thing(rng: np.random.Generator, corner: Corner, triple: tuple[str, str, str]) -> Thing:
    """A thing with the shape, colour and motion of `triple` and random other facts, which stays inside the frame."""
    shape, colour, motion = triple
    size, speed = rng.choice(corner.sizes), rng.choice(list(SPEEDS))
    half_width = rng.uniform(*SIZES[size])
    distance = rng.uniform(*SPEEDS[speed]) if motion in DIRECTIONS or motion == "bouncing" else 0.0
    distance = min(distance, 1 - 2 * half_width)  # as far as the frame has room
    thing = Thing(shape, colour, motion, str(size), str(speed), half_width, distance, (0.0, 0.0))
    x, y, half_widths = thing.box(np.linspace(0, 1, 65))  # its path from (0, 0), to choose a start that fits
    low = half_widths.max() - np.array([x.min(), y.min()])
    high = 1 - half_widths.max() - np.array([x.max(), y.max()])
    start = rng.uniform(low, np.maximum(low, high))
    return replace(thing, start=(float(start[0]), float(start[1])))


def random_scene(
    rng: np.random.Generator, corner: Corner = WORLD, unseen: bool = False, triple: tuple[str, str, str] | None = None
) -> Scene:
    """A scene of one to `corner.most_things` things that never touch and differ in colour.

    Their combinations are held-out ones with `unseen`, else those of the training set; or `triple` alone, if given.
    """
    triples = [triple] if triple else combinations(corner, unseen)
    count = 1 if triple else int(rng.integers(1, corner.most_things + 1))
    background = str(rng.choice(corner.backgrounds))
    things: list[Thing] = []
    for _ in range(200):  # rejection sampling: a thing that overlaps is drawn again, a crowded scene ends with fewer
        thing = random_thing(rng, corner, triples[rng.integers(len(triples))])
        if all(thing.colour != other.colour and _apart(thing, other) for other in things):
            things.append(thing)
        if len(things) == count:
            break
    return Scene(tuple(things), background)


def _apart(one: Thing, other: Thing, gap: float = 0.04) -> bool:
    time = np.linspace(0, 1, 33)
    (x1, y1, r1), (x2, y2, r2) = one.box(time), other.box(time)
    return bool(np.all(np.maximum(np.abs(x1 - x2), np.abs(y1 - y2)) > r1 + r2 + gap))


# ---------------------------------------------------------------- a scene → frames


def coverage(shape: str, x, y, half_width, side: int) -> np.ndarray:
    """The fraction of each pixel that a shape covers: (T, side, side), for boxes x, y, half_width (T,) in frame sides.

    Edges are anti-aliased: the signed distance to the edge in pixels, plus a half, clipped to [0, 1].
    """
    centres = np.arange(side) + 0.5
    x, y, r = (np.asarray(value, dtype=np.float64)[:, None, None] * side for value in (x, y, half_width))
    dx, dy = centres[None, None, :] - x, centres[None, :, None] - y
    if shape == "circle":
        inside = r - np.hypot(dx, dy)
    elif shape == "square":
        inside = r - np.maximum(np.abs(dx), np.abs(dy))
    else:  # triangle: apex at the top, base as wide as the box
        slope = (r + dy - 2 * np.abs(dx)) / np.sqrt(5)
        inside = np.minimum(slope, r - dy)
    return np.clip(inside + 0.5, 0, 1)


def draw(scene: Scene, frames: int = 8, side: int = 64) -> np.ndarray:
    """Draws a scene as uint8 frames (frames, side, side, 3)."""
    time = np.linspace(0, 1, frames)
    picture = np.broadcast_to(np.array(BACKGROUNDS[scene.background], float), (frames, side, side, 3))
    for thing in scene.things:
        cover = coverage(thing.shape, *thing.box(time), side)[..., None]
        picture = picture * (1 - cover) + cover * np.array(COLOURS[thing.colour], float)
    return np.round(picture).astype(np.uint8)
