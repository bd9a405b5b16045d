"""What the exercises of lesson 02 are checked by."""

from itertools import product

import numpy as np
from exercises import Wrong, begun
from pictures import show

from lite_sora.data.preview import sheet
from lite_sora.toy.judge import judge
from lite_sora.toy.world import COLOURS, CORNERS, SHAPES

MOTIONS = CORNERS["default"].motions
FACTS = ("shape", "colour", "motion")


def check_1(centre_of_mass) -> None:
    """With it, a judge knows where a thing is to a fraction of a pixel, and needs no network.
    It is the mean of the pixels' positions, weighted by how much of each pixel is covered. Sum over rows for x, and
    over columns for y; divide by the sum over both. `(np.arange(W) + 0.5) / W` are the positions in a row.
    """
    random = np.random.default_rng(0)
    for frames, height, width in ((1, 4, 4), (3, 5, 8), (2, 9, 6), (8, 32, 32)):
        cover = random.random((frames, height, width)) * (random.random((frames, height, width)) < 0.4)
        cover[:, 0, -1] = 1  # no frame is empty, and x and y differ
        found = np.asarray(begun(centre_of_mass(cover.copy())), dtype=float)
        expected = _centre(cover)
        if found.shape != expected.shape:
            raise Wrong(f"for a cover of {cover.shape} the shape is {expected.shape}, and not {found.shape}")
        if np.allclose(found, expected, rtol=0, atol=1e-9):
            continue
        size, half = np.array([width, height]), 0.5 / np.array([width, height])
        for other, mistake in (
            (expected[:, ::-1], "x and y are swapped: x goes along a row, which is the last axis of cover"),
            (expected - half, "it is half a pixel too low: the middle of the first pixel is at 0.5 / W, and not at 0"),
            (expected + half, "it is half a pixel too high: the middle of the first pixel is at 0.5 / W, not at 1 / W"),
            (expected * size, "that is in pixels: divide by W and by H, which may differ"),
            (expected * size - 0.5, "that is in pixels, counted from the middle of the first: in frame sides, please"),
            (expected * cover.sum((1, 2))[:, None], "divide by the sum of the cover: a mean has weights that add to 1"),
            (np.tile(_centre(cover.sum(0)[None]), (frames, 1)), "each frame has a centre of its own"),
        ):
            if np.allclose(found, other, rtol=0, atol=1e-9):
                raise Wrong(mistake)
        raise Wrong(f"right shape, wrong values: off by up to {np.abs(found - expected).max():.2g}")


def _centre(cover: np.ndarray) -> np.ndarray:
    """The slow way: (T, H, W) → (T, 2)."""
    frames, height, width = cover.shape
    centres = np.zeros((frames, 2))
    for frame, row, column in product(range(frames), range(height), range(width)):
        share = cover[frame, row, column] / cover[frame].sum()
        centres[frame] += share * np.array([(column + 0.5) / width, (row + 0.5) / height])
    return centres


def check_2(hold_out) -> None:
    """So a model can be asked for what it never saw, though it knows each pair of facts: does it put them together?
    Number the words: 0, 1, 2, … in each list. Add the three numbers, some of them multiplied, and hold out where the
    sum, divided by a number of about 9, leaves a certain rest. Then no two facts decide alone; try a few factors.
    """
    triples = list(product(SHAPES, COLOURS, MOTIONS))
    unseen = [triple for triple in triples if begun(hold_out(*triple))]
    if unseen != [triple for triple in triples if hold_out(*triple)]:
        raise Wrong("asked twice, it says different things: a clip of a held-out combination would slip into training")
    if len(unseen) in (0, len(triples)):
        raise Wrong(f"it holds out {'all' if unseen else 'none'} of the {len(triples)} combinations")
    for one, other in ((0, 1), (0, 2), (1, 2)):
        shown = {(triple[one], triple[other]) for triple in triples if triple not in unseen}
        for pair in sorted({(triple[one], triple[other]) for triple in triples} - shown):
            raise Wrong(
                f"no clip of training shows {pair[0]} and {pair[1]} together: a model that has never seen this "
                f"({FACTS[one]}, {FACTS[other]}) is not to be blamed for it"
            )
    if not 6 <= len(unseen) <= 10:
        raise Wrong(f"every pair is shown, but {len(unseen)} of {len(triples)} are held out: between 6 and 10, please")


def check_3(fooling) -> None:
    """Whoever knows a measure can please it. So look at videos too, and say what a measure does not look at.
    `_motion` compares the first and the last frame: the rest of the way only counts where it leads far off. Move a
    little to the left six times, and once far to the right. `coverage("circle", x, y, half_width, 32)[..., None] *
    [255, 0, 0]`, with arrays of 8 numbers each, makes frames of it; then `.astype(np.uint8)`.
    """
    frames = np.asarray(begun(fooling()))
    if frames.dtype != np.uint8 or frames.shape != (8, 32, 32, 3):
        raise Wrong(f"frames are uint8 (8, 32, 32, 3), and not {frames.dtype} {frames.shape}")
    things = judge(frames)
    if not things:
        raise Wrong("the judge sees nothing at all")
    if len(things) > 1:
        raise Wrong(f"the judge sees {len(things)} things: {', '.join(str(thing.triple) for thing in things)}")
    red = frames[..., 0] / 255.0
    lefts = int((np.diff(_centre(red)[:, 0]) < -0.005).sum())
    if things[0].triple != ("circle", "red", "right"):
        show(sheet([frames], [f"yours: {' '.join(things[0].triple)}"]), "02-fooling")
        raise Wrong(f"the judge is not fooled: it sees {things[0].triple}, and the circle goes left in {lefts} steps")
    if lefts < 5:
        raise Wrong(f"it goes left in {lefts} of 7 steps (by more than 0.005 of a frame side), and 5 are asked for")
