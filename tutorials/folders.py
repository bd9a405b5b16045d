"""Where lessons work: the model of lesson 1, which later ones use, and a folder of each lesson's own."""

import shutil
from pathlib import Path

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


def own_folder(lesson: str) -> Path:
    """runs/lesson-NN, empty, for what a lesson trains for itself alone. What it left there before is deleted."""
    folder = Path(f"runs/lesson-{lesson}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
