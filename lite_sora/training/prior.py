"""The stage `python train.py prior`: an autoregressive model of the codes of a VQ autoencoder."""

import math
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor
from tqdm import tqdm

from lite_sora.autoencoders.saved import TrainedAutoencoder
from lite_sora.data.clip import Clip
from lite_sora.data.loading import Batch, batches
from lite_sora.prior.pipeline import TextToCodes, TextToCodesConfig, open_vq
from lite_sora.prior.transformer import CodeTransformerConfig
from lite_sora.processes import Processes
from lite_sora.seeds import seed_of
from lite_sora.text.encoder import build_tokenizer
from lite_sora.training.clips import Clips
from lite_sora.training.denoiser import read_captions
from lite_sora.training.flags import RunSettings, TrainingError, flag
from lite_sora.training.judging import judge_and_suggest
from lite_sora.training.latents import LatentDataset, cached_latents
from lite_sora.training.loop import Stage, run
from lite_sora.training.metrics import Metrics
from lite_sora.training.muon import make_optimizers, matrices_on_tokens
from lite_sora.training.parallel import Parallel
from lite_sora.training.samples import save_samples


@dataclass
class PriorSettings(RunSettings):
    autoencoder: str = flag("runs/autoencoders/vq-toy", "run folder of `train.py autoencoder --kind vq`")

    # what the model sees
    frames: int | None = flag(None, "frames of a clip (these four by default: as the autoencoder was trained)")
    height: int | None = flag(None, "height in pixels")
    width: int | None = flag(None, "width in pixels")
    fps: float | None = flag(None, "frames per second at which clips are sampled")

    # the model
    channels: int = flag(128, "the transformer's width")
    depth: int = flag(4, "its blocks")
    heads: int = flag(4, "its attention heads")
    dropout: float = flag(0.1, "dropout of what blocks add to the residual stream")
    text_depth: int = flag(0, "transformer blocks of the text encoder, after its word embeddings")

    # the optimiser
    steps: int = flag(500, "optimiser steps")
    caption_dropout: float = flag(0.1, "fraction of captions that are emptied, for classifier-free guidance")

    # what is kept
    sample_every: int = flag(200, "steps between grids of samples and the likelihood of held-out clips; 0 for none")
    adherence_clips: int = flag(128, "clips to judge at the end, on the toy world; 0 for none")

    LEAST: ClassVar[dict[str, int]] = RunSettings.LEAST | {"channels": 1, "depth": 1, "heads": 1}
    FREE: ClassVar[set[str]] = RunSettings.FREE | {"adherence_clips"}

    def check(self) -> None:
        super().check()
        if not 0 <= self.dropout < 1:
            raise TrainingError(f"--dropout lies from 0 to below 1; not {self.dropout}")


def train(settings: PriorSettings) -> Path:
    """Trains a prior and returns the run's folder; see `loop.run`."""
    return run(PriorStage, settings)


class PriorStage(Stage):
    name = "prior"

    def __init__(self, settings: PriorSettings, processes: Processes):
        if settings.resume:
            self.model = TextToCodes.from_pretrained(settings.resume)
            self.autoencoder = self.model.autoencoder
        else:
            self.autoencoder = open_vq(Path(settings.autoencoder))
            as_the_autoencoder(settings, self.autoencoder)
            self.config = model_config(settings, self.autoencoder)
        super().__init__(settings, processes)

    def open_data(self, clips: Clips) -> None:
        encode = partial(codes_of, self.autoencoder)

        def codes(some: list[Clip]) -> LatentDataset:
            videos = clips.videos(some)
            dataset, broken = cached_latents(videos, self.autoencoder, clips.cache, self.processes, encode)
            self.skipped.update(broken)
            return dataset

        self.dataset, self.held_out = codes(clips.captioned), codes(clips.held_out)
        self.real = self.dataset.videos

    def build(self) -> TextToCodes:
        if not self.settings.resume:
            tokenizer = build_tokenizer(caption for clip in self.real.clips for caption in clip.all_captions)
            self.model = TextToCodes(self.config, tokenizer, self.autoencoder)
        self.model.config.training = asdict(self.settings)
        settings = self.settings
        grid = self.autoencoder.latent_shape(settings.frames, settings.height, settings.width)[1:]  # (T', H', W')
        self.codes_a_clip = math.prod(grid)
        return self.model

    def step_size(self) -> str:
        return f" ({self.settings.batch_size * self.codes_a_clip:,} codes)"

    def optimizers(self) -> list[torch.optim.Optimizer]:
        return make_optimizers(self.model, matrices_on_tokens(self.model), self.settings)

    def before_step(self, step: int, batch: Batch) -> None:
        torch.manual_seed(seed_of(self.settings.seed, "dropout", step, self.processes.rank))

    def loss(self, model: Parallel, batch: Batch) -> dict[str, Tensor]:
        device = self.processes.device
        ids = self.model.text.tokenize(read_captions(batch, self.settings.caption_dropout)).to(device)
        return {"loss": model(batch.video.to(device), ids)}  # nats per code

    def measures(self, values: dict[str, Tensor], seconds: float) -> dict:
        codes = self.settings.batch_size * self.codes_a_clip
        return {"bits_per_code": values["loss"].mean().item() / math.log(2), "codes_per_second": codes / seconds}

    def samples(self, folder: Path, step: int, average: TextToCodes, metrics: Metrics) -> dict | None:
        save_samples(folder, step, self.model, average, self.real, metrics)
        if not len(self.held_out):
            return None
        bits = bits_per_code(average, self.held_out)
        tqdm.write(f"step {step}: {bits:.3f} bits per code on held-out clips")
        return {"held_out_bits_per_code": bits}

    def save(self, folder: Path, average: TextToCodes) -> None:
        average.save_pretrained(folder)

    def finish(self, folder: Path, average: TextToCodes) -> None:
        if len(self.held_out):
            bits = bits_per_code(average, self.held_out)
            print(f"likelihood: {bits:.3f} bits per code on {len(self.held_out)} held-out clips")
        judge_and_suggest(self, folder, average)


def codes_of(autoencoder: TrainedAutoencoder, video: Tensor) -> Tensor:
    """video (B, 3, T, H, W) in [-1, 1] → codes (B, T', H', W'), as int16 where that is enough."""
    network = autoencoder.model.to(video.device)
    codes = network.codes(video * network.config.amplitude)
    return codes.short() if network.quantizer.codes <= 2**15 else codes.int()


def as_the_autoencoder(settings: PriorSettings, autoencoder: TrainedAutoencoder) -> None:
    """Sets the sizes that were not given to those that the autoencoder was trained at."""
    trained = autoencoder.training
    missing = [name for name in ("frames", "height", "width", "fps") if getattr(settings, name) is None]
    if unknown := [name for name in missing if name not in trained]:
        flags = ", ".join(f"--{name}" for name in unknown)
        raise TrainingError(f"{settings.autoencoder} does not say what sizes it was trained at; pass {flags}")
    for name in missing:
        setattr(settings, name, trained[name])


def model_config(settings: PriorSettings, autoencoder: TrainedAutoencoder) -> TextToCodesConfig:
    """What to build. Raises TrainingError for parts that do not fit together."""
    try:
        autoencoder.latent_shape(settings.frames, settings.height, settings.width)
    except ValueError as error:
        raise TrainingError(str(error)) from None
    if settings.channels % (2 * settings.heads):
        raise TrainingError(f"--channels {settings.channels} does not divide by twice --heads, {2 * settings.heads}")
    transformer = CodeTransformerConfig(
        codes=autoencoder.model.quantizer.codes,
        width=settings.channels,
        depth=settings.depth,
        heads=settings.heads,
        text_width=settings.channels,
        dropout=settings.dropout,
    )
    sizes = {name: getattr(settings, name) for name in ("frames", "height", "width", "fps")}
    return TextToCodesConfig(transformer=transformer, text_depth=settings.text_depth, **sizes)


@torch.no_grad()
def bits_per_code(model: TextToCodes, dataset: LatentDataset, batch: int = 32) -> float:
    """What the codes of a dataset cost, given their captions: minus the mean log2-likelihood of a code. The entropy of
    their frequencies alone is log2 of the perplexity that the autoencoder reports."""
    keys = [(index, 0) for index in range(len(dataset))]
    order = [keys[first : first + batch] for first in range(0, len(keys), batch)]
    losses = [
        model(part.video.to(model.device), model.text.tokenize(part.captions).to(model.device))
        for part in batches(dataset, order, workers=0)
    ]
    return torch.cat(losses).mean().item() / math.log(2)
