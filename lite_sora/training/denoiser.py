"""The stage `python train.py`: a text-to-video denoiser, in pixels or in an autoencoder's latents."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from lite_sora.autoencoders import load_autoencoder
from lite_sora.compute import known_peak, training_flops
from lite_sora.data.loading import Batch, to_model_range
from lite_sora.evaluation.adherence import measure, report
from lite_sora.pipeline import TextToVideo, assemble
from lite_sora.processes import Processes
from lite_sora.seeds import normal, seed_of, uniform
from lite_sora.text.cached import cached_texts
from lite_sora.text.encoder import build_tokenizer
from lite_sora.text.pretrained import PretrainedText
from lite_sora.training.flags import TrainingError, flag
from lite_sora.training.latents import cached_latents
from lite_sora.training.loop import Stage, run
from lite_sora.training.metrics import Metrics, loss_by_time
from lite_sora.training.muon import matrices_on_tokens
from lite_sora.training.parallel import Parallel
from lite_sora.training.parts import PartSettings, model_config
from lite_sora.training.samples import sample_prompts, save_samples


@dataclass
class DenoiserSettings(PartSettings):
    frames: int | None = flag(None, "frames of a clip (default: 8, or 9 with --autoencoder: the first and 4 times 2)")
    caption_dropout: float = flag(0.1, "fraction of captions that are emptied, for classifier-free guidance")
    original_captions: float = flag(
        0.0, "fraction of captions as they were before the clips were recaptioned; DALL-E 3 takes 0.05"
    )
    overfit: int | None = flag(None, "a first check: overfit this many clips, and show them next to the samples")
    adherence_clips: int = flag(128, "clips to judge at the end, on the toy world; 0 for none")

    FREE: ClassVar[set[str]] = PartSettings.FREE | {"adherence_clips"}

    def __post_init__(self):
        pixels = self.autoencoder == "pixel"
        self.frames = (8 if pixels else 9) if self.frames is None else self.frames
        self.patch = self.patch or ([2, 8, 8] if pixels else [1, 2, 2])

    def check(self) -> None:
        super().check()
        if self.overfit is not None and self.overfit < 1:
            raise TrainingError(f"--overfit must be at least 1, not {self.overfit}")
        if not 0 <= self.original_captions <= 1:
            raise TrainingError(f"--original-captions is a fraction, 0 to 1, not {self.original_captions}")
        if len(self.patch) != 3:
            raise TrainingError("--patch takes three numbers: frames, height, width")


def train(settings: DenoiserSettings, observe: Callable[[int, TextToVideo], None] | None = None) -> Path:
    """Trains a denoiser and returns the run's folder; see `loop.run`."""
    return run(DenoiserStage, settings, observe)


class DenoiserStage(Stage):
    name = "denoiser"

    def __init__(self, settings: DenoiserSettings, processes: Processes):
        super().__init__(settings, processes)
        if settings.resume:
            self.model = TextToVideo.from_pretrained(settings.resume)
            self.autoencoder = self.model.autoencoder
        else:
            try:
                self.autoencoder = load_autoencoder(settings.autoencoder)
            except ValueError as error:
                raise TrainingError(f"--autoencoder {settings.autoencoder}: {error}") from None
            self.config = model_config(settings, self.autoencoder)

    def default_folder(self) -> str:
        return f"runs/{self.settings.data_name}"

    def open_data(self) -> None:
        settings = self.settings
        clips, _ = self.open_manifest()
        fixed, original = settings.overfit is not None, settings.original_captions
        self.real = self.dataset = self.videos(clips[: settings.overfit], fixed=fixed, original=original)
        self.cache = Path(settings.cache_folder or self.manifest.parent / "cache")
        if settings.autoencoder == "pixel":
            self.preload(self.real)
        else:
            self.dataset, broken = cached_latents(self.real, self.autoencoder, self.cache, self.processes)
            self.skipped.update(broken)

    def build(self) -> TextToVideo:
        settings, clips = self.settings, self.real.clips
        captions = [
            clip.all_captions + (clip.original_captions if settings.original_captions else []) for clip in clips
        ]
        captions = list(chain.from_iterable(captions))
        model = self.model if settings.resume else assemble(self.config, build_tokenizer(captions), self.autoencoder)
        model.config.training = asdict(settings)
        self.texts = None  # embeddings of captions by a frozen encoder
        if isinstance(model.text, PretrainedText):
            self.texts = cached_texts(model.text, captions, self.cache, self.processes)
        self.count_compute(model)
        return model

    def count_compute(self, model: TextToVideo) -> None:
        """FLOPs and tokens of a step, for the metrics."""
        settings, shape = self.settings, model.latent_shape()
        words = model.text.tokenize([clip.caption for clip in self.real.clips[:256]]).shape[1]
        self.flops = settings.batch_size * training_flops(model, shape, words)
        self.tokens = settings.batch_size * math.prod(n // p for n, p in zip(shape[1:], settings.patch, strict=True))
        self.peak = known_peak(self.processes.device, settings.precision)

    def matrices(self, model: nn.Module) -> list[nn.Parameter]:
        return matrices_on_tokens(model)

    def loss(self, model: Parallel, batch: Batch) -> dict[str, Tensor]:
        """The loss at a random t of each clip; all chance is in the samples' seeds."""
        device, seeds = self.processes.device, batch.seeds
        x = batch.video.to(device, non_blocking=True)  # (B, C, T, H, W)
        if x.dtype == torch.uint8:  # a video; otherwise latents, which the autoencoder made before training
            x = to_model_range(x)
        noise = normal(seeds, x.shape[1:], device)
        t = self.model.objective.draw_times(uniform([seed_of(seed, "time") for seed in seeds])).to(device)
        captions = read_captions(batch, self.settings.caption_dropout)
        text = self.texts(captions, device) if self.texts else self.model.text.tokenize(captions).to(device)
        return {"loss": model(x, noise, t, text), "t": t}

    def measures(self, values: dict[str, Tensor], seconds: float) -> dict:
        rates = {"tokens_per_second": self.tokens / seconds, "flops_per_second": self.flops / seconds}
        mfu = self.flops / seconds / (self.peak * self.processes.world) if self.peak else None
        return {"loss_by_time": loss_by_time(values["loss"], values["t"])} | rates | {"mfu": mfu}

    def samples(self, folder: Path, step: int, average: nn.Module, metrics: Metrics) -> dict:
        save_samples(folder, step, self.model, average, self.real, metrics)
        return {}

    def save(self, folder: Path, average: TextToVideo) -> None:
        average.save_pretrained(folder)

    def finish(self, folder: Path, average: TextToVideo) -> None:
        judge_and_suggest(self, folder, average)


def read_captions(batch: Batch, dropout: float) -> list[str]:
    """The captions of a batch, some of them emptied, for classifier-free guidance."""
    dropped = uniform([seed_of(seed, "dropout") for seed in batch.seeds]) < dropout
    return ["" if empty else caption for caption, empty in zip(batch.captions, dropped.tolist(), strict=True)]


def judge_and_suggest(stage: Stage, folder: Path, average) -> None:
    """Measures adherence on the toy world, where the judge can read the videos: square ones, long enough to move."""
    settings = stage.settings
    readable = settings.height == settings.width and settings.frames > 1 and not getattr(settings, "overfit", None)
    if settings.data is None and settings.adherence_clips and readable:
        result = measure(average, settings.toy_corner, settings.adherence_clips)
        (folder / "adherence.json").write_text(json.dumps(result, indent=2) + "\n")
        print(report(result))
    prompt = sample_prompts(stage.real.clips)[0] if settings.data else "a red circle moving right"
    print(f'try: python generate.py "{prompt}" --run {folder}')
