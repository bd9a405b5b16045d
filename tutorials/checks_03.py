"""What the exercises of lesson 03 are checked by."""

from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from exercises import Wrong, begun
from PIL import Image, ImageDraw

from lite_sora.curation.duplicates import perceptual_hash
from lite_sora.curation.motion import motion, velocity
from lite_sora.curation.picture import text_area
from lite_sora.curation.splitting import cuts as package_cuts
from lite_sora.data.video import read_frames, write_video
from lite_sora.toy.world import Corner, draw, random_scene

MASK = 0x5555555555555555  # columns 1, 3, 5 and 7 of each row
CLIPS = {"good": 4, "red": 3, "frozen": 2, "text": 3}
RIGHT = {"good": 0, "red": 0, "frozen": 2, "text": 3}  # what is to be dropped of them


def check_1(cuts) -> None:
    """A whole film library is cut by these lines, and PySceneDetect's detectors differ only in what they compare.
    scores[0] belongs to frame 1. Keep the frame of the last cut (0 at first), go through the scores, and ask of each
    that is large enough whether it comes at least min_frames after that frame.
    """
    rng, films = np.random.default_rng(0), [(np.array([1.0, 30, 2, 40]), 27.0, 2)]  # the lesson's example comes first
    for _ in range(200):
        scores = (rng.exponential(8, rng.integers(0, 60)) * 2).round() / 2
        films.append((scores, float(rng.integers(5, 30)), int(rng.integers(1, 20))))
    for scores, threshold, least in films:
        found = [int(frame) for frame in begun(cuts(scores, threshold, least))]
        expected = package_cuts(scores, "content", threshold, least)
        if found == expected:
            continue
        above = np.flatnonzero(scores >= threshold) + 1
        if found in ([frame - 1 for frame in expected], _spaced(above - 1, 0, least)):
            raise Wrong(
                "each is a frame too early: scores[0] compares frame 1 with frame 0, so the new shot is frame 1"
            )
        if found == package_cuts(scores, "content", threshold + 1e-6, least):
            raise Wrong("a score equal to the threshold is a cut as well")
        if found == package_cuts(scores, "content", threshold, least + 1):
            raise Wrong(f"a shot of exactly min_frames = {least} frames is long enough")
        if found == [frame for frame in expected if len(scores) + 1 - frame >= least]:
            raise Wrong("the last shot may be shorter than min_frames: only what lies before a cut counts")
        if found == above.tolist():
            raise Wrong(f"every score above the threshold cuts; but a shot has at least min_frames = {least} frames")
        if found == [frame for frame, gap in zip(above, np.diff(above, prepend=0), strict=True) if gap >= least]:
            raise Wrong("the distance counts from the last cut that was kept, not from the last high score")
        if found == (above[:1].tolist() + _spaced(above[1:], above[0], least) if len(above) else []):
            raise Wrong("the first shot, too, has at least min_frames frames: count from frame 0")
        raise Wrong(f"for {len(scores)} scores, threshold {threshold:g}, min_frames {least}: {found}, not {expected}")


def _spaced(frames, last: int, least: int) -> list[int]:
    """Those at least `least` after the one before them that is kept."""
    kept = [int(last)]
    for frame in frames:
        if frame - kept[-1] >= least:
            kept.append(int(frame))
    return kept[1:]


def check_2(mirrored) -> None:
    """So mirrored copies are found as any others, at the price of a second hash for each clip.
    Make a whole number of the digits (int(digits, 16)), and flip bits by ^ with a number that has a 1 in columns 1, 3,
    5 and 7 of each byte: 01010101, which is 55 in hexadecimal. f"{number:016x}" makes 16 digits of a number again.
    """
    rng = np.random.default_rng(0)
    for _ in range(8):
        frame = draw(random_scene(rng, Corner(backgrounds=("gray",))), 2, 64)[:1]
        digits, expected = (perceptual_hash(frames)[0][:16] for frames in (frame, frame[:, :, ::-1]))
        if digits == "0" * 16:  # too plain
            continue
        found = begun(mirrored(digits))
        if not isinstance(found, str) or len(found) != 16:
            raise Wrong(f'it returns {found!r}, not 16 hexadecimal digits: f"{{number:016x}}"')
        number, bits = int(found, 16), int(digits, 16)
        if number == bits ^ MASK:
            continue
        if number == bits:
            raise Wrong("that is the hash of the frame itself")
        if number == bits ^ MASK << 1:
            raise Wrong("columns 0, 2, 4 and 6 are flipped: the first of a byte's bits, from the left, is column 0")
        each_row = np.packbits(np.unpackbits(np.frombuffer(bytes.fromhex(digits), np.uint8)).reshape(8, 8)[:, ::-1])
        if found in (digits[::-1], each_row.tobytes().hex()) or f"{number:064b}" == f"{bits:064b}"[::-1]:
            raise Wrong("the order is reversed; but waves stay in their columns, and only some change sign")
        if number == bits ^ 0x00FF00FF00FF00FF:
            raise Wrong("that is the frame upside down: every second row is flipped, not every second column")
        if number == bits ^ MASK >> 56:
            raise Wrong("only the last row is flipped, not all 8 of them: an 0x55 for each byte")
        if number == bits ^ (1 << 64) - 1:
            raise Wrong("all bits are flipped: waves of columns 0, 2, 4 and 6 look the same in a mirror")
        away = (number ^ int(expected, 16)).bit_count()
        raise Wrong(f"right shape, wrong values: {away} bits differ from the hash of the mirrored frame")
    if (found := mirrored("5" * 16)) != "0" * 16:
        raise Wrong(f'for "{"5" * 16}" it returns {found!r}: zeros at the front belong to the hash, f"{{number:016x}}"')


def check_3(limits) -> None:
    """This is how limits are chosen for real footage too: some clips sorted by hand, the numbers drawn, then a line.
    Between the frozen and the red films is a wide gap: take a number in its middle. So is between no text and little
    text.
    """
    found = begun(limits())
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise Wrong("it returns two numbers: the least motion, and the most text area")
    slowest, most = map(float, found)
    dropped, other_way = _dropped(slowest, most), _dropped(most, slowest)
    if dropped == RIGHT:
        return
    if other_way == RIGHT:
        raise Wrong("the first is the least motion, and the second the most text: the other way round, yours are right")
    if dropped["good"]:
        raise Wrong(f"{dropped['good']} of {CLIPS['good']} good films are dropped: a limit is too strict")
    if dropped["red"]:
        raise Wrong(f"{dropped['red']} of {CLIPS['red']} red films are dropped: `motion` sees little of them, but some")
    if dropped["frozen"] < CLIPS["frozen"]:
        raise Wrong("frozen films are kept: recompressed, they move a tiny bit, so the least motion is more than that")
    missed = CLIPS["text"] - dropped["text"]
    raise Wrong(f"{missed} of {CLIPS['text']} films with text are kept: lower the most text")


def _dropped(slowest: float, most: float) -> dict[str, int]:
    """How many of each kind of new footage the two limits drop."""
    return {kind: sum(m < slowest or t > most for m, t in values) for kind, values in new_footage().items()}


@lru_cache(1)
def new_footage() -> dict[str, list[tuple[float, float]]]:
    """(motion, text area) of new films of each kind, as mp4 gives them back."""
    rng, measured = np.random.default_rng(1), {}
    with TemporaryDirectory() as folder:
        for kind, count in CLIPS.items():
            measured[kind] = []
            for _ in range(count):
                colour = "red" if kind == "red" else str(rng.choice(["green", "blue", "yellow", "cyan", "magenta"]))
                triple = str(rng.choice(["circle", "square", "triangle"])), colour, str(rng.choice(["left", "right"]))
                corner = Corner(sizes=("small", "medium"), backgrounds=("gray",))
                frames = draw(random_scene(rng, corner, triple=triple), 24, 128)
                if kind == "frozen":
                    frames = frames[:1].repeat(24, axis=0)
                if kind == "text":
                    layer = Image.new("1", (128, 128))
                    ImageDraw.Draw(layer).text((6, 108), "18:30", 1, font_size=9)
                    frames[:, np.asarray(layer)] = 255
                write_video(Path(folder) / "new.mp4", frames, fps=12)
                frames = read_frames(Path(folder) / "new.mp4", [(i + 0.5) / 8 for i in range(16)], 128, 128)
                measured[kind].append((motion(velocity(frames, 8)), text_area(frames)))
    return measured
