"""Clips in, captions out: the model is asked, its answer is checked, and it is asked again if that is not a caption.

A model that takes several frames at once sees the whole clip. One that takes single pictures describes each frame, and
a language model writes one caption from these descriptions.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lite_sora.captioning.answers import Answer
from lite_sora.captioning.quality import badness, marks, usable, whole_sentences
from lite_sora.storage.hub import ModelError

if TYPE_CHECKING:  # these import torch
    from lite_sora.captioning.language import LanguageModel
    from lite_sora.captioning.models import Captioner

TEMPERATURE = 0.7  # of all attempts but the first, which takes the likeliest words


@dataclass(frozen=True)
class Request:
    """The models that are asked, and their prompts."""

    captioner: "Captioner"
    prompt: str
    language: str = "en"
    max_tokens: int = 128
    retries: int = 2  # of an answer that is not a caption
    summariser: "LanguageModel | None" = None  # writes one caption from those of single frames
    template: str = ""  # its prompt

    @property
    def described(self) -> dict:
        """The models and their prompts, as they are saved with each caption."""
        made_by = {"model": self.captioner.name, "prompt": self.prompt}
        if self.summariser:
            made_by["summary"] = {"model": self.summariser.name, "prompt": self.template}
        return made_by

    def check(self, frames: int) -> None:
        """Raises ModelError if these models cannot write one caption of this many frames. Tries it on a black clip."""
        takes, name = self.captioner.takes, self.captioner.name
        if takes == "image" and frames > 1 and not self.summariser:
            raise ModelError(f"{name} takes one picture at a time: add --summarise MODEL, or choose --frames 1")
        if takes == "video" and self.summariser:
            raise ModelError(f"{name} sees all frames as one video, which needs no summary: remove --summarise")
        black = np.zeros((1 if self.summariser else frames, 64, 64, 3), np.uint8)
        try:
            self.captioner.describe([black], self.prompt, max_tokens=1)
            if self.summariser:
                self._summarise([["a black picture"]], [[0.0]], max_tokens=1)
        except ValueError as error:
            raise ModelError(str(error)) from error

    def captions(self, clips: list[np.ndarray], times: list[list[float]]) -> list[dict]:
        """For each clip, uint8 (T, H, W, 3), and its frames' times (T in seconds from its start): {"caption", "marks",
        and for a summary "frame_captions"}: the best of several attempts, the first of equally good ones.

        An answer that was cut off in the middle of a sentence ends with the sentence before it. A summary covers the
        frames whose captions are usable, and is empty if there are none. Raises ValueError for clips that a model
        cannot take."""
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
        captions = [self._describe([frame[None] for frame in frames], attempt) for frames in clips]
        texts, seconds = [], []  # of the frames whose captions are usable
        for frames, at in zip(captions, times, strict=True):
            good = [(frame["caption"], time) for frame, time in zip(frames, at, strict=True) if usable(frame["marks"])]
            texts.append([caption for caption, _ in good])
            seconds.append([time for _, time in good])
        answers = self._summarise(texts, seconds, self.max_tokens, attempt)
        return [
            self._judged(answer) | {"frame_captions": [frame["caption"] for frame in frames]}
            for frames, answer in zip(captions, answers, strict=True)
        ]

    def _describe(self, clips: list[np.ndarray], attempt: int) -> list[dict]:
        temperature = TEMPERATURE if attempt else 0.0
        answers = self.captioner.describe(clips, self.prompt, self.max_tokens, temperature, seed=attempt)
        return [self._judged(answer) for answer in answers]

    def _summarise(self, texts: list[list[str]], times: list[list[float]], max_tokens: int, attempt: int = 0):
        from lite_sora.captioning.summary import summarise  # needs torch, which the workers do not

        temperature = TEMPERATURE if attempt else 0.0
        return summarise(self.summariser, texts, times, self.template, max_tokens, temperature, seed=attempt)

    def _judged(self, answer: Answer) -> dict:
        found = marks(answer, self.language)
        return {"caption": whole_sentences(answer.text) if found == ["truncated"] else answer.text, "marks": found}
