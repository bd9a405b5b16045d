"""Small films for the tests of curation: smooth random pictures that a camera pans over."""

import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from PIL import Image

from lite_sora.data.video import write_video

FPS = 16
NAMES = ("a", "small", "broken", "b", "cut", "copy", "dark", "missing")


def film(seed: int, count: int = 40, height: int = 96, width: int = 128) -> np.ndarray:
    """uint8 frames (count, height, width, 3) of one shot: the camera moves right by 2 pixels of 128 a frame. The same
    seed shows the same at every size."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(40, 216, (12, 36, 3), dtype=np.uint8))
    wide = np.asarray(coarse.resize((3 * width, height), Image.Resampling.BICUBIC))
    shifts = [round(2 * i * width / 128) for i in range(count)]
    return np.stack([wide[:, shift : shift + width] for shift in shifts])


@cache
def _films() -> Path:
    folder = Path(mkdtemp())  # written once for all tests
    write_video(folder / "a.mp4", film(1), FPS)
    write_video(folder / "b.mp4", film(2), FPS)
    write_video(folder / "cut.mp4", np.concatenate([film(3), 255 - film(4)]), FPS)
    write_video(folder / "small.mp4", film(2, height=48, width=64), FPS, quality=24)
    write_video(folder / "dark.mp4", film(5) // 16, FPS)
    return folder


def write_films(folder: Path) -> Path:
    """Writes films and their manifest, which it returns. a, b and dark are one shot of 2.5 s each, cut is two; copy is
    a.mp4 by another name, small is b at half the size; broken is no video, and missing is not there."""
    for path in _films().iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "copy.mp4").write_bytes((folder / "a.mp4").read_bytes())
    (folder / "broken.mp4").write_text("404: not found", encoding="utf-8")
    lines = [json.dumps({"id": name, "video": f"{name}.mp4", "caption": f"film {name}"}) for name in NAMES]
    (folder / "in.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "in.jsonl"
