"""The toy world on disk: mp4 files and a manifest, as your own clips would be."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lite_sora.data.clip import Clip, write_manifest
from lite_sora.data.video import write_video
from lite_sora.toy.sentences import captions
from lite_sora.toy.world import CORNERS, draw, random_scene

VERSION = 2  # of what is drawn, said and written: raise it with every change, so that an old world is written again


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

    Nothing is written if the manifest exists and was made with the same settings. A sixteenth of the clips shows
    held-out combinations (split "held-out"); the others are in split "train". The same seed gives the same files.
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
    settings = json.dumps(settings)
    if manifest.exists() and settings_file.exists() and settings_file.read_text(encoding="utf-8") == settings:
        return manifest
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    manifest.unlink(missing_ok=True)  # so that an interrupted rewrite is never mistaken for a finished one
    jobs = [(folder, index, CORNERS[corner], seed, frames, side, fps, index % 16 == 15) for index in range(clips)]
    with ThreadPoolExecutor() as pool:  # encoding releases Python's lock
        rows = list(tqdm(pool.map(_write_clip, jobs), desc="writing toy clips", total=clips, unit="clip"))
    settings_file.write_text(settings, encoding="utf-8")
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
