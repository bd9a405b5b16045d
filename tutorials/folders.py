"""Where lessons work: the model of lesson 1, which later ones use, and a folder of each lesson's own."""

import json
import shutil
from itertools import count
from pathlib import Path

from lite_sora.storage.checkpoint import CheckpointError, load_state
from lite_sora.training.denoiser import train
from lite_sora.training.parts import DenoiserSettings

FIRST_LIGHT = Path("runs/first-light")  # what lesson 1 trains


def toy_run() -> Path:
    """The folder of a trained toy model: lesson 1's, or that of `python train.py`. Where there is neither, it is
    trained now, which takes about four minutes on 2 cores."""
    for folder in (FIRST_LIGHT, Path("runs/toy")):
        if (folder / "adherence.json").exists():  # written at the end
            return folder
    print("there is no trained toy model yet; this takes a few minutes, once")
    return train(DenoiserSettings())


def how_far(folder: Path, watched: range) -> str:
    """How far a run is that wrote a line of facts.jsonl at each `watched` step: "done"; "begun", so that it can go on;
    or "new". What is neither, since it was cut too early or made in another way, is kept under another name."""
    try:
        seen = {json.loads(line)[0] for line in (folder / "facts.jsonl").read_text(encoding="utf-8").splitlines()}
    except (OSError, ValueError):  # there is none, or its last line was cut
        seen = set()
    if (folder / "adherence.json").exists() and seen >= {*watched}:  # the first is written at the end
        return "done"
    try:
        step = load_state(folder)["step"]
        if step < max(watched) and seen >= {each for each in watched if each <= step}:
            return "begun"
    except CheckpointError:
        pass
    if folder.exists():
        other = next(path for n in count(1) if not (path := folder.with_name(f"{folder.name}-{n}")).exists())
        print(f"{folder} cannot be used here: not all was written that this lesson looks at. It is {other} now")
        folder.rename(other)
    return "new"


def own_folder(lesson: str) -> Path:
    """runs/lesson-NN, empty, for what a lesson trains for itself alone. What it left there before is deleted."""
    folder = Path(f"runs/lesson-{lesson}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
