"""Captioners that say what a test wants, of the interface of lite_sora.captioning.models. As a program, a whole run:

python stand_in.py MANIFEST OUT [DIE_AT]: kills itself where the DIE_AT'th batch would be described
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lite_sora.captioning.answers import Answer
from lite_sora.captioning.caption import caption_manifest
from lite_sora.captioning.frames import FrameChoice
from lite_sora.captioning.request import Request


def brightness(clip: np.ndarray) -> Answer:
    """What is said of a clip: its shape, and how bright each frame is, roughly (a codec is in between)."""
    shades = " then ".join(str(round(frame.mean() / 10)) for frame in clip)
    return Answer(f"{len(clip)} frames of {clip.shape[2]} by {clip.shape[1]} pixels, as bright as {shades}.")


class Captioner:
    """Says `say(clip)` of each clip; of `say(clip, attempt)`, where it is asked again, the attempt is the seed."""

    def __init__(self, say: Callable = lambda clip, attempt: brightness(clip), takes: str = "video", name: str = "eye"):
        self.say, self.takes, self.name = say, takes, name
        self.batches: list[int] = []  # sizes of those that were described
        self.asked: list[tuple] = []  # (prompt, max_tokens, temperature, seed) of each

    def describe(self, clips, prompt, max_tokens=128, temperature=0.0, seed=0):
        if clips[0].any():  # not the black clip of `Request.check`
            self.batches.append(len(clips))
            self.asked.append((prompt, max_tokens, temperature, seed))
        return [self.say(clip, seed) for clip in clips]


class Writer:
    """A language model that answers with `say(request, attempt)`."""

    name = "pen"

    def __init__(self, say: Callable = lambda request, attempt: "In short, it is " + request.split()[-1]):
        self.say, self.requests = say, []

    def write(self, requests, max_tokens=256, temperature=0.0, seed=0):
        self.requests += requests
        return [Answer(self.say(request, seed)) for request in requests]


if __name__ == "__main__":
    manifest, out, *die_at = sys.argv[1:]
    captioner = Captioner()

    def say(clip, attempt):
        if die_at and len(captioner.batches) == int(die_at[0]):
            os.kill(os.getpid(), signal.SIGKILL)
        return brightness(clip)

    captioner.say = say
    outcome = caption_manifest(Request(captioner, "What?"), FrameChoice(2), Path(manifest), Path(out), batch=2)
    print("described", sum(captioner.batches), "outcome", outcome and outcome.captioned)
