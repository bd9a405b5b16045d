"""Clips → codes, once, before training: a prior never looks at a pixel, and the codes of a whole dataset fit in memory
(128 in place of the 24,576 numbers of a toy clip)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lite_sora.data.loading import VideoDataset, to_model_range
from lite_sora.data.video import ClipError
from lite_sora.prior.pipeline import TextToCodes

CLIPS_AT_ONCE = 16  # that are read before they are encoded
WINDOWS_AT_ONCE = 32  # in one go through the autoencoder


@dataclass
class CodeDataset:
    """The codes of all windows of each clip, (windows, T', H', W'), as int16 where that is enough. The windows are cut
    one after another, without overlap; an item's key is (clip index, sample seed): the seed chooses the window and the
    caption, as in `VideoDataset`."""

    videos: VideoDataset  # without those that are broken
    codes: list[Tensor]

    def __len__(self) -> int:
        return len(self.codes)

    def batch(self, keys: list[tuple[int, int]]) -> tuple[Tensor, list[str]]:
        """Codes (B, T', H', W') and captions."""
        codes, captions = [], []
        for index, seed in keys:
            rng, windows = np.random.default_rng(seed), self.codes[index]
            codes.append(windows[rng.integers(len(windows))])
            captions.append(self.videos.caption(index, rng))
        return torch.stack(codes).long(), captions


@torch.no_grad()
def encode_clips(model: TextToCodes, videos: VideoDataset, show: bool = True) -> tuple[CodeDataset, list[str]]:
    """The codes of all clips that are not broken, and why those are; `videos` forgets them."""
    kind = torch.int16 if model.config.transformer.codes <= 2**15 else torch.int32
    codes, kept, broken = [], [], []
    bar = tqdm(total=len(videos), desc="encoding", unit="clip", disable=not show)
    for first in range(0, len(videos), CLIPS_AT_ONCE):
        group = range(first, min(first + CLIPS_AT_ONCE, len(videos)))
        windows = []  # of each clip, (windows, T, H, W, 3)
        for index in group:
            try:
                windows.append(videos.windows(index))
                kept.append(videos.clips[index])
            except ClipError as error:
                broken.append(str(error))
        if windows:
            video = torch.from_numpy(np.concatenate(windows)).movedim(-1, 1)  # (all windows, 3, T, H, W)
            parts = [model.encode(to_model_range(part.to(model.device))).cpu() for part in video.split(WINDOWS_AT_ONCE)]
            codes += torch.cat(parts).to(kind).split([len(each) for each in windows])
        bar.update(len(group))
    bar.close()
    videos.clips = kept
    return CodeDataset(videos, codes), broken
