"""Conditioning signals besides the caption: a number or a class of each clip, such as its speed, its amount of motion
or its aesthetic score (micro-conditioning, as in SDXL, 2307.01952, section 2.2; Open-Sora conditions on scores of its
curation). They are read from a clip's `stats`, and go by name all the way: data set, batch, model, `generate`.

A signal becomes one more token after the caption's words, and is added to the pooled caption, so that every denoiser
knows it. Where it is unknown, a learned embedding stands for it: guidance leaves signals out as it leaves out words.
"""

import math
from statistics import fmean, pstdev

import torch
from torch import Tensor, nn

from lite_sora.data.clip import Clip
from lite_sora.errors import UserError
from lite_sora.layers.blocks import TimeEmbedding
from lite_sora.seeds import seed_of, uniform
from lite_sora.text.encoder import Text


class SignalError(UserError):
    """A signal that a model or a data set has not; the message says which there are."""


def describe(names: list[str], clips: list[Clip]) -> dict[str, dict]:
    """What a model must know of its signals: {"speed": {"mean": …, "std": …}} of a number over the training clips,
    {"camera": {"classes": 4}} of classes 0 to 3, which are asked for as "camera:4". Raises SignalError."""
    found = {}
    for text in names:
        name, colon, classes = text.partition(":")
        if not name.isidentifier() or colon and not (classes.isdecimal() and int(classes) > 1):
            raise SignalError(f"--signals {text}: a name from the clips' stats, or name:classes, such as camera:4")
        values = [value for clip in clips if math.isfinite(value := clip.signal(name))]
        if not values:
            raise SignalError(f"--signals {text}: no training clip has a number {name!r} in its stats")
        found[name] = {"classes": int(classes)} if colon else {"mean": fmean(values), "std": pstdev(values) or 1.0}
        for value in values:
            check(name, value, found[name])
    return found


def check(name: str, value: float, signal: dict) -> None:
    """Raises SignalError for a value that is no class of a signal with classes."""
    classes = signal.get("classes")
    if classes and not math.isnan(value) and value not in range(classes):
        raise SignalError(f"signal {name}: {value:g} is not one of its classes, 0 to {classes - 1}")


def parse_signals(words: list[str] | None) -> dict[str, float] | None:
    """["speed=0.5"] of a command line → {"speed": 0.5}; None where there are none. Raises SignalError."""
    found = {}
    for word in words or []:
        name, _, value = word.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            raise SignalError(f"--signals {word}: write name=number, such as speed=0.5") from None
    return found or None


class SignalEncoder(nn.Module):
    def __init__(self, signals: dict[str, dict], width: int):
        """signals: as `describe` gives them."""
        super().__init__()
        self.signals = signals
        self.known = nn.ModuleDict(
            {
                name: nn.Embedding(signal["classes"], width) if "classes" in signal else TimeEmbedding(width, scale=100)
                for name, signal in signals.items()
            }
        )
        self.unknown = nn.ParameterDict({name: nn.Parameter(0.02 * torch.randn(width)) for name in signals})

    def forward(self, text: Text, values: dict[str, Tensor]) -> Text:
        """Text of B captions, with a token more for each signal. values: (B,) of each, NaN where it is unknown; what is
        left out is unknown. Without signals, whatever stands for the captions is returned as it is."""
        if not self.signals:
            return text
        tokens, mask, pooled = text.tokens, text.mask, text.pooled
        for name, signal in self.signals.items():
            value = values[name].to(pooled.device) if name in values else pooled.new_full((len(pooled),), math.nan)
            if "classes" in signal:
                embedded = self.known[name](value.nan_to_num().long())
            else:
                embedded = self.known[name]((value.nan_to_num() - signal["mean"]) / signal["std"])
            embedded = torch.where(value.isnan()[:, None], self.unknown[name], embedded)  # (B, D)
            tokens = torch.cat([tokens, embedded[:, None]], dim=1)
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
            pooled = pooled + embedded
        return Text(tokens, mask, pooled)

    def values(self, asked: dict[str, float], prompts: int) -> dict[str, Tensor]:
        """The same values for all prompts, (prompts,) of each signal. Raises SignalError for one that is not known."""
        for name, value in asked.items():
            if name not in self.signals:
                raise SignalError(
                    f"signal {name}: this model is conditioned on {', '.join(self.signals) or 'no signal'}"
                )
            check(name, value, self.signals[name])
        return {name: torch.full((prompts,), float(value)) for name, value in asked.items()}


def drop(signals: dict[str, Tensor], captions: list[str], seeds: list[int], fraction: float) -> dict[str, Tensor]:
    """A batch's signals, each unknown for a `fraction` of the samples, and for those whose caption is emptied: so a
    model learns to do without any of them, and guidance has its null condition."""
    emptied, kept = torch.tensor([not caption for caption in captions]), {}
    for name, values in signals.items():
        dropped = uniform([seed_of(seed, "dropout", name) for seed in seeds]) < fraction
        kept[name] = values.masked_fill(dropped | emptied, math.nan)
    return kept
