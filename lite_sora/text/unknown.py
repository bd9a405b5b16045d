"""Words that a model never saw: it cannot know what they mean."""

import warnings

from tokenizers import Tokenizer

from lite_sora.text.encoder import UNKNOWN


def unknown_words(tokenizer: Tokenizer, caption: str, unknown: str | None = UNKNOWN) -> list[str]:
    """The words of a caption that are not in the vocabulary, as written; `unknown`: the token that stands for them."""
    encoding = tokenizer.encode(caption, add_special_tokens=False)  # CLIP's end token is its unknown one as well
    return [caption[a:b] for (a, b), token in zip(encoding.offsets, encoding.tokens, strict=True) if token == unknown]


def warn_of_unknown_words(text, captions: list[str]) -> None:
    """Warns of each word that the tokenizer of `text`, a text encoder, does not know. Class labels have no tokenizer:
    a class is known, or an error."""
    if tokenizer := getattr(text, "tokenizer", None):
        for caption in captions:
            for word in unknown_words(tokenizer, caption, getattr(text, "unknown", UNKNOWN)):
                warnings.warn(f"the model never saw the word {word!r} (in the prompt {caption!r})", stacklevel=2)
