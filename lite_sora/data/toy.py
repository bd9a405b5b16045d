"""The toy world: coloured shapes that move over a plain background, small enough to learn on a laptop.

Everything starts from *facts* (shape, colour, size, motion, speed, background). `draw` turns facts into frames,
`captions` turns them into sentences, and `judge` reads shape, colour and motion back from frames alone, without
any learned part: it looks for the palette's colours and re-draws each candidate shape to see which one fits.
So "does the video show what the prompt said?" has an exact answer here; and since `read_caption` reads sentences back,
so has "does the caption say what the video shows?".
"""

import itertools
import json
import operator
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lite_sora.data.clip import Clip, write_manifest
from lite_sora.data.video import write_video

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
VERSION = (
    2  # of what is drawn, said and written: raise it with every change, so that an old world on disk is written anew
)


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
    """A part of the toy world to draw scenes from. The default is the simplest one that is still a video lesson:
    one large shape that moves right, left, up or down over black. `WORLD` is everything."""

    motions: tuple[str, ...] = ("right", "left", "up", "down")
    sizes: tuple[str, ...] = ("large",)
    backgrounds: tuple[str, ...] = ("black",)
    most_things: int = 1


WORLD = Corner(MOTIONS, tuple(SIZES), tuple(BACKGROUNDS), most_things=3)
CORNERS = {"default": Corner(), "world": WORLD}


def held_out(shape: str, colour: str, motion: str) -> bool:
    """True for the combinations that no training clip shows: one in twelve, or one in nine of the default corner. Every
    pair (shape, colour), (shape, motion), (colour, motion) is still seen, so a model that composes gets these right."""
    return (2 * SHAPES.index(shape) + list(COLOURS).index(colour) + 5 * MOTIONS.index(motion)) % 12 == 7


def combinations(corner: Corner, unseen: bool) -> list[tuple[str, str, str]]:
    """All (shape, colour, motion) of a corner that are held out (`unseen`) or shown in training."""
    triples = itertools.product(SHAPES, COLOURS, corner.motions)
    return [triple for triple in triples if held_out(*triple) == unseen]


# ---------------------------------------------------------------- facts → a scene


def random_thing(rng: np.random.Generator, corner: Corner, triple: tuple[str, str, str]) -> Thing:
    """Fills in the facts that `triple` (shape, colour, motion) leaves open; the thing stays inside the frame."""
    shape, colour, motion = triple
    size, speed = rng.choice(corner.sizes), rng.choice(list(SPEEDS))
    half_width = rng.uniform(*SIZES[size])
    distance = rng.uniform(*SPEEDS[speed]) if motion in DIRECTIONS or motion == "bouncing" else 0.0
    distance = min(distance, 1 - 2 * half_width)  # as far as the frame has room
    thing = Thing(shape, colour, motion, str(size), str(speed), half_width, distance, (0.0, 0.0))
    x, y, half_widths = thing.box(np.linspace(0, 1, 65))  # where it goes from (0, 0); then choose a start that fits
    low = half_widths.max() - np.array([x.min(), y.min()])
    high = 1 - half_widths.max() - np.array([x.max(), y.max()])
    start = rng.uniform(low, np.maximum(low, high))
    return replace(thing, start=(float(start[0]), float(start[1])))


def random_scene(
    rng: np.random.Generator, corner: Corner = WORLD, unseen: bool = False, triple: tuple[str, str, str] | None = None
) -> Scene:
    """A scene of one to `corner.most_things` things that never touch, each of another colour.

    Only held-out combinations with `unseen`, else only those of the training set; exactly `triple` if it is given.
    """
    triples = [triple] if triple else combinations(corner, unseen)
    count = 1 if triple else int(rng.integers(1, corner.most_things + 1))
    background = str(rng.choice(corner.backgrounds))
    things: list[Thing] = []
    for _ in range(200):  # rejection: a try that overlaps is thrown away, a crowded scene ends with fewer things
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
    """How much of each pixel a shape covers: (T, side, side) in [0, 1], from boxes x, y, half_width (T,) in sides.

    Anti-aliased by the signed distance to the edge, in pixels: inside minus half a pixel, clipped to [0, 1].
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
    """uint8 frames (frames, side, side, 3)."""
    time = np.linspace(0, 1, frames)
    picture = np.broadcast_to(np.array(BACKGROUNDS[scene.background], float), (frames, side, side, 3))
    for thing in scene.things:
        cover = coverage(thing.shape, *thing.box(time), side)[..., None]
        picture = picture * (1 - cover) + cover * np.array(COLOURS[thing.colour], float)
    return np.round(picture).astype(np.uint8)


# ---------------------------------------------------------------- a scene → captions

MOVES = {  # motion → (…ing form, finite form)
    "right": ("moving right", "moves to the right"),
    "left": ("moving left", "moves to the left"),
    "up": ("moving up", "moves upwards"),
    "down": ("moving down", "moves downwards"),
    "up-right": ("moving up and right", "moves up and to the right"),
    "up-left": ("moving up and left", "moves up and to the left"),
    "down-right": ("moving down and right", "moves down and to the right"),
    "down-left": ("moving down and left", "moves down and to the left"),
    "still": ("standing still", "stands still"),
    "growing": ("growing", "grows"),
    "shrinking": ("shrinking", "shrinks"),
    "bouncing": ("bouncing", "bounces"),
}


def prompt(shape: str, colour: str, motion: str) -> str:
    """The plainest caption of one thing: "a red circle moving right"."""
    return f"a {colour} {shape} {MOVES[motion][0]}"


def captions(scene: Scene) -> list[str]:
    """Several ways to say what a scene shows, the first in `prompt`'s words. Black backgrounds go without saying."""
    sentences: list[list[str]] = [[], [], [], []]
    for thing in scene.things:
        moving, moves = MOVES[thing.motion]
        how = f" {thing.speed}" if thing.distance else ""
        phrases = (
            prompt(*thing.triple),
            f"the {thing.colour} {thing.shape} {moves}",
            f"the {thing.shape} is {thing.colour} and {moving}",
            f"a {thing.size} {thing.colour} {thing.shape} {moving}{how}",
        )
        for sentence, phrase in zip(sentences, phrases, strict=True):
            sentence.append(phrase)
    where = "" if scene.background == "black" else f" on a {scene.background} background"
    return [" and ".join(phrases) + where * (index % 2) for index, phrases in enumerate(sentences)]


# ---------------------------------------------------------------- a caption → facts

Facts = tuple[str | None, str | None, str | None]  # shape, colour and motion of one thing; None is not said


def read_caption(caption: str) -> list[Facts]:
    """What a caption says of each thing, in its order: anything in the manner of `captions`, and a little more ("moves
    upward", "from left to right"). A word that the toy world does not have says nothing."""
    words = re.findall("[a-z]+", re.sub(r"\bfrom (the )?(left|right|top|bottom)\b", "", caption.lower()))
    nouns = [index for index, word in enumerate(words) if word.removesuffix("s") in SHAPES]
    # a thing's words begin with the article before its noun, and end where those of the next begin
    articles = [max((i for i in range(noun) if words[i] in ("a", "an", "the")), default=noun) for noun in nouns]
    ends = [0, *articles[1:], len(words)]
    things = [_facts(words[first:last]) for first, last in itertools.pairwise(ends)]
    return [thing for thing in things if any(thing)]


def _facts(words: list[str]) -> Facts:
    """The first of each fact in the words that are about one thing."""
    shape = next((word.removesuffix("s") for word in words if word.removesuffix("s") in SHAPES), None)
    colour = next((word for word in words if word in COLOURS), None)
    moves = next((index for index, word in enumerate(words) if word.startswith("mov")), 0)  # before it: a position
    ways = [re.sub("wards?$", "", word) for word in words[moves:]]
    ways = [{"top": "up", "bottom": "down"}.get(way, way) for way in ways]
    vertical = next((way for way in ways if way in ("up", "down")), None)
    horizontal = next((way for way in ways if way in ("left", "right")), None)
    stems = {"grow": "growing", "shrink": "shrinking", "shrunk": "shrinking", "bounc": "bouncing"}
    stems |= {"still": "still", "stationary": "still"}
    other = next((motion for word in words for stem, motion in stems.items() if word.startswith(stem)), None)
    return shape, colour, other or "-".join(filter(None, (vertical, horizontal))) or None


def facts_of(clip: Clip) -> list[tuple[str, str, str]]:
    """Shape, colour and motion of each thing in a clip of the toy world, as its manifest says; none of another clip."""
    try:
        return [(thing["shape"], thing["colour"], thing["motion"]) for thing in clip.stats["toy"]["things"]]
    except (KeyError, TypeError):
        return []


def mark_caption(caption: str, things: list[tuple[str, str, str]]) -> dict[str, int]:
    """How many facts of things, (shape, colour, motion) each, a caption has {"right", "wrong", "missing"}; what it says
    of things that are not there is wrong too."""
    said, marks = read_caption(caption), {"right": 0, "wrong": 0, "missing": 0}
    for thing in things:
        found = max(said, key=lambda one: sum(map(operator.eq, thing, one)), default=(None, None, None))
        said = [one for one in said if one is not found]
        for truth, fact in zip(thing, found, strict=True):
            marks["missing" if fact is None else "right" if fact == truth else "wrong"] += 1
    marks["wrong"] += sum(fact is not None for one in said for fact in one)
    return marks


# ---------------------------------------------------------------- frames → facts: the judge


@dataclass(frozen=True)
class Seen:
    """What the judge sees of one thing. A word is "unclear" where nothing fits."""

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
    """Reads the things back from uint8 frames (T, side, side, 3), T ≥ 2, the largest first."""
    if len(frames) < 2 or frames.shape[1] != frames.shape[2]:
        raise ValueError(f"the judge reads square videos of two frames or more, not {frames.shape[:3]}")
    video = frames.astype(np.float64)
    border = np.concatenate([video[:, 0], video[:, -1], video[:, :, 0], video[:, :, -1]], axis=1)
    ground = np.median(border.reshape(-1, 3), axis=0)

    # Each pixel is ground + cover * (colour - ground) for one palette colour: take the colour with the least residual.
    toward = np.array(list(COLOURS.values()), float) - ground  # (K, 3)
    along, length2 = (video - ground) @ toward.T, np.maximum((toward**2).sum(1), 1)  # (T, H, W, K), (K,)
    cover = np.clip(along / length2, 0, 1)
    residual = cover * (cover * length2 - 2 * along)  # squared, less what it is at cover 0
    cover *= (residual.argmin(-1)[..., None] == np.arange(len(COLOURS))) & (cover > 0.2)

    seen = [_read(colour, cover[..., k]) for k, colour in enumerate(COLOURS) if cover[..., k].mean() > 0.008]
    return sorted(seen, key=lambda thing: -thing.size)


def _read(colour: str, cover: np.ndarray) -> Seen:
    """One thing's facts from the cover (T, side, side) of its colour."""
    side = cover.shape[-1]
    solid = _blur(_blur(cover > 0.5)) > 0  # what is farther from any clear pixel is a codec's fringe on another's edge
    cover = cover * solid
    area = cover.sum((1, 2)) / side**2  # (T,) in frame sides squared
    weight = cover / np.maximum(cover.sum((1, 2), keepdims=True), 1e-9)
    position = (np.arange(side) + 0.5) / side
    centre = np.stack([(weight.sum(1) * position).sum(1), (weight.sum(2) * position).sum(1)], axis=1)  # (T, 2): x, y

    # Shape: re-draw each candidate with the area and the centre of mass that were seen, and compare. Both are blurred
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


# ---------------------------------------------------------------- the world on disk


def write_toy_dataset(
    folder: Path,
    clips: int = 2048,
    corner: str = "default",
    seed: int = 0,
    frames: int = 8,
    side: int = 64,
    fps: float = 8,
) -> Path:
    """Writes `clips` mp4 files and `manifest.jsonl` to `folder` and returns the manifest's path.

    Nothing is written when the manifest is there and was made with the same settings. A sixteenth of the clips shows
    held-out combinations (split "held-out"); the rest is split "train". The same seed gives the same files.
    """
    folder = Path(folder)
    manifest, settings_file = folder / "manifest.jsonl", folder / "settings.json"
    settings = {
        "version": VERSION,
        "clips": clips,
        "corner": asdict(CORNERS[corner]),
        "seed": seed,
        "frames": frames,
        "side": side,
        "fps": fps,
    }
    settings = json.loads(json.dumps(settings))  # tuples become lists, as they will be when read back
    if manifest.exists() and settings_file.exists() and json.loads(settings_file.read_text()) == settings:
        return manifest
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    manifest.unlink(missing_ok=True)  # so that an interrupted rewrite is never mistaken for a finished one
    jobs = [(folder, index, CORNERS[corner], seed, frames, side, fps, index % 16 == 15) for index in range(clips)]
    with ThreadPoolExecutor() as pool:  # encoding releases Python's lock
        rows = list(tqdm(pool.map(_write_clip, jobs), desc="writing toy clips", total=clips, unit="clip"))
    settings_file.write_text(json.dumps(settings))
    write_manifest(manifest, rows)
    return manifest


def _write_clip(job) -> Clip:
    folder, index, corner, seed, frames, side, fps, unseen = job
    scene = random_scene(np.random.default_rng([seed, index]), corner, unseen)
    name = f"videos/{index:06d}.mp4"
    write_video(folder / name, draw(scene, frames, side), fps)
    sentences = captions(scene)
    facts = {"things": [asdict(thing) for thing in scene.things], "background": scene.background}
    split = "held-out" if unseen else "train"
    return Clip(
        f"toy-{index:06d}", name, sentences[0], captions=sentences, language="en", split=split, stats={"toy": facts}
    )
