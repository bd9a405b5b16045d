"""The stage `python train.py autoencoder`: a causal video VAE, or VideoGPT's VQ-VAE."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lite_sora.autoencoders.discriminator import PatchDiscriminator
from lite_sora.autoencoders.kl import KLAutoencoder
from lite_sora.autoencoders.losses import PERCEPTUAL, adaptive_weight, hinge, l1, l2, make_perceptual, psnr
from lite_sora.autoencoders.quantizers import EMACodebook, perplexity
from lite_sora.autoencoders.saved import AUTOENCODERS, open_folder, save_folder
from lite_sora.autoencoders.vq import QUANTIZERS, VQAutoencoder
from lite_sora.data.loading import Batch, batches, to_frames, to_model_range
from lite_sora.data.preview import mosaic, sheet
from lite_sora.data.video import write_gif
from lite_sora.data.windows import VideoDataset
from lite_sora.evaluation.reconstruction import captioned, collapse, evaluate, measure, report
from lite_sora.processes import Processes
from lite_sora.seeds import normal, seed_of
from lite_sora.storage.runs import CheckpointError, write_json
from lite_sora.training.clips import Clips
from lite_sora.training.flags import RunSettings, TrainingError, flag, flag_of
from lite_sora.training.loop import Stage, run
from lite_sora.training.metrics import Metrics
from lite_sora.training.muon import adamw, make_optimizers
from lite_sora.training.parallel import Parallel
from lite_sora.training.parts import given_parts

FRAMES = {"kl": 9, "vq": 8}  # of a clip, by default
NETWORK_PARTS = ("downsample", "latent_channels", "channels", "blocks", "patch")
NETWORK_PARTS += ("quantizer", "codes", "code_width", "levels")

Autoencoder = KLAutoencoder | VQAutoencoder


@dataclass
class AutoencoderSettings(RunSettings):
    frames: int | None = flag(None, "frames of a clip: 1 + a multiple for kl, a multiple for vq (default: 9, 8)")

    # the model: a preset, and parts that differ from it
    kind: str = flag("kl", "a causal VAE, or a VQ-VAE", choices=list(AUTOENCODERS))
    preset: str = flag("toy", "its size: kl: toy, 2x4x4, 4x8x8; vq: toy, videogpt")
    downsample: list[int] | None = flag(None, "downsampling factors of frames, height and width: powers of two")
    latent_channels: int | None = flag(None, "kl: channels of the latents")
    channels: int | None = flag(None, "channels of the network")
    blocks: int | None = flag(None, "residual blocks: kl: at each resolution; vq: in each half")
    patch: int | None = flag(None, "kl: squares of this many pixels a side are folded into channels first")
    quantizer: str | None = flag(None, "vq: a codebook that follows the latents, or FSQ", choices=list(QUANTIZERS))
    codes: int | None = flag(None, "vq, ema: number of codes")
    code_width: int | None = flag(None, "vq, ema: width of a code's vector")
    levels: list[int] | None = flag(None, "vq, fsq: levels of each channel")

    # the loss
    loss: str = flag("l2", "the distance between pixels", choices=["l1", "l2"])
    perceptual: str = flag("gradient", "the perceptual distance that is added", choices=list(PERCEPTUAL))
    perceptual_weight: float = flag(0.1, "weight of the perceptual loss")
    kl_weight: float = flag(1e-4, "kl: weight of the KL divergence, in nats per latent")
    commitment_weight: float = flag(1.0, "vq: weight of the commitment loss")
    gan_weight: float = flag(0.0, "weight of the adversarial loss; 0 for no discriminator")
    gan_start: int = flag(300, "the step from which the adversarial loss counts")
    gan_lr: float = flag(2e-4, "the discriminator's learning rate")

    # the optimiser
    batch_size: int = flag(8, "clips per step, over all processes")
    lr: float = flag(2e-3, "AdamW's peak learning rate")
    muon_lr: float = flag(0.02, "Muon's peak learning rate")
    warmup: int = flag(20, "steps until the peak learning rate")
    ema: float = flag(0.0, "decay of the moving average of the weights, after its warm-up; 0 for none")

    # what is kept
    sample_every: int = flag(100, "steps between reconstructions of held-out clips; 0 for none")
    held_out_clips: int = flag(64, "clips to measure at the end")

    LEAST: ClassVar[dict[str, int]] = RunSettings.LEAST | {"held_out_clips": 1}
    FREE: ClassVar[set[str]] = RunSettings.FREE | {"held_out_clips"}
    UNTOLD: ClassVar[set[str]] = RunSettings.UNTOLD | {"kind"}  # it stands first

    def __post_init__(self):
        self.frames = FRAMES[self.kind] if self.frames is None else self.frames


def train(settings: AutoencoderSettings) -> Path:
    """Trains an autoencoder and returns the run's folder; see `loop.run`."""
    return run(AutoencoderStage, settings)


class AutoencoderStage(Stage):
    name = "autoencoder"

    def __init__(self, settings: AutoencoderSettings, processes: Processes):
        super().__init__(settings, processes)
        if settings.resume:
            self.model = open_model(Path(settings.resume))
        else:
            with torch.device("meta"):  # to see whether everything fits together; `build` makes the one that is trained
                self.model = make_model(settings)
        try:
            self.latent_shape = self.model.latent_shape(settings.frames, settings.height, settings.width)
            self.perceptual = make_perceptual(settings.perceptual)
        except ValueError as error:
            raise TrainingError(str(error)) from None
        self.pixels = {"l1": l1, "l2": l2}[settings.loss]
        self.penalty_weight = settings.kl_weight if settings.kind == "kl" else settings.commitment_weight

    def default_folder(self) -> str:
        return f"runs/autoencoders/{self.settings.kind}-{self.settings.data_name}"

    def open_data(self, clips: Clips) -> None:
        self.manifest = clips.manifest
        self.dataset = clips.videos(captioned(clips.training))
        self.skipped.update(clips.preload(self.dataset))
        held_out = captioned(clips.held_out) or self.dataset.clips
        self.held_out = clips.videos(held_out[: self.settings.held_out_clips])
        broken = self.held_out.preload(2**31, show=False)
        if not len(self.held_out):
            raise TrainingError(f"none of the held-out clips of {clips.manifest} can be used; the first: {min(broken)}")

    def build(self) -> Autoencoder:
        settings, device = self.settings, self.processes.device
        if not settings.resume:
            self.model = make_model(settings)
        if isinstance(self.perceptual, nn.Module):
            self.perceptual.to(device)
        if settings.gan_weight:
            self.companions["discriminator"] = discriminator = PatchDiscriminator().to(device)
            self.discriminator = Parallel(discriminator, discriminator, self.processes, RunSettings(precision="fp32"))
        vq = isinstance(self.model, VQAutoencoder)
        self.codebook = self.model.quantizer if vq and isinstance(self.model.quantizer, EMACodebook) else None
        self.codes = self.model.quantizer.codes if vq else None
        return self.model

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Muon for kernels and matrices."""
        settings, matrices = self.settings, [weight for weight in self.model.parameters() if weight.dim() in (2, 5)]
        optimizers = make_optimizers(self.model, matrices, settings)
        discriminators = self.companions.values()
        return optimizers + [
            adamw(each.parameters(), settings.gan_lr, settings.weight_decay) for each in discriminators
        ]

    # ------------------------------------------------------------ a step

    def before_step(self, step: int, batch: Batch) -> None:
        self.step, self.outputs = step, []
        # the same in all processes
        self.chance = torch.Generator().manual_seed(seed_of(self.settings.seed, "codebook", step))
        if step == 0 and self.codebook:
            video = to_model_range(batch.video.to(self.processes.device))
            with torch.no_grad():
                latents = self.model.encoder(video * self.model.config.amplitude)
            self.codebook.start_from(self.processes.gather(rows(latents)), self.chance)

    def loss(self, model: Parallel, batch: Batch) -> dict[str, Tensor]:
        device, settings = self.processes.device, self.settings
        video = to_model_range(batch.video.to(device, non_blocking=True))  # (B, 3, T, H, W)
        output = model(video, normal(batch.seeds, self.latent_shape, device))
        rebuilt = output.reconstruction.float()
        seen = self.perceptual(video, rebuilt)
        losses = self.pixels(video, rebuilt) + settings.perceptual_weight * seen  # (B,)
        values = {"perceptual": seen, "penalty": output.penalty, "psnr": psnr(video, rebuilt.detach())}
        self.to_tell_apart = None
        if self.companions and self.step >= settings.gan_start:
            discriminator = self.companions["discriminator"]
            discriminator.requires_grad_(False)  # it only judges here; it learns in `after_backward`
            values["adversarial"] = fooled = -discriminator(rebuilt).flatten(1).mean(1)
            balance = adaptive_weight(losses.mean(), fooled.mean(), self.model.last_layer)
            losses = losses + settings.gan_weight * self.processes.gather(balance[None]).mean() * fooled
            self.to_tell_apart = torch.cat([video, rebuilt.detach()])
        if self.codes:
            self.outputs.append((rows(output.latents.detach()), output.codes.flatten()))
        return {"loss": losses + self.penalty_weight * output.penalty} | values

    def after_backward(self, values: dict[str, Tensor], fraction: float, last: bool) -> None:
        if self.to_tell_apart is not None:
            self.companions["discriminator"].requires_grad_(True)
            with self.discriminator.averaging(last):
                real, fake = self.discriminator(self.to_tell_apart).chunk(2)
                values["discriminator"] = hinge(real, fake)
                (values["discriminator"].mean() * fraction).backward()
        if self.codes and last:  # latents (N, D) and codes (N,) of the whole batch, of all processes
            self.latents, self.chosen = (
                self.processes.gather(torch.cat(part)) for part in zip(*self.outputs, strict=True)
            )

    def after_step(self) -> None:
        if self.codebook:
            self.codebook.update(self.latents, self.chosen, self.chance)

    def measures(self, values: dict[str, Tensor], seconds: float) -> dict:
        use = {"perplexity": perplexity(self.chosen, self.codes)} if self.codes else {}
        return super().measures(values, seconds) | use

    # ------------------------------------------------------------ what is kept

    def samples(self, folder: Path, step: int, average: Autoencoder, metrics: Metrics) -> None:
        """Draws clips above their reconstructions, and measures how good these are."""
        result = save_reconstructions(folder / "samples", step, average, self.held_out, metrics)
        tqdm.write(f"step {step}: PSNR {result['psnr']:.2f} dB, SSIM {result['ssim']:.4f} on {result['clips']} clips")
        if result["codes"] and (warning := collapse(result["perplexity"], result["codes"])):
            tqdm.write(f"warning: {warning}")

    def save(self, folder: Path, average: Autoencoder) -> None:
        measure_scale(average, self.dataset)
        save_folder(average, folder, asdict(self.settings) | {"manifest": str(self.manifest)})

    def finish(self, folder: Path, average: Autoencoder) -> None:
        result = evaluate(folder, device=str(self.processes.device))
        write_json(folder / "reconstruction.json", result)
        print(report(result))
        settings = self.settings
        stage = "prior " if self.codes else ""  # which learns codes; a denoiser learns latents
        sizes = f" --frames {settings.frames} --height {settings.height} --width {settings.width}"
        data = f" --data {settings.data}" if settings.data else ""
        print(f"try: python train.py {stage}--autoencoder {folder}{sizes}{data}")


def make_model(settings: AutoencoderSettings) -> Autoencoder:
    """A preset with the parts that the flags change. Raises TrainingError for those that do not fit together."""
    network, config, presets = AUTOENCODERS[settings.kind]
    if settings.preset not in presets:
        raise TrainingError(f"--preset {settings.preset}: {settings.kind} has the presets {', '.join(presets)}")
    parts = given_parts(settings, NETWORK_PARTS)
    if unknown := parts.keys() - config.__dataclass_fields__.keys():
        flags = ", ".join(map(flag_of, sorted(unknown)))
        raise TrainingError(f"{flags}: --kind {settings.kind} has no such part")
    try:
        return network(replace(presets[settings.preset], **parts))
    except ValueError as error:
        raise TrainingError(f"the parts of the autoencoder do not fit together: {error}") from None


def open_model(folder: Path) -> Autoencoder:
    try:
        return open_folder(folder)
    except ValueError as error:
        raise CheckpointError(str(error)) from None


def rows(latents: Tensor) -> Tensor:
    """(B, D, T, H, W) → (B * T * H * W, D)."""
    return latents.float().movedim(1, -1).flatten(0, 3)


@torch.no_grad()
def measure_scale(model: Autoencoder, dataset: VideoDataset, clips: int = 64, batch: int = 16) -> None:
    """Sets `shift` and `scale` by clips of the training data, so that latents have mean 0 and, over all channels,
    variance 1. One scale for all: a channel that says nothing would be blown up to noise by one of its own."""
    device = model.shift.device
    model.shift.zero_()
    model.scale.fill_(1)
    keys = [(index, 0) for index in range(min(clips, len(dataset)))]
    order = [keys[first : first + batch] for first in range(0, len(keys), batch)]
    latents = [model.encode(to_model_range(part.video.to(device))) for part in batches(dataset, order, workers=0)]
    latents = torch.cat(latents)  # (clips, C, T', H', W')
    model.shift.copy_(latents.mean((0, 2, 3, 4)).view_as(model.shift))
    model.scale.copy_(1 / (latents - model.shift).square().mean().sqrt().clamp(min=1e-6))


def save_reconstructions(
    folder: Path, step: int, model: Autoencoder, dataset: VideoDataset, metrics: Metrics, most: int = 4
) -> dict:
    """Draws each of a few clips above its reconstruction, as a picture and a GIF; returns `measure`'s result."""
    folder.mkdir(exist_ok=True)
    device = model.shift.device
    keys = [(index, 0) for index in range(min(most, len(dataset)))]
    video = to_model_range(next(iter(batches(dataset, [keys], workers=0))).video.to(device))
    with torch.no_grad():
        rebuilt = model.decode(model.encode(video))
    pairs = zip(to_frames(video), to_frames(rebuilt), psnr(video, rebuilt).tolist(), strict=True)
    both = [(frames, label) for clip, copy, db in pairs for frames, label in ((clip, "clip"), (copy, f"{db:.1f} dB"))]
    pictures, labels = map(list, zip(*both, strict=True))
    picture = sheet(pictures, labels)
    picture.save(folder / f"{step:06d}.png")
    metrics.picture("reconstructions", picture, step)
    if dataset.frames > 1:
        write_gif(folder / f"{step:06d}.gif", mosaic(pictures, labels), dataset.fps)
    return measure(model, dataset, device)
