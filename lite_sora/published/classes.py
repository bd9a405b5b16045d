"""Class labels in place of captions."""

import torch
from torch import Tensor, nn


class ClassLabels(nn.Module):
    """The text encoder of a model of classes (ImageNet's): prompts are class ids, and "" is "no class"."""

    def __init__(self, classes: int, null: bool = True):
        """classes: how many labels there are. null: whether the last of them stands for "no class"."""
        super().__init__()
        self.classes, self.null = classes, null

    def tokenize(self, prompts: list[str]) -> Tensor:
        """Labels (B,). Raises ValueError for a prompt that is not a class id."""
        return torch.tensor([self._label(prompt.strip()) for prompt in prompts])

    def _label(self, prompt: str) -> int:
        known = self.classes - self.null
        if not prompt and self.null:
            return self.classes - 1
        if prompt.isdecimal() and int(prompt) < known:
            return int(prompt)
        without = "" if self.null else '; it has no label for "no class", so --guidance must be 1'
        raise ValueError(f"the prompt {prompt!r} is not a class id; this model knows 0 to {known - 1}{without}")

    def forward(self, labels: Tensor) -> Tensor:
        return labels
