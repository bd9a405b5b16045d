"""--pack: the stage that trains a denoiser on packs: one sequence of clips of many shapes."""

import torch
from torch import Tensor

from lite_sora.data.loading import Batch, to_model_range
from lite_sora.data.packing import PackedOrder
from lite_sora.diffusion.frames import draw_levels
from lite_sora.pipeline import TextToVideo
from lite_sora.seeds import normal, seed_of, uniform
from lite_sora.training.clips import Clips
from lite_sora.training.flags import TrainingError
from lite_sora.training.parallel import Parallel
from lite_sora.training.shapes import ShapesStage


class PackedStage(ShapesStage):
    """A step has at most as many patches as --batch-size clips of the first bucket, and nearly as many."""

    def open_data(self, clips: Clips) -> None:
        super().open_data(clips)
        try:
            self.order(0)
        except ValueError as error:
            raise TrainingError(f"--pack: {error}; pass a larger --batch-size, or smaller --buckets") from None

    def order(self, step: int) -> PackedOrder:
        parts = zip(self.clip_tokens, self.dataset.parts, strict=True)
        tokens = [count for count, part in parts for _ in range(len(part))]
        settings, processes = self.settings, self.processes
        return PackedOrder(tokens, self.budget(), settings.seed, step, settings.steps, processes.part, processes.parts)

    def share(self, tokens: int) -> str:
        return f" of {tokens} patches"

    def build(self) -> TextToVideo:
        model = super().build()
        if not hasattr(model.denoiser, "transform"):
            raise TrainingError("--pack is for dit and sit with their usual parts, and for uvit")
        return model

    def loss(self, model: Parallel, batch: Batch) -> dict[str, Tensor]:
        device, objective = self.processes.device, self.model.objective
        clips = [to_model_range(video.to(device, non_blocking=True)) for video in batch.video]  # (C, T, H, W) each
        noise = [normal([seed], x.shape, device)[0] for seed, x in zip(batch.seeds, clips, strict=True)]
        times = objective.draw_times(uniform([seed_of(seed, "time") for seed in batch.seeds]))
        levels = [
            draw_levels(t[None], [seed], x.shape[1], self.settings.frame_levels, objective)[0].to(device)
            for t, seed, x in zip(times, batch.seeds, clips, strict=True)
        ]
        loss = model(latents=clips, noise=noise, t=levels, **self.told(batch, device))
        return {"loss": loss, "t": torch.stack([t.mean() for t in levels])}
