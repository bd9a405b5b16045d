"""Logits → codes: temperature, top-k, top-p, and classifier-free guidance of a model that outputs probabilities.

All are functions of logits (B, codes); a code that may not be drawn has a logit of minus infinity.
"""

import torch
from torch import Tensor


def guided(logits: Tensor, negative: Tensor, scale: float) -> Tensor:
    """log p(code | negative) + scale * (log p(code | prompt) - log p(code | negative)), up to a constant: the same as
    classifier-free guidance of a score (2207.12598, eq. 6), since the score is the gradient of log p."""
    return torch.lerp(negative, logits, scale)


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Only the k most likely codes (and those that are just as likely as the last of them)."""
    least = logits.topk(min(k, logits.shape[-1])).values[..., -1:]
    return logits.masked_fill(logits < least, -torch.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Nucleus sampling (1904.09751): only the fewest codes that together have a probability of p or more."""
    ordered, order = logits.sort(descending=True)
    probabilities = ordered.softmax(-1)
    more_likely = probabilities.cumsum(-1) - probabilities  # what those before have together
    return torch.empty_like(logits).scatter(-1, order, ordered.masked_fill(more_likely >= p, -torch.inf))


def draw(
    logits: Tensor, chance: Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Tensor:
    """A code (B,) for each row of logits, decided by a uniform number on [0, 1), chance (B,).

    Temperature comes first, then top-k, then top-p of what is left; a temperature of 0 takes the most likely code.
    """
    if temperature == 0:
        return logits.argmax(-1)
    device, logits = logits.device, logits.cpu().double() / temperature  # Apple GPUs know no doubles
    if top_k is not None:
        logits = keep_top_k(logits, top_k)
    if top_p is not None:
        logits = keep_top_p(logits, top_p)
    reached = logits.softmax(-1).cumsum(-1)  # the cumulative distribution, (B, codes)
    return torch.searchsorted(reached, chance[:, None].to(reached) * reached[:, -1:], right=True)[:, 0].to(device)
