"""Trains a small captioner: one loop, from top to bottom. `python train.py captioner` calls `train_captioner`.

The model is that of `captioning/small.py`, a SmolVLM. A run's folder is an ordinary transformers folder, which
`lite_sora/captioning` loads like any other. DALL-E 3 (Betker et al. 2023) trained a captioner on few pictures with good
captions, to write captions for all the others: with --clips, this one too.
"""

import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn
from tqdm import tqdm

from lite_sora.captioning.small import (
    caption_ids,
    caption_loss,
    make_model,
    make_processor,
    next_tokens,
    prompt,
    to_pixels,
    write_captions,
)
from lite_sora.data.clip import Clip, read_manifest
from lite_sora.data.loading import TrainingOrder, VideoDataset, batches
from lite_sora.data.preview import sheet
from lite_sora.processes import join
from lite_sora.seeds import seed_of
from lite_sora.storage.checkpoint import load_state, read_json, save_state
from lite_sora.storage.files import write_whole
from lite_sora.storage.runs import CheckpointError
from lite_sora.toy.sentences import facts_of, mark_caption
from lite_sora.training.captioner_settings import CaptionerSettings
from lite_sora.training.loop import new_folder, toy_manifest
from lite_sora.training.metrics import Metrics, plot_curves
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


def train_captioner(settings: CaptionerSettings, given: dict) -> Path:
    """Trains, or goes on training, and returns the run's folder. `given` are the settings of the command line."""
    processes = join(settings.device)
    device = processes.device
    torch.manual_seed(settings.seed)
    state = None
    if settings.resume:
        folder = Path(settings.resume)
        settings, state = replace(saved_settings(folder), **given), load_state(folder)
    check_batch_size(settings.batch_size, processes)
    if not settings.resume:
        folder = new_folder(settings, "runs/captioner", processes)

    # ---- data
    manifest = Path(settings.data) if settings.data else toy_manifest(settings, processes)
    clips, judged = split_clips(manifest, settings)
    sizes = settings.frames, settings.height, settings.width, settings.fps
    dataset = VideoDataset(clips, manifest.parent, *sizes)
    skipped = set(dataset.preload(int(settings.cache_gib * 2**30), processes.first))
    if not len(dataset):
        raise TrainingError(f"none of the {len(clips)} clips of {manifest} can be used; the first: {min(skipped)}")
    watched = {name: VideoDataset(clips, manifest.parent, *sizes, fixed=True) for name, clips in judged.items()}
    for each in watched.values():
        each.preload(2**31, show=False)
    watched = {name: each for name, each in watched.items() if len(each)}

    # ---- model
    if settings.precision == "auto":
        settings.precision = choose_precision(device)
    if state:
        model, processor = open_folder(folder)
        model.load_state_dict(state["model"])
    else:
        captions = [clip.caption for clip in dataset.clips]
        shape = {"side": settings.height, "patch": settings.patch, "merge": settings.merge}
        size = {"channels": settings.channels, "layers": settings.layers, "heads": settings.heads}
        processor = make_processor(captions, settings.words, **shape)
        model = make_model(len(processor.tokenizer), **size, **shape)
        model.generation_config.max_new_tokens = 2 * caption_ids(processor.tokenizer, captions[:1000]).shape[1]
    model.to(device).train()
    optimizers = make_optimizers(model, settings)
    step, bad_steps = 0, 0
    if state:
        step = resume_optimizers(optimizers, state, folder, settings.steps)
    parallel = parallelize(model, processes, settings.compile)
    metrics = Metrics(folder, step, settings.tensorboard) if processes.first else None
    prompts = {count: prompt(processor, count) for count in range(1, settings.frames + 1)}  # (P,) each

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

            frames = some_frames(settings, step)  # which of them, T
            pixels = to_pixels(batch.video[:, :, frames], device)  # (B, T, 3, H, W)
            targets = caption_ids(processor.tokenizer, batch.captions).to(device)  # (B, L)
            with autocast(device, settings.precision):
                logits = next_tokens(parallel, pixels, prompts[len(frames)].to(device), targets)  # (B, L, V)
            loss, right = caption_loss(logits, targets)  # (B,), (B,)
            loss.mean().backward()

            # every process sees every sample's loss, and so takes the same decisions
            values = processes.gather(torch.stack([loss.detach(), right], dim=1))
            norm = nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
            finite = bool(values.isfinite().all()) and bool(norm.isfinite())
            if finite:
                for optimizer in optimizers:
                    optimizer.step()
            model.zero_grad(set_to_none=True)
            bad_steps = 0 if finite else bad_steps + 1
            step += 1

            seconds, clock = time.perf_counter() - clock, time.perf_counter()
            if metrics:
                line = {
                    "step": step,
                    "loss": values[:, 0].mean().item() if finite else None,
                    "token_accuracy": values[:, 1].mean().item() if finite else None,
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
                save_samples(folder, step, model, processor, watched or {"learnt": dataset}, metrics)
            if processes.first and (last or step % settings.checkpoint_every == 0):
                checkpoint(folder, model, processor, optimizers, step, settings)
            clock = time.perf_counter()
            if last:
                break
    bar.close()

    # ---- the end
    if metrics:
        metrics.close()
        finish(folder, settings, model, processor, watched, step, skipped)
    processes.wait()
    return folder


# ---------------------------------------------------------------- before the loop


def saved_settings(folder: Path) -> CaptionerSettings:
    """The settings that a run was started with, from its training.json: config.json is the model's."""
    path = folder / "training.json"
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist: there is no captioner's run to resume in {folder}")
    saved, known = read_json(path), CaptionerSettings.__dataclass_fields__
    return CaptionerSettings(**{key: value for key, value in saved.items() if key in known})


def split_clips(manifest: Path, settings: CaptionerSettings) -> tuple[list[Clip], dict[str, list[Clip]]]:
    """The clips to learn from, each with its first caption only, and those to judge by: "seen", the last of the split
    "train", up to an eighth of it, which of the toy world show combinations that training shows too; and "held-out"."""
    rows = read_manifest(manifest, settings.allow_outside)
    rows = [replace(clip, caption=clip.all_captions[0], captions=[]) for clip in rows]
    clips, unseen = [clip for clip in rows if clip.for_training], [clip for clip in rows if not clip.for_training]
    if not clips:
        raise TrainingError(f'{manifest} holds no clip to train on (with "split": "train", or without a split)')
    kept = len(clips) - min(settings.judged_clips, len(clips) // 8)
    return clips[:kept][: settings.clips], {"seen": clips[kept:], "held-out": unseen[: settings.judged_clips]}


def make_optimizers(model: nn.Module, settings: CaptionerSettings) -> list[torch.optim.Optimizer]:
    """AdamW; or Muon for kernels and matrices, but for the one that words come out of, and AdamW for the rest. A group
    knows its highest learning rate."""
    through = [
        part for part in model.modules() if isinstance(part, (nn.Linear, nn.Conv2d)) and part is not model.lm_head
    ]
    matrices = [part.weight for part in through if settings.optimizer == "muon"]
    chosen = {id(weight) for weight in matrices}
    rest = [weight for weight in model.parameters() if id(weight) not in chosen]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=settings.lr, betas=(0.9, 0.95), weight_decay=settings.weight_decay, fused=True)
    ]
    if matrices:
        optimizers.append(Muon(matrices, lr=settings.muon_lr, weight_decay=settings.weight_decay))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def some_frames(settings: CaptionerSettings, step: int) -> list[int]:
    """A step's frames, ascending: users look at as many as they like, wherever they like."""
    rng = np.random.default_rng(seed_of(settings.seed, "frames", step))
    count = int(rng.integers(settings.least_frames, settings.frames + 1))
    return sorted(rng.choice(settings.frames, count, replace=False).tolist())


def open_folder(folder: Path):
    """The model and the processor of a run, on the CPU."""
    from transformers import Idefics3Processor, SmolVLMForConditionalGeneration

    try:
        model = SmolVLMForConditionalGeneration.from_pretrained(folder, local_files_only=True)
        return model, Idefics3Processor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise CheckpointError(f"the model in {folder} cannot be opened: {error}") from None


# ---------------------------------------------------------------- in the loop


def show(bar: tqdm, line: dict) -> None:
    loss = f"{line['loss']:.4f}" if line["loss"] is not None else "not finite"
    bar.set_postfix({"loss": loss, "clips/s": f"{line['clips_per_second']:.0f}"}, refresh=False)
    bar.update()


def checkpoint(
    folder: Path, model: nn.Module, processor, optimizers: list, step: int, settings: CaptionerSettings
) -> None:
    from transformers.utils import logging

    logging.disable_progress_bar()  # of a file that is written in no time
    part = folder / "model.part"  # files are moved from there: each is whole
    model.save_pretrained(part)
    processor.save_pretrained(part)
    for path in part.iterdir():
        path.replace(folder / path.name)
    part.rmdir()
    write_whole(folder / "training.json", lambda path: path.write_text(json.dumps(asdict(settings), indent=2) + "\n"))
    weights = {name: value.cpu() for name, value in model.state_dict().items()}
    state = {"model": weights, "step": step, "optimizers": [optimizer.state_dict() for optimizer in optimizers]}
    save_state(folder, state)


def save_samples(
    folder: Path, step: int, model: nn.Module, processor, watched: dict[str, VideoDataset], metrics: Metrics
) -> None:
    """A sheet of clips, each under its caption and what the model says."""
    rows, labels = [], []
    for name, dataset in watched.items():
        said, _ = judge(model, processor, dataset, most=4)
        for index, text in enumerate(said):
            frames, caption, _, _ = dataset[index, 0]
            rows.append(frames)
            labels.append(f"{name}: {caption}   |   it says: {text}")
    samples = folder / "samples"
    samples.mkdir(exist_ok=True)
    picture = sheet(rows, labels)
    picture.save(samples / f"{step:06d}.png")
    metrics.picture("captions", picture, step)


@torch.no_grad()
def judge(model: nn.Module, processor, dataset: VideoDataset, most: int | None = None) -> tuple[list[str], dict]:
    """What the model says of the first `most` clips, and how good that is: {"clips", "loss" and "token_accuracy" of the
    true captions, "same": the share that it writes word for word}; for clips of the toy world also {"right", "wrong",
    "missing": shares of the facts, "all_right": the share of captions with every fact right and none wrong}."""
    model.eval()
    said, values = [], []
    keys = [(index, 0) for index in range(len(dataset))][:most]
    order = [keys[first : first + 32] for first in range(0, len(keys), 32)]
    asked = prompt(processor, dataset.frames).to(model.device)
    for batch in batches(dataset, order, workers=0):
        pixels = to_pixels(batch.video, model.device)
        targets = caption_ids(processor.tokenizer, batch.captions).to(model.device)
        values.append(torch.stack(caption_loss(next_tokens(model, pixels, asked, targets), targets)))
        said += write_captions(model, processor, pixels, asked)
    model.train()
    clips = dataset.clips[: len(said)]
    loss, right = torch.cat(values, dim=1).mean(1).tolist()
    same = float(np.mean([text == clip.caption for text, clip in zip(said, clips, strict=True)]))
    result = {"clips": len(said), "loss": loss, "token_accuracy": right, "same": same}
    if all(facts_of(clip) for clip in clips):
        marks = [mark_caption(text, facts_of(clip)) for text, clip in zip(said, clips, strict=True)]
        facts = sum(sum(mark.values()) for mark in marks)
        result |= {key: sum(mark[key] for mark in marks) / facts for key in ("right", "wrong", "missing")}
        result["all_right"] = float(np.mean([mark["wrong"] == mark["missing"] == 0 for mark in marks]))
    return said, result


# ---------------------------------------------------------------- after the loop


def finish(
    folder: Path,
    settings: CaptionerSettings,
    model: nn.Module,
    processor,
    watched: dict[str, VideoDataset],
    step: int,
    skipped: set[str],
) -> None:
    """Says what there is now, and what to do next."""
    if skipped:
        (folder / "skipped.txt").write_text("\n".join(sorted(skipped)) + "\n")
        print(f"{len(skipped)} clips could not be used: see {folder}/skipped.txt; the first: {min(skipped)}")
    curves = plot_curves(folder)
    if step < settings.steps:
        go_on = f"python train.py captioner --resume {folder}"
        print(f"stopped at step {step} of {settings.steps}, and saved; go on with: {go_on}")
        return
    print(f"model: {folder}   curves: {curves}   samples: {folder}/samples/")
    result = {name: judge(model, processor, dataset)[1] for name, dataset in watched.items()}
    (folder / "accuracy.json").write_text(json.dumps(result, indent=2) + "\n")
    print(report(result))
    example = Path(settings.data or "my/manifest.jsonl")
    new = example.with_name("captioned.jsonl")
    print(f"try: python -m lite_sora.captioning {example} --model {folder} --out {new}")


def report(result: dict[str, dict]) -> str:
    """accuracy.json in words."""
    lines = ["of clips that it did not learn from:" if result else "there was no clip to judge it by"]
    for name, each in result.items():
        facts = f"{each['token_accuracy']:.1%} of tokens, {each['same']:.1%} of captions word for word"
        if "right" in each:
            facts = f"facts {each['right']:.1%} right, {each['wrong']:.1%} wrong, {each['missing']:.1%} missing"
            facts += f"; all right in {each['all_right']:.1%} of captions"
        lines.append(f"{name:>8} ({each['clips']} clips): {facts}")
    return "\n".join(lines)
