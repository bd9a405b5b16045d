"""The captions of a clip's frames → one caption of the clip, written by a language model.

An image captioner sees frames one by one and no motion. What moves, and where to, is in the differences between its
captions, so the language model is given their times.
"""

from lite_sora.captioning.answers import Answer
from lite_sora.captioning.language import LanguageModel
from lite_sora.captioning.prompts import fill


def summarise(
    model: LanguageModel,
    frame_captions: list[list[str]],
    times: list[list[float]],
    template: str,
    max_tokens: int = 256,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[Answer]:
    """One caption for each of B clips, from the captions of its frames and their times in seconds.

    `{captions}` in the template becomes lines like "0.5 s: a dog sits". Frames without a caption are left out; a clip
    with none gets an empty answer without a request, since the model would invent something.
    """
    lists = [_lines(captions, at) for captions, at in zip(frame_captions, times, strict=True)]
    requests = [fill(template, captions=lines) for lines in lists if lines]
    answers = iter(model.write(requests, max_tokens, temperature, seed))
    return [next(answers) if lines else Answer("") for lines in lists]


def _lines(captions: list[str], times: list[float]) -> str:
    """One line a frame."""
    pairs = zip(captions, times, strict=True)
    return "\n".join(f"{time:.1f} s: {' '.join(caption.split())}" for caption, time in pairs if caption.strip())
