"""Latents (or codes) instead of videos: every clip goes through the autoencoder once, before training (2112.10752), and
stays on disk. So a step of training costs no encoding, and a second run on the same clips starts at once.

An entry's name is a digest of everything that it depends on (the autoencoder's weights and statistics, the clip, its
file's size and time, the size and rate of frames), so what is stale is never used: it is not found.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from lite_sora.data.loading import Sample, to_model_range
from lite_sora.data.video import ClipError
from lite_sora.data.windows import VideoDataset
from lite_sora.processes import Processes
from lite_sora.storage.tensors import Shards, digest

CLIPS_AT_ONCE = 16  # that are read before they are encoded
PIXELS_AT_ONCE = 2**22  # in one go through the autoencoder, roughly: 4 clips of 16 × 256 × 256


class LatentDataset(Dataset):
    """The latents of windows of clips. A clip is cut into windows one after another, without overlap; an item's key is
    (clip index, sample seed): the seed chooses the window and the caption, as in `VideoDataset`."""

    def __init__(self, videos: VideoDataset, shards: Shards, names: list[str]):
        """names: of each clip's entry, (windows, C, T', H', W')."""
        self.videos, self.shards, self.names = videos, shards, names

    @property
    def clips(self) -> list:
        return self.videos.clips

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """A sample of latents (C, T', H', W') or codes (T', H', W')."""
        index, seed = key
        rng, windows = np.random.default_rng(seed), self.shards[self.names[index]]
        item = windows[int(rng.integers(windows.get_shape()[0]))]
        item = item.float() if item.is_floating_point() else item.long()
        return Sample(item, self.videos.caption(index, rng), seed, self.videos.signals_of(index))


def cached_latents(
    videos: VideoDataset,
    autoencoder,
    folder: Path,
    processes: Processes,
    encode: Callable[[Tensor], Tensor] | None = None,
) -> tuple[LatentDataset, list[str]]:
    """The dataset of latents of all clips that are not broken, and why those are. What the cache in `folder` lacks is
    encoded first, by all processes together. `encode` makes something else of videos (B, 3, T, H, W) in [-1, 1] than
    latents: codes, as int16."""
    shards = Shards(folder)
    names = entry_names(videos, autoencoder, "latents" if encode is None else "codes")
    mine = range(processes.rank, len(videos), processes.world)
    todo = [index for index in mine if names[index] not in shards or not videos.clips[index].has_caption]
    encode = encode or (lambda video: autoencoder.encode(video).half())
    broken = _encode(videos, encode, shards, {index: names[index] for index in todo}, processes)
    processes.wait()
    shards.find()
    kept = [index for index in range(len(videos)) if names[index] in shards and videos.clips[index].has_caption]
    videos.clips = [videos.clips[index] for index in kept]
    return LatentDataset(videos, shards, [names[index] for index in kept]), processes.gather_texts(broken)


@torch.no_grad()
def _encode(
    videos: VideoDataset,
    encode: Callable[[Tensor], Tensor],
    shards: Shards,
    names: dict[int, str],
    processes: Processes,
) -> list[str]:
    """Encodes clips into the cache; why some could not be. Ctrl-C loses none that are done."""
    broken, todo = [], list(names)

    def read(index: int) -> np.ndarray | None:
        try:
            return videos.windows(index)  # (windows, T, H, W, 3)
        except ClipError as error:
            broken.append(str(error))
            return None

    bar = tqdm(total=len(todo), desc="encoding", unit="clip", disable=not (processes.first and todo))
    with bar, ThreadPoolExecutor(4) as pool, shards:
        for first in range(0, len(todo), CLIPS_AT_ONCE):
            group = todo[first : first + CLIPS_AT_ONCE]
            good = [(i, frames) for i, frames in zip(group, pool.map(read, group), strict=True) if frames is not None]
            if good:
                video = torch.from_numpy(np.concatenate([frames for _, frames in good])).movedim(-1, 1)
                windows = max(1, PIXELS_AT_ONCE // video[0, 0].numel())
                parts = [encode(to_model_range(part.to(processes.device))).cpu() for part in video.split(windows)]
                counts = [len(frames) for _, frames in good]
                for (index, _), latents in zip(good, torch.cat(parts).split(counts), strict=True):
                    shards.add(names[index], latents)
            bar.update(len(group))
    return broken


def entry_names(videos: VideoDataset, autoencoder, kind: str) -> list[str]:
    """The cache name of each clip."""
    made_by = kind, autoencoder.fingerprint()
    transform = videos.frames, videos.height, videos.width, videos.fps, videos.fixed
    return [
        digest(
            made_by, transform, clip.video, _version(videos.path(index)), clip.start, clip.end, clip.stats.get("crop")
        )
        for index, clip in enumerate(videos.clips)
    ]


def _version(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
