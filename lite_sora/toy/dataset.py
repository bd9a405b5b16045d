"""The toy world on disk: mp4 files and a manifest, as your own clips would be."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lite_sora.data.clip import Clip, write_manifest
from lite_sora.data.video import write_video
from lite_sora.processes import Processes
from lite_sora.toy.sentences import captions
from lite_sora.toy.world import CORNERS, draw, random_scene

VERSION = 3  # of what is drawn, said and written: raise it with every change, so that an old world is written again


def toy_manifest(settings, processes: Processes) -> Path:
    """The manifest of the toy world that a run's settings ask for; the first process writes it if it is not there yet.
    Each world has a folder of its own, named after what differs from the default, so that no run rewrites another's.
    Its videos are twice as large as what is trained on, since yuv420p halves the resolution of colour."""
    frames, side = max(8, settings.frames), 2 * max(settings.height, settings.width)
    name = "toy" if settings.toy_corner == "default" else f"toy-{settings.toy_corner}"
    for value, usual, text in (
        (frames, 8, f"{frames}-frames"),
        (side, 64, f"{side}-pixels"),
        (settings.fps, 8, f"{settings.fps:g}-fps"),
        (settings.toy_clips, 2048, f"{settings.toy_clips}-clips"),
    ):
        name += "" if value == usual else f"-{text}"
    folder = Path("data") / name
    if processes.first:
        write_toy_dataset(folder, settings.toy_clips, settings.toy_corner, frames=frames, side=side, fps=settings.fps)
    processes.wait()
    return folder / "manifest.jsonl"


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
    stats = {"toy": facts, "speed": round(scene.things[0].distance, 4)}  # frame sides in one clip
    return Clip(f"toy-{index:06d}", name, sentences[0], captions=sentences, language="en", split=split, stats=stats)
