"""Clips of different shapes in one sequence (Patch n' Pack, 2307.06304): none is padded, and the layers that see one
token at a time see all of them at once. Attention, positions, time and caption are each clip's own.
"""

import torch
from torch import Tensor, nn

from lite_sora.diffusion.objective import Objective
from lite_sora.layers.sequence import Segments, Told
from lite_sora.text.encoder import Text


def packed(denoiser: nn.Module, videos: list[Tensor], times: list[Tensor], text: Text) -> list[Tensor]:
    """What a DiT, SiT or U-ViT says of each clip alone, in one pass. videos: x_t (C, T, H, W), each of its own shape;
    times: t () of each, or a level for each frame (T,); text of as many captions → outputs like videos."""
    sequences = [
        denoiser.sequence(x[None], t[None], without_padding(text, index))
        for index, (x, t) in enumerate(zip(videos, times, strict=True))
    ]
    tokens, given = zip(*sequences, strict=True)
    h = denoiser.transform(torch.cat(tokens, dim=1), join(given, tokens))  # (1, N, D), the tokens of all clips
    parts = h.split([part.shape[1] for part in tokens], dim=1)
    return [denoiser.video(*clip)[0] for clip in zip(parts, given, strict=True)]


def without_padding(text: Text, index: int) -> Text:
    """One of the captions, without what fills it up to the longest."""
    words = text.mask[index]
    return Text(text.tokens[index : index + 1, words], words[words][None], text.pooled[index : index + 1])


def join(given: tuple[Told, ...], tokens: tuple[Tensor, ...]) -> Told:
    """What blocks are told of one sequence: of each token what its own clip was told."""
    lengths = [part.shape[1] for part in tokens]
    rotation = None if given[0].rotation is None else torch.cat([clip.rotation for clip in given])
    if given[0].condition is None:
        return Told(None, None, Segments(lengths), rotation, (0, 0, 0))
    where, first = [], 0
    for clip, length in zip(given, lengths, strict=True):
        rows = tokens[0].new_zeros(length, dtype=torch.long) if clip.where is None else clip.where
        where.append(first + rows)
        first += clip.condition.shape[1]
    condition = torch.cat([clip.condition for clip in given], dim=1)  # (1, R, D)
    return Told(condition, torch.cat(where), Segments(lengths), rotation, (0, 0, 0))


def packed_loss(
    objective: Objective, denoiser: nn.Module, latents: list[Tensor], noise: list[Tensor], t: list[Tensor], text: Text
) -> Tensor:
    """`Objective.loss` of each clip, (B,); latents and noise are (C, T, H, W) each, t as the times of `packed`."""
    clips = [tuple(part[None] for part in clip) for clip in zip(latents, noise, t, strict=True)]
    inputs = [objective.network_input(objective.noisy(x, noise, t), t) for x, noise, t in clips]
    videos, times = ([values[0] for values in column] for column in zip(*inputs, strict=True))
    outputs = packed(denoiser, videos, times, text)
    return torch.cat([objective.weighted_error(y[None], *clip) for y, clip in zip(outputs, clips, strict=True)])
