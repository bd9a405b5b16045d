"""Trains a prior over the codes of a VQ autoencoder: one loop, from top to bottom. `python train.py prior` calls
`train_prior`."""

import json
import math
import time
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lite_sora.autoencoders.saved import TrainedAutoencoder
from lite_sora.data.clip import Clip, read_manifest
from lite_sora.data.loading import TrainingOrder, VideoDataset
from lite_sora.prior.dataset import CodeDataset, encode_clips
from lite_sora.prior.pipeline import TextToCodes, TextToCodesConfig, open_vq
from lite_sora.prior.transformer import CodeTransformerConfig
from lite_sora.processes import join
from lite_sora.seeds import seed_of, uniform
from lite_sora.storage.checkpoint import load_state, read_json
from lite_sora.storage.runs import CheckpointError
from lite_sora.text.encoder import build_tokenizer
from lite_sora.training.loop import (
    checkpoint,
    data_name,
    make_optimizers,
    new_folder,
    sample_prompts,
    save_samples,
    toy_manifest,
    update_average,
)
from lite_sora.training.metrics import Metrics
from lite_sora.training.parallel import autocast, choose_precision, parallelize
from lite_sora.training.prior_settings import PriorSettings
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


def train_prior(settings: PriorSettings, given: dict) -> Path:
    """Trains, or goes on training, and returns the run's folder. `given` are the settings of the command line."""
    processes = join(settings.device)
    device = processes.device
    torch.manual_seed(settings.seed)
    if settings.resume:
        folder = Path(settings.resume)
        settings = replace(saved_settings(folder), **given)
    else:  # before anything that takes long: it may not fit together
        autoencoder = open_vq(Path(settings.autoencoder))
        settings = as_the_autoencoder(settings, autoencoder)
        config = model_config(settings, autoencoder)
        folder = new_folder(settings, f"runs/prior-{data_name(settings)}", processes)
    check_batch_size(settings.batch_size, processes)

    # ---- data
    manifest = Path(settings.data) if settings.data else toy_manifest(settings, processes)
    rows = list(read_manifest(manifest, settings.allow_outside))
    clips = [clip for clip in rows if clip.for_training]
    if not clips:
        raise TrainingError(f'{manifest} holds no clip to train on (with "split": "train", or without a split)')

    # ---- model
    if settings.precision == "auto":
        settings.precision = choose_precision(device)
    state = None
    if settings.resume:
        model, state = TextToCodes.from_pretrained(folder), load_state(folder)
        model.load_state_dict(state["model"])
    else:
        tokenizer = build_tokenizer(caption for clip in clips for caption in clip.all_captions)
        model = TextToCodes(config, tokenizer, autoencoder)
    model.config.training = asdict(settings)
    model.to(device).train()
    average = deepcopy(model).eval().requires_grad_(False)  # EMA of the weights: what is saved and sampled
    optimizers = make_optimizers(model, settings)
    step, bad_steps = 0, 0
    if state:
        average.load_state_dict(state["average"])
        step = resume_optimizers(optimizers, state, folder, settings.steps)
    parallel = parallelize(model, processes, settings.compile)

    # ---- codes
    dataset, broken = encode_clips(model, open_videos(clips, manifest, settings), processes.first)
    skipped = set(broken)
    if not len(dataset):
        raise TrainingError(f"none of the {len(clips)} clips of {manifest} can be used; the first: {min(skipped)}")
    unseen = [clip for clip in rows if not clip.for_training]
    held_out = encode_clips(model, open_videos(unseen, manifest, settings), show=False)[0]
    codes_a_clip = dataset.codes[0][0].numel()
    metrics = Metrics(folder, step, settings.tensorboard) if processes.first else None

    # ---- the loop
    order = TrainingOrder(
        len(dataset), settings.batch_size, settings.seed, step, settings.steps, processes.rank, processes.world
    )
    bar = tqdm(total=settings.steps, initial=step, desc="training", unit="step", disable=not processes.first)
    clock = time.perf_counter()
    with OrderlyStop() as stop:
        for keys in order:
            rate = learning_rate(settings, step)
            set_rates(optimizers, rate)

            codes, ids = training_inputs(model, dataset, keys, settings.caption_dropout)
            torch.manual_seed(seed_of(settings.seed, "dropout", step, processes.rank))
            with autocast(device, settings.precision):
                losses = parallel(codes, ids)  # (B,), nats per code
            losses.mean().backward()

            # every process sees every sample's loss, and so takes the same decisions
            losses = processes.gather(losses.detach())
            norm = nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
            finite = bool(losses.isfinite().all()) and bool(norm.isfinite())
            if finite:
                for optimizer in optimizers:
                    optimizer.step()
                update_average(average, model, min(settings.ema, (1 + step) / (10 + step)))
            model.zero_grad(set_to_none=True)
            bad_steps = 0 if finite else bad_steps + 1
            step += 1

            look_is_due = sheet_is_due(step, settings)
            seconds, clock = time.perf_counter() - clock, time.perf_counter()
            if metrics:
                loss = losses.mean().item() if finite else None
                line = {
                    "step": step,
                    "loss": loss,
                    "bits_per_code": loss / math.log(2) if finite else None,
                    "grad_norm": norm.item() if finite else None,
                    "lr": settings.lr * rate,
                    "skipped": not finite,
                    "clips_per_second": settings.batch_size / seconds,
                    "codes_per_second": settings.batch_size * codes_a_clip / seconds,
                }
                if look_is_due and len(held_out):
                    line["held_out_bits_per_code"] = bits_per_code(average, held_out)
                    tqdm.write(f"step {step}: {line['held_out_bits_per_code']:.3f} bits per code on held-out clips")
                metrics.write(line)
                show(bar, line)
            give_up_after(bad_steps, step)
            last = is_last(step, settings, stop, processes)
            if processes.first and look_is_due:
                save_samples(folder, step, model, average, dataset.videos, metrics)
            if processes.first and (last or step % settings.checkpoint_every == 0):
                checkpoint(folder, model, average, optimizers, step)
            clock = time.perf_counter()
            if last:
                break
    bar.close()

    # ---- the end
    if metrics:
        metrics.close()
        finish(folder, settings, average, held_out, step, skipped, sample_prompts(dataset.videos.clips)[0])
    processes.wait()
    return folder


# ---------------------------------------------------------------- before the loop


def saved_settings(folder: Path) -> PriorSettings:
    """The settings that a run was started with, from its config.json."""
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist: there is nothing to resume in {folder}")
    config, known = read_json(path), PriorSettings.__dataclass_fields__
    if config.get("kind") != "prior" or not config.get("training"):
        raise CheckpointError(f"{path} is not of a prior's training run: there is nothing to resume in {folder}")
    return PriorSettings(**{key: value for key, value in config["training"].items() if key in known})


def as_the_autoencoder(settings: PriorSettings, autoencoder: TrainedAutoencoder) -> PriorSettings:
    """Sizes that were not given are those that the autoencoder was trained at."""
    trained = autoencoder.training
    missing = [name for name in ("frames", "height", "width", "fps") if getattr(settings, name) is None]
    if unknown := [name for name in missing if name not in trained]:
        flags = ", ".join(f"--{name}" for name in unknown)
        raise TrainingError(f"{settings.autoencoder} does not say what sizes it was trained at; pass {flags}")
    return replace(settings, **{name: trained[name] for name in missing})


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


def open_videos(clips: list[Clip], manifest: Path, settings: PriorSettings) -> VideoDataset:
    return VideoDataset(clips, manifest.parent, settings.frames, settings.height, settings.width, settings.fps)


# ---------------------------------------------------------------- in the loop


def training_inputs(
    model: TextToCodes, dataset: CodeDataset, keys: list[tuple[int, int]], caption_dropout: float
) -> tuple[Tensor, Tensor]:
    """Codes (B, T', H', W') and token ids (B, L) of a batch; all chance is in the keys' seeds."""
    codes, captions = dataset.batch(keys)
    dropped = uniform([seed_of(seed, "dropout") for _, seed in keys]) < caption_dropout
    captions = ["" if empty else caption for caption, empty in zip(captions, dropped.tolist(), strict=True)]
    return codes.to(model.device), model.text.tokenize(captions).to(model.device)


@torch.no_grad()
def bits_per_code(model: TextToCodes, dataset: CodeDataset, batch: int = 32) -> float:
    """What the codes of a dataset cost, given their captions: minus the mean log2-likelihood of a code. The entropy of
    their shares alone is log2 of the perplexity that the autoencoder reports."""
    keys = [(index, 0) for index in range(len(dataset))]
    parts = [keys[first : first + batch] for first in range(0, len(keys), batch)]
    losses = torch.cat([model(*training_inputs(model, dataset, part, caption_dropout=0.0)) for part in parts])
    return losses.mean().item() / math.log(2)


def show(bar: tqdm, line: dict) -> None:
    loss = f"{line['loss']:.3f}" if line["loss"] is not None else "not finite"
    post = {"nats per code": loss, "clips/s": f"{line['clips_per_second']:.0f}"}
    bar.set_postfix(post | {"codes/s": f"{line['codes_per_second']:.0f}"}, refresh=False)
    bar.update()


# ---------------------------------------------------------------- after the loop


def finish(
    folder: Path,
    settings: PriorSettings,
    average: TextToCodes,
    held_out: CodeDataset,
    step: int,
    skipped: set[str],
    prompt: str,
) -> None:
    """Says what there is now, and what to do next."""
    if skipped:
        (folder / "skipped.txt").write_text("\n".join(sorted(skipped)) + "\n")
        print(f"{len(skipped)} clips could not be used: see {folder}/skipped.txt; the first: {min(skipped)}")
    if step < settings.steps:
        go_on = f"python train.py prior --resume {folder}"
        print(f"stopped at step {step} of {settings.steps}, and saved; go on with: {go_on}")
        return
    print(f"weights: {folder}/model.safetensors   samples: {folder}/samples/")
    if len(held_out):
        print(f"likelihood: {bits_per_code(average, held_out):.3f} bits per code on {len(held_out)} held-out clips")
    square = settings.height == settings.width  # as the judge wants it, and long enough to move
    if settings.data is None and settings.adherence_clips and square and settings.frames > 1:
        from lite_sora.evaluation.adherence import measure, report

        result = measure(average, settings.toy_corner, settings.adherence_clips)
        (folder / "adherence.json").write_text(json.dumps(result, indent=2) + "\n")
        print(report(result))
    print(f'try: python generate.py "{prompt if settings.data else "a red circle moving right"}" --run {folder}')
