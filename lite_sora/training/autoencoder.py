"""Trains an autoencoder: one loop, from top to bottom. `python train.py autoencoder` calls `train_autoencoder`."""

import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lite_sora.autoencoders import AUTOENCODERS
from lite_sora.autoencoders.discriminator import PatchDiscriminator
from lite_sora.autoencoders.kl import KLAutoencoder
from lite_sora.autoencoders.losses import adaptive_weight, hinge, l1, l2, make_perceptual, psnr
from lite_sora.autoencoders.quantizers import EMACodebook, perplexity
from lite_sora.autoencoders.saved import open_folder, read_config, save_folder
from lite_sora.autoencoders.vq import VQAutoencoder
from lite_sora.data.loading import TrainingOrder, VideoDataset, batches, to_frames, to_model_range
from lite_sora.data.preview import mosaic, sheet
from lite_sora.data.video import write_gif
from lite_sora.evaluation.reconstruction import clips_of, collapse, evaluate, measure, report
from lite_sora.processes import join
from lite_sora.seeds import normal, seed_of
from lite_sora.storage.checkpoint import load_state, save_state
from lite_sora.storage.runs import CheckpointError
from lite_sora.training.autoencoder_settings import FRAMES, NETWORK_PARTS, AutoencoderSettings
from lite_sora.training.loop import chosen_parts, data_name, new_folder, toy_manifest
from lite_sora.training.metrics import Metrics
from lite_sora.training.muon import Muon
from lite_sora.training.parallel import autocast, choose_precision, parallelize
from lite_sora.training.steps import (
    OrderlyStop,
    TrainingError,
    check_batch_size,
    give_up_after,
    is_last,
    learning_rate,
    resume_optimizers,
    set_rates,
    sheet_is_due,
)

Autoencoder = KLAutoencoder | VQAutoencoder


def train_autoencoder(settings: AutoencoderSettings, given: dict) -> Path:
    """Trains, or goes on training, and returns the run's folder. `given` are the settings of the command line."""
    processes = join(settings.device)
    device = processes.device
    torch.manual_seed(settings.seed)
    state = None
    if settings.resume:
        folder = Path(settings.resume)
        settings, model, state = replace(saved_settings(folder), **given), open_model(folder), load_state(folder)
        model.load_state_dict(state["model"])
    else:  # before anything that takes long: it may not fit together
        settings.frames = settings.frames or FRAMES[settings.kind]
        model = make_model(settings)
    try:
        latent_shape = model.latent_shape(settings.frames, settings.height, settings.width)
        perceptual = make_perceptual(settings.perceptual)
    except ValueError as error:
        raise TrainingError(str(error)) from None
    check_batch_size(settings.batch_size, processes)
    if not settings.resume:
        folder = new_folder(settings, f"runs/autoencoders/{settings.kind}-{data_name(settings)}", processes)

    # ---- data
    manifest = Path(settings.data) if settings.data else toy_manifest(settings, processes)
    clips = clips_of(manifest, held_out=False, allow_outside=settings.allow_outside)
    if not clips:
        raise TrainingError(f'{manifest} holds no clip to train on (with "split": "train", or without a split)')
    sizes = settings.frames, settings.height, settings.width, settings.fps
    dataset = VideoDataset(clips, manifest.parent, *sizes)
    skipped = set(dataset.preload(int(settings.cache_gib * 2**30), processes.first))
    if not len(dataset):
        raise TrainingError(f"none of the {len(clips)} clips of {manifest} can be used; the first: {min(skipped)}")
    unseen = clips_of(manifest, held_out=True, allow_outside=settings.allow_outside) or dataset.clips
    watched = VideoDataset(unseen[: settings.held_out_clips], manifest.parent, *sizes)
    broken = watched.preload(2**31, show=False)
    if not len(watched):
        raise TrainingError(f"none of the held-out clips of {manifest} can be used; the first: {min(broken)}")

    # ---- model
    if settings.precision == "auto":
        settings.precision = choose_precision(device)
    model.to(device).train()
    if isinstance(perceptual, nn.Module):
        perceptual.to(device)
    discriminator = PatchDiscriminator().to(device) if settings.gan_weight else None
    optimizers = make_optimizers(model, discriminator, settings)
    step, bad_steps = 0, 0
    if state:
        step = resume_optimizers(optimizers, state, folder, settings.steps)
        if discriminator:
            discriminator.load_state_dict(state["discriminator"])
    parallel = parallelize(model, processes, settings.compile)
    parallel_discriminator = parallelize(discriminator, processes, False) if discriminator else None
    codebook = model.quantizer if isinstance(model, VQAutoencoder) else None
    pixels = {"l1": l1, "l2": l2}[settings.loss]
    penalty_weight = settings.kl_weight if settings.kind == "kl" else settings.commitment_weight
    training = asdict(settings) | {"manifest": str(manifest)}
    metrics = Metrics(folder, step, settings.tensorboard) if processes.first else None

    # ---- the loop
    order = TrainingOrder(
        len(dataset), settings.batch_size, settings.seed, step, settings.steps, processes.rank, processes.world
    )
    bar = tqdm(total=settings.steps, initial=step, desc="training", unit="step", disable=not processes.first)
    clock = time.perf_counter()
    with OrderlyStop() as stop:
        for batch in batches(dataset, order, settings.workers):
            skipped.update(batch.skipped)
            rate = learning_rate(settings, step)
            set_rates(optimizers, rate)

            video = to_model_range(batch.video.to(device, non_blocking=True))  # (B, 3, T, H, W)
            noise = normal(batch.seeds, latent_shape, device)
            chance = torch.Generator().manual_seed(
                seed_of(settings.seed, "codebook", step)
            )  # the same in all processes
            if step == 0 and isinstance(codebook, EMACodebook):
                codebook.start_from(processes.gather(rows(first_latents(model, video))), chance)

            with autocast(device, settings.precision):
                outcome = parallel(video, noise)
            rebuilt = outcome.reconstruction.float()
            seen = perceptual(video, rebuilt)
            losses = pixels(video, rebuilt) + settings.perceptual_weight * seen  # (B,)
            parts = {"perceptual": seen, "penalty": outcome.penalty, "psnr": psnr(video, rebuilt.detach())}
            adversarial = discriminator is not None and step >= settings.gan_start
            if adversarial:
                discriminator.requires_grad_(False)  # it looks, and learns further down
                parts["adversarial"] = fooled = -discriminator(rebuilt).flatten(1).mean(1)
                balance = adaptive_weight(losses.mean(), fooled.mean(), model.last_layer)
                balance = processes.gather(balance[None]).mean()
                losses = losses + settings.gan_weight * balance * fooled
            losses = losses + penalty_weight * outcome.penalty
            losses.mean().backward()
            if adversarial:
                discriminator.requires_grad_(True)
                real, fake = parallel_discriminator(torch.cat([video, rebuilt.detach()])).chunk(2)
                parts["discriminator"] = hinge(real, fake)
                parts["discriminator"].mean().backward()

            # every process sees every sample's loss, and so takes the same decisions
            parts = {"loss": losses} | parts
            values = processes.gather(torch.stack([part.detach().float() for part in parts.values()], dim=1))
            norm = nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
            finite = bool(values.isfinite().all()) and bool(norm.isfinite())
            codes = None if codebook is None else processes.gather(outcome.codes.flatten())
            if finite:
                for optimizer in optimizers:
                    optimizer.step()
                if isinstance(codebook, EMACodebook):
                    codebook.update(processes.gather(rows(outcome.latents.detach())), codes, chance)
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
            bad_steps = 0 if finite else bad_steps + 1
            step += 1

            seconds, clock = time.perf_counter() - clock, time.perf_counter()
            if metrics:
                means = values.mean(0).tolist() if finite else [None] * len(parts)
                line = {"step": step} | dict(zip(parts, means, strict=True))
                if codes is not None:
                    line["perplexity"] = perplexity(codes, codebook.codes)
                line |= {
                    "grad_norm": norm.item() if finite else None,
                    "lr": settings.lr * rate,
                    "skipped": not finite,
                    "clips_per_second": settings.batch_size / seconds,
                }
                metrics.write(line)
                show(bar, line)
            give_up_after(bad_steps, step)
            last = is_last(step, settings, stop, processes)
            look_is_due = sheet_is_due(step, settings)
            if processes.first and look_is_due:
                save_reconstructions(folder, step, model, watched, device, metrics)
            if processes.first and (last or step % settings.checkpoint_every == 0):
                checkpoint(folder, model, discriminator, optimizers, dataset, step, training)
            clock = time.perf_counter()
            if last:
                break
    bar.close()

    # ---- the end
    if metrics:
        metrics.close()
        finish(folder, settings, step, skipped, str(device))
    processes.wait()
    return folder


# ---------------------------------------------------------------- before the loop


def make_model(settings: AutoencoderSettings) -> Autoencoder:
    """A preset with the parts that the flags change. Raises TrainingError for those that do not fit together."""
    network, config, presets = AUTOENCODERS[settings.kind]
    if settings.preset not in presets:
        raise TrainingError(f"--preset {settings.preset}: {settings.kind} has the presets {', '.join(presets)}")
    parts = chosen_parts(settings, NETWORK_PARTS, config, f"--kind {settings.kind}")
    try:
        return network(replace(presets[settings.preset], **parts))
    except ValueError as error:
        raise TrainingError(f"the parts of the autoencoder do not fit together: {error}") from None


def open_model(folder: Path) -> Autoencoder:
    try:
        return open_folder(folder)
    except ValueError as error:
        raise CheckpointError(str(error)) from None


def saved_settings(folder: Path) -> AutoencoderSettings:
    """The settings that a run was started with, from its config.json."""
    try:
        saved, known = read_config(folder).get("training"), AutoencoderSettings.__dataclass_fields__
    except ValueError as error:
        raise CheckpointError(f"there is nothing to resume in {folder}: {error}") from None
    if not saved:
        raise CheckpointError(f"{folder}/config.json says nothing of a training run: there is nothing to resume")
    return AutoencoderSettings(**{key: value for key, value in saved.items() if key in known})


def make_optimizers(
    model: Autoencoder, discriminator: nn.Module | None, settings: AutoencoderSettings
) -> list[torch.optim.Optimizer]:
    """AdamW; or Muon for kernels and matrices and AdamW for the rest; and AdamW for the discriminator. A group knows
    its highest learning rate."""
    muon = settings.optimizer == "muon"
    matrices = [weight for weight in model.parameters() if muon and weight.dim() in (2, 5)]
    chosen = {id(weight) for weight in matrices}
    rest = [weight for weight in model.parameters() if id(weight) not in chosen]
    adamw = {"betas": (0.9, 0.95), "weight_decay": settings.weight_decay, "fused": True}
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(rest, lr=settings.lr, **adamw)]
    if matrices:
        optimizers.append(Muon(matrices, lr=settings.muon_lr, weight_decay=settings.weight_decay))
    if discriminator:
        optimizers.append(torch.optim.AdamW(discriminator.parameters(), lr=settings.gan_lr, **adamw))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


# ---------------------------------------------------------------- in the loop


def rows(latents: Tensor) -> Tensor:
    """(B, D, T, H, W) → (B * T * H * W, D)."""
    return latents.float().movedim(1, -1).flatten(0, 3)


@torch.no_grad()
def first_latents(model: VQAutoencoder, video: Tensor) -> Tensor:
    """The latents of the first batch, where codes begin."""
    return model.encoder(video * model.config.amplitude)


def show(bar: tqdm, line: dict) -> None:
    post = {"loss": f"{line['loss']:.4f}", "PSNR": f"{line['psnr']:.1f}"} if line["loss"] is not None else {}
    if "perplexity" in line:
        post["perplexity"] = f"{line['perplexity']:.0f}"
    bar.set_postfix(post | {"clips/s": f"{line['clips_per_second']:.1f}"}, refresh=False)
    bar.update()


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


def checkpoint(
    folder: Path,
    model: Autoencoder,
    discriminator: nn.Module | None,
    optimizers: list,
    dataset: VideoDataset,
    step: int,
    training: dict,
) -> None:
    model.eval()
    measure_scale(model, dataset)
    model.train()
    save_folder(model, folder, training)
    state = {"model": model.state_dict(), "step": step, "optimizers": [each.state_dict() for each in optimizers]}
    save_state(folder, state | ({"discriminator": discriminator.state_dict()} if discriminator else {}))


def save_reconstructions(folder: Path, step: int, model: Autoencoder, dataset: VideoDataset, device, metrics) -> None:
    """Clips above what the autoencoder makes of them, as a sheet and a GIF; and how good that is."""
    samples = folder / "samples"
    samples.mkdir(exist_ok=True)
    model.eval()
    keys = [(index, 0) for index in range(min(4, len(dataset)))]
    video = to_model_range(next(iter(batches(dataset, [keys], workers=0))).video.to(device))
    rebuilt = model.decode(model.encode(video))
    result = measure(model, dataset, device)
    model.train()
    pairs = zip(to_frames(video), to_frames(rebuilt), psnr(video, rebuilt).tolist(), strict=True)
    both = [(frames, label) for clip, copy, db in pairs for frames, label in ((clip, "clip"), (copy, f"{db:.1f} dB"))]
    pictures, labels = map(list, zip(*both, strict=True))
    picture = sheet(pictures, labels)
    picture.save(samples / f"{step:06d}.png")
    metrics.picture("reconstructions", picture, step)
    if dataset.frames > 1:
        write_gif(samples / f"{step:06d}.gif", mosaic(pictures, labels), dataset.fps)
    tqdm.write(f"step {step}: PSNR {result['psnr']:.2f} dB, SSIM {result['ssim']:.4f} on {result['clips']} clips")
    if result["codes"] and (warning := collapse(result["perplexity"], result["codes"])):
        tqdm.write(f"warning: {warning}")


# ---------------------------------------------------------------- after the loop


def finish(folder: Path, settings: AutoencoderSettings, step: int, skipped: set[str], device: str) -> None:
    """Says what there is now, and what to do next."""
    if skipped:
        (folder / "skipped.txt").write_text("\n".join(sorted(skipped)) + "\n")
        print(f"{len(skipped)} clips could not be used: see {folder}/skipped.txt; the first: {min(skipped)}")
    if step < settings.steps:
        go_on = f"python train.py autoencoder --resume {folder}"
        print(f"stopped at step {step} of {settings.steps}, and saved; go on with: {go_on}")
        return
    result = evaluate(folder, device=device)
    (folder / "reconstruction.json").write_text(json.dumps(result, indent=2) + "\n")
    print(f"weights: {folder}/model.safetensors   samples: {folder}/samples/")
    print(report(result))
