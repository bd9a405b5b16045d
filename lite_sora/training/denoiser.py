"""The stage `python train.py`: a text-to-video denoiser, in pixels or in an autoencoder's latents."""

from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from lite_sora.compute import StepCompute
from lite_sora.data.loading import Batch, to_model_range
from lite_sora.data.windows import VideoDataset
from lite_sora.diffusion.frames import draw_levels
from lite_sora.pipeline import TextToVideo, assemble
from lite_sora.processes import Processes
from lite_sora.seeds import normal, seed_of, uniform
from lite_sora.text.cached import cached_texts
from lite_sora.text.encoder import build_tokenizer
from lite_sora.text.pretrained import PretrainedText
from lite_sora.text.signals import describe, drop
from lite_sora.training.clips import Clips
from lite_sora.training.judging import judge_and_suggest
from lite_sora.training.latents import cached_latents
from lite_sora.training.loop import Stage, run
from lite_sora.training.metrics import Metrics, loss_by_time
from lite_sora.training.muon import make_optimizers, matrices_on_tokens
from lite_sora.training.parallel import Parallel
from lite_sora.training.parts import DenoiserSettings, model_config, open_autoencoder, say_limits
from lite_sora.training.samples import save_samples


def train(settings: DenoiserSettings, observe: Callable[[int, TextToVideo], None] | None = None) -> Path:
    """Trains a denoiser and returns the run's folder; see `loop.run`."""
    stage = import_module("lite_sora.training.shapes").stage_for(settings) if settings.buckets else DenoiserStage
    return run(stage, settings, observe)


class DenoiserStage(Stage):
    name = "denoiser"

    def __init__(self, settings: DenoiserSettings, processes: Processes):
        super().__init__(settings, processes)
        if settings.resume:
            self.model = TextToVideo.from_pretrained(settings.resume)
            self.autoencoder, self.config = self.model.autoencoder, self.model.config
        else:
            self.autoencoder = open_autoencoder(settings.autoencoder)
            self.config = model_config(settings, self.autoencoder)

    def default_folder(self) -> str:
        return f"runs/{self.settings.data_name}"

    def open_data(self, clips: Clips) -> None:
        settings, self.cache = self.settings, clips.cache
        if not settings.resume:
            self.config.signals = describe(settings.signals, clips.training)
        fixed, original = settings.overfit is not None, settings.original_captions
        options = {"fixed": fixed, "original": original, "signals": self.config.signals}
        self.real = clips.videos(clips.captioned[: settings.overfit], **options)
        self.dataset = self.prepare(self.real, clips)

    def prepare(self, videos: VideoDataset, clips: Clips) -> Dataset:
        """The clips in memory, or their latents."""
        if self.settings.autoencoder == "pixel":
            self.skipped.update(clips.preload(videos))
            return videos
        dataset, broken = cached_latents(videos, self.autoencoder, clips.cache, self.processes)
        self.skipped.update(broken)
        return dataset

    def build(self) -> TextToVideo:
        settings, clips = self.settings, self.real.clips
        captions = self.real.all_captions()
        model = self.model if settings.resume else assemble(self.config, build_tokenizer(captions), self.autoencoder)
        model.config.training = asdict(settings)
        self.texts = None  # embeddings of captions by a frozen encoder
        if isinstance(model.text, PretrainedText):
            self.texts = cached_texts(model.text, captions, self.cache, self.processes)
            model.text.release()  # its memory is for training; samples load it again
        some = [clip.caption for clip in clips[:256]]
        self.compute = StepCompute(model, some, settings.batch_size, settings.precision, self.processes)
        if self.processes.first:
            say_limits(model)
        return model

    def step_size(self) -> str:
        return f" ({self.compute.tokens:,} patches)"

    def optimizers(self) -> list[torch.optim.Optimizer]:
        return make_optimizers(self.model, matrices_on_tokens(self.model), self.settings)

    def loss(self, model: Parallel, batch: Batch) -> dict[str, Tensor]:
        """The loss at a random t of each clip; all chance is in the samples' seeds."""
        device, seeds = self.processes.device, batch.seeds
        x = to_model_range(batch.video.to(device, non_blocking=True))  # (B, C, T, H, W)
        noise = normal(seeds, x.shape[1:], device)
        t = self.model.objective.draw_times(uniform([seed_of(seed, "time") for seed in seeds]))  # (B,)
        t = draw_levels(t, seeds, x.shape[2], self.settings.frame_levels, self.model.objective).to(device)  # or (B, T)
        loss = model(latents=x, noise=noise, t=t, **self.told(batch, device))
        return {"loss": loss, "t": t.reshape(len(t), -1).mean(1)}

    def told(self, batch: Batch, device: torch.device) -> dict:
        """What the model is told of each clip. Some captions are emptied, and their signals left out."""
        captions = read_captions(batch, self.settings.caption_dropout)
        signals = drop(batch.signals, captions, batch.seeds, self.settings.caption_dropout)
        text = self.texts(captions, device) if self.texts else self.model.text.tokenize(captions).to(device)
        return {"captions": text, "signals": signals}

    def measures(self, values: dict[str, Tensor], seconds: float) -> dict:
        return {"loss_by_time": loss_by_time(values["loss"], values["t"])} | self.compute.rates(seconds)

    def samples(self, folder: Path, step: int, average: nn.Module, metrics: Metrics) -> None:
        save_samples(folder, step, self.model, average, self.real, metrics)

    def save(self, folder: Path, average: TextToVideo) -> None:
        average.save_pretrained(folder)

    def finish(self, folder: Path, average: TextToVideo) -> None:
        judge_and_suggest(self, folder, average)
        say_limits(average)


def read_captions(batch: Batch, dropout: float) -> list[str]:
    """The captions of a batch, some of them emptied, for classifier-free guidance."""
    dropped = uniform([seed_of(seed, "dropout") for seed in batch.seeds]) < dropout
    return ["" if empty else caption for caption, empty in zip(batch.captions, dropped.tolist(), strict=True)]
