"""Clips in, captions out: ask the model, look at what it says, and ask again where that is no caption.

A model that takes several frames at once sees the whole clip. One that takes single pictures describes each frame, and
a language model makes one caption of what it said.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lite_sora.captioning.answers import Answer, ModelError
from lite_sora.captioning.quality import badness, marks, usable, whole_sentences

if TYPE_CHECKING:  # they import torch
    from lite_sora.captioning.language import LanguageModel
    from lite_sora.captioning.models import Captioner

TEMPERATURE = 0.7  # of all attempts but the first, which takes the likeliest words


@dataclass(frozen=True)
class Asking:
    """Who is asked, and how."""

    captioner: "Captioner"
    prompt: str
    language: str = "en"
    max_tokens: int = 128
    retries: int = 2  # of an answer that is no caption
    summariser: "LanguageModel | None" = None  # makes one caption of those of single frames
    template: str = ""  # of its prompt

    @property
    def described(self) -> dict:
        """What a caption is kept with: the models and their prompts."""
        made_by = {"model": self.captioner.name, "prompt": self.prompt}
        if self.summariser:
            made_by["summary"] = {"model": self.summariser.name, "prompt": self.template}
        return made_by

    def check(self, frames: int) -> None:
        """Raises ModelError where these models cannot make one caption of so many frames. Tries it on a black clip."""
        takes, name = self.captioner.takes, self.captioner.name
        if takes == "image" and frames > 1 and not self.summariser:
            raise ModelError(f"{name} looks at one picture at a time: add --summarise MODEL, or choose --frames 1")
        if takes == "video" and self.summariser:
            raise ModelError(f"{name} sees all frames as one video, so there is nothing to summarise: drop --summarise")
        black = np.zeros((1 if self.summariser else frames, 64, 64, 3), np.uint8)
        try:
            self.captioner.describe([black], self.prompt, max_tokens=1)
            if self.summariser:
                self._summarise([["a black picture"]], [[0.0]], max_tokens=1)
        except ValueError as error:
            raise ModelError(str(error)) from error

    def captions(self, clips: list[np.ndarray], times: list[list[float]]) -> list[dict]:
        """For each clip, uint8 (T, H, W, 3), and its frames' times (T in seconds from its start): {"caption", "marks",
        and of a summary "frame_captions"}. Of several attempts the best, and of those as good the first.

        What was cut off in the middle of a sentence ends with the one before it. A summary is of those frames whose
        captions are usable, and empty where none is. Raises ValueError for clips that a model cannot take."""
        best: list[dict] = [{} for _ in clips]
        pending = list(range(len(clips)))
        for attempt in range(1 + self.retries):
            found = self._attempt([clips[i] for i in pending], [times[i] for i in pending], attempt)
            for i, caption in zip(pending, found, strict=True):
                if not best[i] or badness(caption["marks"]) < badness(best[i]["marks"]):
                    best[i] = caption
            pending = [i for i in pending if best[i]["marks"]]
            if not pending:
                break
        return best

    def _attempt(self, clips: list[np.ndarray], times: list[list[float]], attempt: int) -> list[dict]:
        if not self.summariser:
            return self._describe(clips, attempt)
        told = [self._describe([frame[None] for frame in frames], attempt) for frames in clips]
        used = [[usable(frame["marks"]) for frame in frames] for frames in told]
        texts = [_where([frame["caption"] for frame in frames], good) for frames, good in zip(told, used, strict=True)]
        seconds = [_where(some, good) for some, good in zip(times, used, strict=True)]
        answers = self._summarise(texts, seconds, self.max_tokens, attempt)
        return [
            self._judged(answer) | {"frame_captions": [frame["caption"] for frame in frames]}
            for frames, answer in zip(told, answers, strict=True)
        ]

    def _describe(self, clips: list[np.ndarray], attempt: int) -> list[dict]:
        temperature = TEMPERATURE if attempt else 0.0
        answers = self.captioner.describe(clips, self.prompt, self.max_tokens, temperature, seed=attempt)
        return [self._judged(answer) for answer in answers]

    def _summarise(self, texts: list[list[str]], times: list[list[float]], max_tokens: int, attempt: int = 0):
        from lite_sora.captioning.summary import summarise  # needs torch, and processes that only decode do not

        temperature = TEMPERATURE if attempt else 0.0
        return summarise(self.summariser, texts, times, self.template, max_tokens, temperature, seed=attempt)

    def _judged(self, answer: Answer) -> dict:
        found = marks(answer, self.language)
        return {"caption": whole_sentences(answer.text) if found == ["truncated"] else answer.text, "marks": found}


def _where(items: list, wanted: list[bool]) -> list:
    return [item for item, want in zip(items, wanted, strict=True) if want]
