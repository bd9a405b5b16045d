"""A folder of generated videos. Its made.json says how each was made, so that none takes the place of another."""

from itertools import chain, count
from pathlib import Path

import numpy as np
from PIL import Image

from lite_sora.data.video import write_gif, write_video
from lite_sora.storage.runs import read_json, write_json

RECORD = "made.json"  # {name: how it was made}


def save_made(folder: Path, name: str, frames: np.ndarray, fps: float, how: dict) -> str:
    """Writes uint8 frames (T, H, W, 3) as NAME.mp4 and NAME.gif, or as NAME.png where there is one; returns what was
    written. What was made in the same way is written again; where a video that was made in another way has the name,
    this one's gets a number. `how` is for JSON: the run, the prompt, the seed and every setting."""
    record = read_json(folder / RECORD) if (folder / RECORD).exists() else {}
    for unique in chain([name], (f"{name}-{number}" for number in count(2))):
        if record.get(unique) == how or not any((folder / f"{unique}{kind}").exists() for kind in (".mp4", ".png")):
            break
    write_json(folder / RECORD, record | {unique: how})
    if len(frames) == 1:
        Image.fromarray(frames[0]).save(folder / f"{unique}.png")
        return f"{folder / unique}.png"
    write_video(folder / f"{unique}.mp4", frames, fps)
    write_gif(folder / f"{unique}.gif", frames, fps)
    return f"{folder / unique}.mp4 and .gif"
