"""A noise level for each frame (Diffusion Forcing, 2407.01392): t is (B, T) instead of (B,), 0 for a frame that is
known and 1 for one that is absent. A patch is told the levels of all of its frames.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lite_sora.layers.patches import sincos


class FrameLevels(nn.Module):
    """Embedded levels of the frames → of the patches. A patch of several frames is told their mean, and by weights that
    start at zero how each of them differs from it: where all frames have one level, it is that level's embedding."""

    def __init__(self, width: int, patch_frames: int):
        super().__init__()
        self.patch_frames = patch_frames
        self.within = nn.Parameter(torch.zeros(width, patch_frames * width)) if patch_frames > 1 else None

    def forward(self, levels: Tensor, grid: tuple[int, int, int], others: int) -> tuple[Tensor, Tensor]:
        """levels (B, T, D), of a grid (T', H', W') of patches and `others` more tokens → rows (B, T' + 1, D), one for
        the patches of each time and the mean for the other tokens; and the row of each token, (N + others,)."""
        frames = levels.unflatten(1, (grid[0], self.patch_frames))  # (B, T', pt, D)
        rows = frames.mean(2)
        if self.within is not None:
            rows = rows + F.linear((frames - rows[:, :, None]).flatten(2), self.within)
        patches = torch.arange(grid[0], device=levels.device).repeat_interleave(grid[1] * grid[2])
        where = torch.cat([patches, patches.new_full((others,), grid[0])])
        return torch.cat([rows, levels.mean(1, keepdim=True)], dim=1), where


def to_tokens(values: Tensor, where: Tensor | None) -> Tensor:
    """Values for tokens: (B, 1, D), the same for all; or rows (B, R, D), of which each takes its own, (B, N, D)."""
    # values[:, where] would add up the rows' gradients in any order, and so give other bits each time
    return values if where is None else values.index_select(1, where)


def level_tokens(levels: Tensor) -> Tensor:
    """Embedded levels (B, T, D) of frames as tokens that can be told apart: one of all frames is as it is."""
    frames, width = levels.shape[1:]
    if frames == 1:
        return levels
    return levels + sincos(torch.arange(frames, device=levels.device), width, longest=20.0).to(levels.dtype)
