"""Trains a text-to-video denoiser: one loop, from top to bottom. `python train.py` calls `train`."""

import copy
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from lite_sora.autoencoders import load_autoencoder
from lite_sora.compute import known_peak, training_flops
from lite_sora.data.clip import Clip, read_manifest
from lite_sora.data.loading import Batch, TrainingOrder, VideoDataset, batches, to_frames, to_model_range
from lite_sora.data.preview import mosaic, sheet
from lite_sora.data.video import write_gif
from lite_sora.denoisers import DENOISERS
from lite_sora.diffusion.objective import PRESETS
from lite_sora.pipeline import TextToVideo, TextToVideoConfig
from lite_sora.processes import Processes, join
from lite_sora.seeds import normal, seed_of, uniform
from lite_sora.storage.checkpoint import load_state, read_json, save_state
from lite_sora.storage.runs import CheckpointError
from lite_sora.text.cached import CachedTexts, cached_texts
from lite_sora.text.encoder import Text, build_tokenizer
from lite_sora.text.pretrained import PretrainedText
from lite_sora.toy.dataset import write_toy_dataset
from lite_sora.training.latents import cached_latents
from lite_sora.training.metrics import TIME_BINS, Metrics, loss_by_time, plot_curves
from lite_sora.training.muon import Muon, split_parameters
from lite_sora.training.parallel import autocast, averaging, choose_precision, parallelize
from lite_sora.training.settings import NETWORK_PARTS, TrainSettings
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


def train(settings: TrainSettings, given: dict, observe: Callable[[int, TextToVideo], None] | None = None) -> Path:
    """Trains, or goes on training, and returns the run's folder. `given` are the settings of the command line.

    `observe(step, model)` is called in the first process, with the averaged weights, when sample sheets are due."""
    processes = join(settings.device)
    torch.manual_seed(settings.seed)
    if settings.resume:
        folder = Path(settings.resume)
        settings = replace(saved_settings(folder), **given)
        model, state = TextToVideo.from_pretrained(folder), load_state(folder)
        model.load_state_dict(state["model"])
    else:
        config = model_config(settings)  # before anything that takes long: it may not fit together
        folder = new_folder(settings, f"runs/{data_name(settings)}", processes)
    check_batch_size(settings.batch_size, processes)

    # ---- data
    manifest = Path(settings.data) if settings.data else toy_manifest(settings, processes)
    clips = [clip for clip in read_manifest(manifest, settings.allow_outside) if clip.for_training]
    if not clips:
        raise TrainingError(f'{manifest} holds no clip to train on (with "split": "train", or without a split)')
    clips = clips[: settings.overfit]
    size = settings.frames, settings.height, settings.width, settings.fps
    fixed, original = settings.overfit is not None, settings.original_captions
    videos = dataset = VideoDataset(clips, manifest.parent, *size, fixed=fixed, original=original)
    cache = Path(settings.cache_folder or manifest.parent / "cache")
    if settings.autoencoder == "pixel":
        skipped = set(videos.preload(int(settings.cache_gib * 2**30), processes.first))
    else:
        autoencoder = model.autoencoder if settings.resume else load_autoencoder(settings.autoencoder)
        dataset, broken = cached_latents(videos, autoencoder, cache, processes)
        skipped = set(broken)
    if not len(dataset):
        raise TrainingError(f"none of the {len(clips)} clips of {manifest} can be used; the first: {min(skipped)}")

    # ---- model
    if settings.precision == "auto":
        settings.precision = choose_precision(processes.device)
    said = [clip.all_captions + (clip.original_captions if original else []) for clip in dataset.clips]
    said = list(chain.from_iterable(said))
    if not settings.resume:
        tokenizer = build_tokenizer(said)
        model = TextToVideo(config, tokenizer)
    texts = cached_texts(model.text, said, cache, processes) if isinstance(model.text, PretrainedText) else None
    model.config.training = asdict(settings)
    model.to(processes.device).train()
    average = copy.deepcopy(model).eval().requires_grad_(False)  # EMA of the weights: what is saved and sampled
    optimizers = make_optimizers(model, settings)
    step, bad_steps = 0, 0
    if settings.resume:
        average.load_state_dict(state["average"])
        step = resume_optimizers(optimizers, state, folder, settings.steps)
    parallel = parallelize(model, processes, settings.compile)

    metrics = Metrics(folder, step, settings.tensorboard) if processes.first else None
    peak = known_peak(processes.device, settings.precision)
    latent_shape = model.latent_shape()
    flops = settings.batch_size * training_flops(model, latent_shape, longest_caption(model, dataset.clips))
    tokens = settings.batch_size * math.prod(n // p for n, p in zip(latent_shape[1:], settings.patch, strict=True))

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

            losses, times = [], []
            parts = torch.arange(len(batch)).chunk(settings.accumulate)
            for number, part in enumerate(parts, 1):
                inputs = training_inputs(model, batch, part.tolist(), settings, processes.device, texts)
                with averaging(parallel, last=number == len(parts)):
                    with autocast(processes.device, settings.precision):
                        loss = parallel(*inputs)  # (B,)
                    (loss.sum() / len(batch)).backward()
                losses.append(loss.detach())
                times.append(inputs[2])

            # every process sees every sample's loss, and so takes the same decisions
            losses, times = processes.gather(torch.cat(losses)), processes.gather(torch.cat(times))
            norm = nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
            finite = bool(losses.isfinite().all()) and bool(norm.isfinite())
            if finite:
                for optimizer in optimizers:
                    optimizer.step()
                update_average(average, model, min(settings.ema, (1 + step) / (10 + step)))
            model.zero_grad(set_to_none=True)
            bad_steps = 0 if finite else bad_steps + 1
            step += 1

            seconds, clock = time.perf_counter() - clock, time.perf_counter()
            if metrics:
                line = {
                    "step": step,
                    "loss": losses.mean().item() if finite else None,
                    "loss_by_time": loss_by_time(losses, times) if finite else [None] * TIME_BINS,
                    "grad_norm": norm.item() if finite else None,
                    "lr": settings.lr * rate,
                    "skipped": not finite,
                    "clips_per_second": settings.batch_size / seconds,
                    "tokens_per_second": tokens / seconds,
                    "flops_per_second": flops / seconds,
                    "mfu": flops / seconds / (peak * processes.world) if peak else None,
                }
                metrics.write(line)
                show(bar, line)
            give_up_after(bad_steps, step)
            last = is_last(step, settings, stop, processes)
            look_is_due = sheet_is_due(step, settings)
            if processes.first and look_is_due:
                save_samples(folder, step, model, average, videos, metrics)
                if observe:
                    observe(step, average)
            if processes.first and (last or step % settings.checkpoint_every == 0):
                checkpoint(folder, model, average, optimizers, step)
            clock = time.perf_counter()
            if last:
                break
    bar.close()

    # ---- the end
    if metrics:
        metrics.close()
        finish(folder, settings, average, step, skipped, sample_prompts(dataset.clips)[0])
    processes.wait()
    return folder


# ---------------------------------------------------------------- before the loop


def saved_settings(folder: Path) -> TrainSettings:
    """The settings that a run was started with, from its config.json."""
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist: there is nothing to resume in {folder}")
    saved, known = read_json(path).get("training"), TrainSettings.__dataclass_fields__
    if not saved:
        raise CheckpointError(f"{path} says nothing of a training run: there is nothing to resume in {folder}")
    return TrainSettings(**{key: value for key, value in saved.items() if key in known})


def data_name(settings: TrainSettings) -> str:
    """What a run is called after: the manifest's folder, or the toy world."""
    return Path(settings.data).resolve().parent.name if settings.data else "toy"


def new_folder(settings: TrainSettings, usual: str, processes: Processes) -> Path:
    """The folder for a new run, `usual` where --out does not say; one that holds a run already is never written to."""
    folder, number = Path(settings.out or usual), 2
    if settings.out and (folder / "config.json").exists():
        raise TrainingError(f"{folder} holds a run already; --resume {folder} goes on with it, or choose another --out")
    while (folder / "config.json").exists():
        folder, number = Path(f"{usual}-{number}"), number + 1
    processes.wait()  # all have looked before the first one writes
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def toy_manifest(settings: TrainSettings, processes: Processes) -> Path:
    """The toy world on disk; written by the first process if it is not there yet. Twice as large as what is trained on,
    since yuv420p halves the resolution of colour."""
    corner = "" if settings.toy_corner == "default" else f"-{settings.toy_corner}"
    longer = f"-{settings.frames}-frames" if settings.frames > 8 else ""
    folder, frames = Path("data") / f"toy{corner}{longer}", max(8, settings.frames)
    if processes.first:
        side = 2 * max(settings.height, settings.width)
        write_toy_dataset(folder, settings.toy_clips, settings.toy_corner, frames=frames, side=side, fps=settings.fps)
    processes.wait()
    return folder / "manifest.jsonl"


def longest_caption(model: TextToVideo, clips: list[Clip]) -> int:
    """Tokens of the longest of the first captions: what a step's FLOPs are counted with."""
    return model.text.tokenize([clip.caption for clip in clips[:256]]).shape[1]


def model_config(settings: TrainSettings) -> TextToVideoConfig:
    """What to build. Raises TrainingError for an autoencoder that cannot be loaded, for sizes and patches that do not
    fit, and for an unknown part of a loss."""
    try:
        _, *sizes = load_autoencoder(settings.autoencoder).latent_shape(
            settings.frames, settings.height, settings.width
        )
    except ValueError as error:
        raise TrainingError(f"--autoencoder {settings.autoencoder}: {error}") from None
    for flag, size, patch in zip(("frames", "height", "width"), sizes, settings.patch, strict=True):
        if size % patch:
            after = "" if getattr(settings, flag) == size else f" is {size} in the latents, which"
            raise TrainingError(
                f"--{flag} {getattr(settings, flag)}{after} does not divide by {patch}, the patch "
                f"(--patch {' '.join(map(str, settings.patch))})"
            )
    parts = {k: getattr(settings, k) for k in ("path", "prediction", "weighting", "time", "shift")}
    preset = settings.objective or ("sit" if settings.denoiser == "sit" else "toy")
    try:
        objective = replace(PRESETS[preset], **{k: v for k, v in parts.items() if v is not None})
    except ValueError as error:
        raise TrainingError(f"--{error}") from None

    _, network_config, sizes = DENOISERS[settings.denoiser]
    if settings.size not in sizes:
        raise TrainingError(f"--size {settings.size}: {settings.denoiser} has the sizes {', '.join(sizes)}")
    width, depth, heads = sizes[settings.size]
    network = {"patch": settings.patch, "width": width, "depth": depth, "heads": heads}
    network |= chosen_parts(settings, NETWORK_PARTS, network_config, f"--denoiser {settings.denoiser}")
    try:
        network_config(**network)
    except ValueError as error:
        raise TrainingError(f"the parts of the denoiser do not fit together: {error}") from None
    text = str(Path(settings.text).resolve()) if Path(settings.text).is_dir() else settings.text  # for use elsewhere
    return TextToVideoConfig(
        denoiser=settings.denoiser,
        denoiser_config=network,
        autoencoder=settings.autoencoder,
        text=text,
        text_depth=settings.text_depth,
        text_width=width if text == "words" else PretrainedText(text).width,
        objective=objective,
        frames=settings.frames,
        height=settings.height,
        width=settings.width,
        fps=settings.fps,
    )


def chosen_parts(settings, names: tuple[str, ...], config: type, owner: str) -> dict:
    """The flags that change parts of a network. Raises TrainingError for those that its configuration does not have."""
    parts = {name: getattr(settings, name) for name in names if getattr(settings, name) is not None}
    if unknown := parts.keys() - config.__dataclass_fields__.keys():
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(unknown))
        raise TrainingError(f"{flags}: {owner} has no such part")
    return parts


def make_optimizers(model: TextToVideo, settings: TrainSettings) -> list[torch.optim.Optimizer]:
    """AdamW; or Muon for what tokens pass through and AdamW for the rest. A group knows its highest learning rate."""
    matrices, rest = split_parameters(model) if settings.optimizer == "muon" else ([], list(model.parameters()))
    optimizers = [
        torch.optim.AdamW(rest, lr=settings.lr, betas=(0.9, 0.95), weight_decay=settings.weight_decay, fused=True)
    ]
    if matrices:
        optimizers.append(Muon(matrices, lr=settings.muon_lr, weight_decay=settings.weight_decay))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


# ---------------------------------------------------------------- in the loop


def training_inputs(
    model: TextToVideo, batch: Batch, part: list[int], settings: TrainSettings, device, texts: CachedTexts | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | Text]:
    """Latents, noise (B, C, T, H, W), t (B,) and token ids (B, L), or what a frozen encoder made of the captions. All
    chance is in the samples' seeds."""
    seeds = [batch.seeds[i] for i in part]
    x = batch.video[part].to(device, non_blocking=True)
    if x.dtype == torch.uint8:  # else these are latents, which the autoencoder made before training
        x = to_model_range(x)
    noise = normal(seeds, x.shape[1:], device)
    t = model.objective.draw_times(uniform([seed_of(seed, "time") for seed in seeds])).to(device)
    dropped = uniform([seed_of(seed, "dropout") for seed in seeds]) < settings.caption_dropout
    captions = ["" if empty else batch.captions[i] for i, empty in zip(part, dropped.tolist(), strict=True)]
    return x, noise, t, texts(captions, device) if texts else model.text.tokenize(captions).to(device)


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """average = decay * average + (1 - decay) * model."""
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)


def show(bar: tqdm, line: dict) -> None:
    loss = f"{line['loss']:.4f}" if line["loss"] is not None else "not finite"
    post = {"loss": loss, "clips/s": f"{line['clips_per_second']:.0f}", "tokens/s": f"{line['tokens_per_second']:.0f}"}
    post["GFLOP/s"] = f"{line['flops_per_second'] / 1e9:.0f}"
    if line["mfu"]:
        post["MFU"] = f"{line['mfu']:.0%}"
    bar.set_postfix(post, refresh=False)
    bar.update()


def checkpoint(folder: Path, model: TextToVideo, average: TextToVideo, optimizers: list, step: int) -> None:
    average.save_pretrained(folder)
    weights = {"model": model.state_dict(), "average": average.state_dict()}
    save_state(folder, weights | {"step": step, "optimizers": [optimizer.state_dict() for optimizer in optimizers]})


def save_samples(
    folder: Path, step: int, model: TextToVideo, average: TextToVideo, videos: VideoDataset, metrics
) -> None:
    """Sheets (prompt × frames) and GIFs from fixed prompts and seeds: of the raw weights, and of their average. Where
    clips are learnt by heart, each stands above what is to be it."""
    prompts, real = sample_prompts(videos.clips), None
    if videos.fixed:
        real, prompts = zip(*(videos[index, 0][:2] for index in range(min(8, len(videos)))), strict=True)
    samples = folder / "samples"
    samples.mkdir(exist_ok=True)
    for name, network in (("raw", model), ("ema", average)):
        network.eval()
        rows, labels = list(to_frames(network.generate(list(prompts), seeds=list(range(len(prompts)))))), prompts
        if real:
            rows, labels = beside(real, rows, prompts)
        picture = sheet(rows, labels)
        picture.save(samples / f"{step:06d}-{name}.png")
        metrics.picture(f"samples/{name}", picture, step)
        write_gif(samples / f"{step:06d}-{name}.gif", mosaic(rows, labels), network.config.fps)
    model.train()


def beside(real: list[np.ndarray], made: list[np.ndarray], prompts: list[str]) -> tuple[list[np.ndarray], list[str]]:
    """Rows of a sheet, and their labels: each real clip above what was made of its caption, with their PSNR, the peak
    signal-to-noise ratio 10 log10(255² / mean squared error): over 30 dB they look alike, under 15 they do not."""
    rows, labels = [], []
    for truth, video, prompt in zip(real, made, prompts, strict=True):
        error = np.square(truth.astype(float) - video).mean()
        rows += [truth, video]
        labels += [f"real: {prompt}", f"generated, {10 * math.log10(255**2 / max(error, 1e-9)):.1f} dB: {prompt}"]
    return rows, labels


def sample_prompts(clips: list[Clip], count: int = 8) -> list[str]:
    """The same few captions of a dataset each time, spread over it."""
    captions = sorted({clip.caption for clip in clips if clip.caption.strip()})
    return captions[:: max(1, len(captions) // count)][:count]


# ---------------------------------------------------------------- after the loop


def finish(
    folder: Path, settings: TrainSettings, average: TextToVideo, step: int, skipped: set[str], prompt: str
) -> None:
    """Says what there is now, and what to do next."""
    if skipped:
        (folder / "skipped.txt").write_text("\n".join(sorted(skipped)) + "\n")
        print(
            f"{len(skipped)} clips could not be used (all of them: {folder}/skipped.txt):",
            *sorted(skipped)[:5],
            sep="\n  ",
        )
    curves = plot_curves(folder)
    if step < settings.steps:
        print(f"stopped at step {step} of {settings.steps}, and saved; go on with: python train.py --resume {folder}")
        return
    print(f"weights: {folder}/model.safetensors   curves: {curves}   samples: {folder}/samples/")
    square = settings.height == settings.width  # as the judge wants it, and long enough to move
    if settings.data is None and not settings.overfit and settings.adherence_clips and square and settings.frames > 1:
        from lite_sora.evaluation.adherence import measure, report

        result = measure(average, settings.toy_corner, settings.adherence_clips)
        (folder / "adherence.json").write_text(json.dumps(result, indent=2) + "\n")
        print(report(result))
    print(f'try: python generate.py "{prompt if settings.data else "a red circle moving right"}" --run {folder}')
