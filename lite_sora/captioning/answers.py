"""What models answer."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """text without surrounding space; finished: False if it was cut off at the limit of tokens."""

    text: str
    finished: bool = True
