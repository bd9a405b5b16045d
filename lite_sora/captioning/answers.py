"""What models answer, and the error of one that cannot be used."""

from dataclasses import dataclass


class ModelError(ValueError):
    """A model that cannot be used; the message names it and says what to do."""


@dataclass(frozen=True)
class Answer:
    """text without surrounding space; finished: False where it was cut off at the limit of tokens."""

    text: str
    finished: bool = True
