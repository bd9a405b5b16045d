"""From an image model to a video model: the same weights, such that at first each frame is drawn as an image."""

from dataclasses import replace
from typing import TypeVar

import torch

from lite_sora.published.dit import PublishedDiT
from lite_sora.published.uvit import PublishedUViT

Published = TypeVar("Published", PublishedDiT, PublishedUViT)


@torch.no_grad()
def inflate(module: Published, frames: int = 16, patch_frames: int = 1) -> Published:
    """A video model of patches of `patch_frames` frames, for up to `frames` frames, from an image model (of patches of
    one frame). At first a video of one frame, repeated, gives that frame's image output, repeated.

    Patches: the mean of a patch's frames is embedded, and each of its frames gets the same output (the mean of I3D,
    1705.07750). Attention: among copies of the same tokens it gives what it gives among them once. The time, label and
    text tokens of a U-ViT, which are not repeated, are counted once for each frame (`balance_frames`). Positions: those
    of the image, in each frame; training makes the frames differ. Raises ValueError for a video model.
    """
    config = module.config
    if config.patch[0] != 1 or config.positions[0] != 1:
        what = f"patches of one frame, positions for one frame; this one has patch {config.patch}"
        raise ValueError(f"only an image model can be inflated: {what}, positions {config.positions}")
    if frames % patch_frames:
        raise ValueError(f"{frames} frames do not divide into patches of {patch_frames}")
    positions = (frames // patch_frames, *config.positions[1:])
    config = replace(config, patch=(patch_frames, *config.patch[1:]), positions=positions)
    if isinstance(module, PublishedUViT):
        config.balance_frames = True
    video = type(module)(config)
    state = module.state_dict()
    size = config.patch[1] * config.patch[2]
    state["positions"] = state["positions"].expand(config.positions[0], -1, -1, -1)
    per_frame = state["embed.weight"].unflatten(1, (-1, 1, size))  # (D, C, 1, ph * pw)
    state["embed.weight"] = (per_frame.expand(-1, -1, patch_frames, -1) / patch_frames).flatten(1)
    for name in ("out.weight", "out.bias"):
        per_frame = state[name].unflatten(0, (-1, 1, size))  # (C, 1, ph * pw, ...)
        state[name] = per_frame.repeat_interleave(patch_frames, 1).flatten(0, 2)
    video.load_state_dict(state)
    reference = next(module.parameters())
    return video.to(reference.device, reference.dtype).train(module.training)
