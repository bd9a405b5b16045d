"""Clips in, captions out: the model is asked, its answer is checked, and it is asked again if that is not a caption.
A model that takes several frames at once sees the whole clip. One that takes single pictures describes each frame and
sees no motion. What moves, and where to, is in the differences between these descriptions, so a language model is given
them with their times and writes one caption."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lite_sora.captioning.answers import Answer, badness, marks, usable, whole_sentences
from lite_sora.storage.hub import ModelError

if TYPE_CHECKING:  # these import torch
    from lite_sora.captioning.language import LanguageModel
    from lite_sora.captioning.models import Captioner

FOLDER = Path(__file__).parent / "prompts"  # NAME.LANGUAGE.txt, which a person can edit
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
                summarise(self.summariser, [["a black picture"]], [[0.0]], self.template, max_tokens=1)
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
                best[i] = min(best[i] or caption, caption, key=lambda one: badness(one["marks"]))
            pending = [i for i in pending if best[i]["marks"]]
            if not pending:
                break
        return best

    def _attempt(self, clips: list[np.ndarray], times: list[list[float]], attempt: int) -> list[dict]:
        how = {"max_tokens": self.max_tokens, "temperature": TEMPERATURE if attempt else 0.0, "seed": attempt}

        def describe(clips: list[np.ndarray]) -> list[dict]:
            return [self._judged(answer) for answer in self.captioner.describe(clips, self.prompt, **how)]

        if not self.summariser:
            return describe(clips)
        described = [describe([frame[None] for frame in frames]) for frames in clips]
        texts = [[frame["caption"] if usable(frame["marks"]) else "" for frame in frames] for frames in described]
        summaries = summarise(self.summariser, texts, times, self.template, **how)
        return [
            self._judged(answer) | {"frame_captions": [frame["caption"] for frame in frames]}
            for frames, answer in zip(described, summaries, strict=True)
        ]

    def _judged(self, answer: Answer) -> dict:
        found = marks(answer, self.language)
        return {"caption": whole_sentences(answer.text) if found == ["truncated"] else answer.text, "marks": found}


def summarise(
    model: "LanguageModel", frame_captions: list[list[str]], times: list[list[float]], template: str, **how
) -> list[Answer]:
    """One caption for each of B clips, from the captions of its frames and their times in seconds. how: see
    `LanguageModel.write`.

    `{captions}` in the template becomes lines like "0.5 s: a dog sits". Frames without a caption are left out; a clip
    with none gets an empty answer without a request, since the model would invent something."""
    lists = []  # the lines of each clip
    for captions, seconds in zip(frame_captions, times, strict=True):
        pairs = zip(captions, seconds, strict=True)
        lists.append("\n".join(f"{time:.1f} s: {' '.join(text.split())}" for text, time in pairs if text.strip()))
    answers = iter(model.write([fill(template, captions=lines) for lines in lists if lines], **how))
    return [next(answers) if lines else Answer("") for lines in lists]


def read_prompt(name_or_path: str, language: str = "en") -> str:
    """The prompt of this name ("video", "image", "summary", "upsample", …) in a language ("en", "zh"), or the text of
    a file. Raises ValueError if there is neither, or the file is empty or not UTF-8."""
    path = FOLDER / f"{name_or_path}.{language}.txt"
    if not path.is_file():
        path = Path(name_or_path)
    if not path.is_file():
        names = sorted(known.name.removesuffix(f".{language}.txt") for known in FOLDER.glob(f"*.{language}.txt"))
        known = f"the prompts in {language!r} are {', '.join(names)}" if names else f"there are none in {language!r}"
        raise ValueError(f"prompt {name_or_path}: there is no such file, and {known}")
    try:
        text = path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise ValueError(f"prompt {path}: not a text file in UTF-8") from None
    if not text:
        raise ValueError(f"prompt {path}: the file is empty")
    return text


def fill(template: str, **parts: str) -> str:
    """The template with each {name} replaced by that part; other braces stay. Raises ValueError if a name is missing,
    since the model would never see that part."""
    for name in parts:
        if f"{{{name}}}" not in template:
            raise ValueError(f"the prompt has no {{{name}}} for the {name}; it begins {template[:60]!r}")
    for name, part in parts.items():
        template = template.replace(f"{{{name}}}", part)
    return template
