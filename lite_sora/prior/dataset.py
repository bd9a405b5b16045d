"""Clips → codes, once, before training: a prior never looks at a pixel, and the codes of a whole dataset fit in memory
(128 in place of the 24,576 numbers of a toy clip)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lite_sora.data.loading import VideoDataset, to_model_range
from lite_sora.prior.pipeline import TextToCodes
from lite_sora.seeds import seed_of


@dataclass
class CodeDataset:
    """Codes (N, T', H', W') of N windows of clips, as int16 where that is enough, and the captions of each."""

    codes: Tensor
    captions: list[list[str]]

    def __len__(self) -> int:
        return len(self.captions)

    def batch(self, keys: list[tuple[int, int]]) -> tuple[Tensor, list[str]]:
        """Codes (B, T', H', W') and captions of keys (index, sample seed); where there are several captions, the seed
        chooses."""
        captions = []
        for index, seed in keys:
            choices = self.captions[index]
            captions.append(choices[np.random.default_rng(seed).integers(len(choices))])
        return self.codes[[index for index, _ in keys]].long(), captions


@torch.no_grad()
def encode_clips(
    model: TextToCodes, dataset: VideoDataset, windows: int, seed: int, show: bool = True, batch: int = 32
) -> tuple[CodeDataset, list[str]]:
    """The codes of each clip, and which clips could not be used, and why. Of a clip that is longer than the dataset's
    windows `windows` of them are taken, where the seed says."""
    codes, captions, videos, skipped = [], [], [], []
    kind = torch.int16 if model.config.transformer.codes <= 2**15 else torch.int32

    def encode() -> None:
        video = torch.from_numpy(np.stack(videos)).movedim(-1, 1)  # (B, 3, T, H, W)
        codes.append(model.encode(to_model_range(video.to(model.device))).cpu().to(kind))
        videos.clear()

    for index in tqdm(range(len(dataset)), "encoding", unit="clip", disable=not show):
        for window in range(windows):
            frames, _, _, reasons = dataset[index, seed_of(seed, "window", index, window)]
            if reasons:  # another clip would stand in its place
                skipped.append(reasons[0])
                break
            videos.append(frames)
            captions.append([caption for caption in dataset.clips[index].all_captions if caption.strip()])
            if len(videos) == batch:
                encode()
            if dataset.length(index) == dataset.frames:  # there is no other window
                break
    if videos:
        encode()
    return CodeDataset(torch.cat(codes), captions), skipped
