"""What encodes the prompts of published networks: class labels, or CLIP's tokens (2103.00020) as they are."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lite_sora.errors import UserError
from lite_sora.published.uvit import CONTEXT
from lite_sora.text.encoder import token_ids
from lite_sora.text.pretrained import PretrainedText, TextError


class PromptError(UserError):
    """A prompt that a model cannot take; the message says what it can."""


class ClassLabels(nn.Module):
    """The text encoder of a model of classes (ImageNet's): prompts are class ids, and "" is "no class"."""

    def __init__(self, classes: int, null: bool = True):
        """classes: how many labels there are. null: whether the last of them stands for "no class"."""
        super().__init__()
        self.classes, self.null = classes, null

    def tokenize(self, prompts: list[str]) -> Tensor:
        """Labels (B,). Raises PromptError for a prompt that is not a class id, or ValueError for an empty one where
        there is no "no class"."""
        return torch.tensor([self._label(prompt.strip()) for prompt in prompts])

    def _label(self, prompt: str) -> int:
        known = self.classes - self.null
        if not prompt and self.null:
            return self.classes - 1
        if prompt.isdecimal() and int(prompt) < known:
            return int(prompt)
        if not prompt:
            raise ValueError('this model has no label for "no class": --guidance must be 1, and no prompt be empty')
        raise PromptError(f"the prompt {prompt!r} is not a class id; this model knows 0 to {known - 1}")

    def forward(self, labels: Tensor) -> Tensor:
        return labels


class ClipTokens(PretrainedText):
    """CLIP's last hidden states, of 77 tokens for each caption. Unlike those of `PretrainedText` they are not
    normalised, and the padding, which is CLIP's end token, is read like words: so the U-ViT was trained."""

    def __init__(self, name: str):
        """name: folder or hub id, of the published one openai/clip-vit-large-patch14. Raises TextError for a model that
        is not a CLIP, or reads fewer tokens."""
        super().__init__(name, CONTEXT)
        if self._class != "CLIPTextModel" or self.length < CONTEXT:
            raise TextError(f"{name} is not a CLIP of {CONTEXT} tokens, which this model reads")

    def tokenize(self, captions: list[str]) -> Tensor:
        """Token ids (B, 77)."""
        end = self.tokenizer.encode("").ids[-1]
        ids = token_ids(self.tokenizer, captions, padding=end)
        return F.pad(ids, (0, CONTEXT - ids.shape[1]), value=end)

    @torch.no_grad()
    def __call__(self, ids: Tensor) -> Tensor:
        """Tokens (B, 77, D) of token ids (B, 77), in float32."""
        with torch.autocast(ids.device.type, enabled=False):
            return self.model.to(ids.device)(input_ids=ids).last_hidden_state.float()
