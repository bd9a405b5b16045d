"""--buckets: the stage that trains a denoiser on clips of many shapes, with about as many tokens in each batch."""

import math
from collections import defaultdict
from importlib import import_module

from torch.utils.data import Dataset

from lite_sora.data.buckets import Bucket, MixedDataset, MixedOrder, bucket_of, find_buckets, parse_bucket
from lite_sora.data.clip import Clip
from lite_sora.data.video import ClipError, VideoInfo, probe
from lite_sora.data.windows import VideoDataset
from lite_sora.seeds import seed_of, uniform
from lite_sora.training.clips import Clips
from lite_sora.training.denoiser import DenoiserStage
from lite_sora.training.flags import TrainingError
from lite_sora.training.parts import DenoiserSettings


def stage_for(settings: DenoiserSettings) -> type[DenoiserStage]:
    return import_module("lite_sora.training.packing").PackedStage if settings.pack else ShapesStage


class ShapesStage(DenoiserStage):
    def prepare(self, videos: VideoDataset, clips: Clips) -> Dataset:
        """A dataset for each bucket, in one."""
        shapes = self.shapes(videos)
        buckets = self.buckets(list(shapes.values()))
        groups = defaultdict(list)
        for index, (length, height, width) in shapes.items():
            clip = videos.clips[index]
            chance = uniform([seed_of(self.settings.seed, "bucket", clip.id)]).item()
            groups[bucket_of(length, height, width, buckets, chance)].append(clip)
        for clip in groups.pop(None, []):
            self.skipped.add(f"{clip.video}: clip {clip.id!r} is shorter than every bucket")
        videos.clips = [clip for bucket in buckets for clip in groups[bucket]]
        parts, self.clip_tokens = [], []  # patches of a clip, for each part
        for bucket in buckets:
            parts.append(super().prepare(self.of_bucket(videos, groups[bucket], bucket), clips))
            if not len(parts[-1]):
                raise TrainingError(f"--buckets {bucket}: no clip falls into it, or none that can be used")
            self.clip_tokens.append(self.tokens(bucket))
            if self.processes.first:
                print(f"bucket {bucket}: {len(parts[-1]):,} clips{self.share(self.clip_tokens[-1])}")
        return MixedDataset(parts)

    def share(self, tokens: int) -> str:
        """How many clips of so many patches a step takes, for the line about a bucket."""
        return f", {self.batch_size(tokens)} a step"

    def order(self, step: int) -> MixedOrder:
        counts, sizes = [len(part) for part in self.dataset.parts], [self.batch_size(n) for n in self.clip_tokens]
        settings, processes = self.settings, self.processes
        return MixedOrder(counts, sizes, settings.seed, step, settings.steps, processes.part, processes.parts)

    def shapes(self, videos: VideoDataset) -> dict[int, tuple[int, float, float]]:
        """Frames, height and width of each clip that can be read, by its index."""
        known: dict[str, VideoInfo] = {}
        found = {}
        for index, clip in enumerate(videos.clips):
            path = videos.path(index)
            try:
                known[clip.video] = info = known.get(clip.video) or probe(path)
            except ClipError as error:
                self.skipped.add(str(error))
                continue
            found[index] = frames_of(clip, info, videos.fps), *cropped(clip, info)
        return found

    def buckets(self, shapes: list[tuple[int, float, float]]) -> list[Bucket]:
        """Those of --buckets, or found from the clips. Raises TrainingError for one that the model cannot take."""
        usual = Bucket(self.config.frames, self.config.height, self.config.width)
        if self.settings.buckets != ["auto"]:
            chosen = [parse_bucket(text) for text in self.settings.buckets]
        elif not shapes:
            return [usual]
        else:
            step = [a * p for a, p in zip(self.autoencoder.downsample[1:], self.settings.patch[1:], strict=True)]
            chosen = find_buckets([shape[1:] for shape in shapes], usual, tuple(step))
        for bucket in chosen:
            self.tokens(bucket)
        return chosen

    def tokens(self, bucket: Bucket) -> int:
        """Of a clip. Raises TrainingError for a shape that does not fit the autoencoder, or the patch."""
        try:
            _, *sizes = self.autoencoder.latent_shape(*bucket)
        except ValueError as error:
            raise TrainingError(f"--buckets {bucket}: {error}") from None
        patch = self.settings.patch
        if any(size % part for size, part in zip(sizes, patch, strict=True)):
            shape, part = (" × ".join(map(str, three)) for three in (sizes, patch))
            raise TrainingError(f"--buckets {bucket}: {shape} does not divide by {part}, the patch")
        return math.prod(size // part for size, part in zip(sizes, patch, strict=True))

    def budget(self) -> int:
        """Patches of a step over all processes: those of --batch-size clips of the first bucket."""
        config = self.config
        return self.settings.batch_size * self.tokens(Bucket(config.frames, config.height, config.width))

    def batch_size(self, tokens: int) -> int:
        """Clips of a step over all processes, of so many patches each: about as many patches as the budget."""
        world = self.processes.parts
        return max(1, round(self.budget() / tokens / world)) * world

    @staticmethod
    def of_bucket(videos: VideoDataset, clips: list[Clip], bucket: Bucket) -> VideoDataset:
        """Windows of some of the clips, of the bucket's shape."""
        return VideoDataset(clips, videos.folder, *bucket, videos.fps, videos.fixed, videos.original, videos.signals)


def frames_of(clip: Clip, info: VideoInfo, fps: float) -> int:
    end = info.duration if clip.end is None else min(clip.end, info.duration)
    return max(1, int((end - (clip.start or 0)) * fps + 1e-3))


def cropped(clip: Clip, info: VideoInfo) -> tuple[float, float]:
    """Height and width of the part of the picture that is used."""
    left, top, right, bottom = clip.stats.get("crop") or (0, 0, 1, 1)
    return info.height * (bottom - top), info.width * (right - left)
