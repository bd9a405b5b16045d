"""Trains a small captioner: one loop, from top to bottom. `python train.py captioner` calls `train_captioner`.

It is a SmolVLM (2504.05299) of transformers' own classes: a vision tower reads each frame by itself, neighbouring
patches are folded into few tokens (pixel shuffle), and a language model reads the tokens of all frames and writes the
caption. A run's folder is an ordinary transformers folder, which `lite_sora/captioning` loads like any other. DALL-E 3
(Betker et al. 2023) trained a captioner on few pictures with good captions, to write captions for all the others: with
--clips, this one too.
"""

import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn
from tqdm import tqdm

from lite_sora.data.clip import Clip, read_manifest
from lite_sora.data.loading import TrainingOrder, VideoDataset, batches, to_model_range
from lite_sora.data.preview import sheet
from lite_sora.data.toy import mark_caption
from lite_sora.files import write_whole
from lite_sora.pipeline import CheckpointError
from lite_sora.seeds import seed_of
from lite_sora.training import distribution
from lite_sora.training.captioner_settings import CaptionerSettings
from lite_sora.training.checkpoint import load_state, save_state
from lite_sora.training.loop import (
    MOST_BAD_STEPS,
    OrderlyStop,
    TrainingError,
    learning_rate,
    new_folder,
    toy_manifest,
)
from lite_sora.training.metrics import Metrics, plot_curves
from lite_sora.training.muon import Muon

# Special tokens, as SmolVLM's tokenizer names them; their ids are their places here.
PAD, START, END = "<pad>", "<|im_start|>", "<end_of_utterance>"
IMAGE, AROUND_IMAGE, GLOBAL_IMAGE = "<image>", "<fake_token_around_image>", "<global-img>"
SPECIAL = [PAD, START, END, IMAGE, AROUND_IMAGE, GLOBAL_IMAGE]

# The frames, and no question: a model that knows one answer is not to be put off by the words in which it is asked.
CHAT_TEMPLATE = (
    START + "{% for message in messages %}{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<image>{% endif %}{% endfor %}{% endfor %}" + END
)
IGNORED = -100  # a target that is no token: what fills the shorter captions of a batch


def train_captioner(settings: CaptionerSettings, given: dict) -> Path:
    """Trains, or goes on training, and returns the run's folder. `given` are the settings of the command line."""
    processes = distribution.join(settings.device)
    device = processes.device
    torch.manual_seed(settings.seed)
    state = None
    if settings.resume:
        folder = Path(settings.resume)
        settings, state = replace(saved_settings(folder), **given), load_state(folder)
    if settings.batch_size % processes.world:
        raise TrainingError(
            f"--batch-size {settings.batch_size} does not divide by the number of processes, {processes.world}"
        )
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
        settings.precision = distribution.choose_precision(device)
    if state:
        model, processor = open_folder(folder)
        model.load_state_dict(state["model"])
    else:
        captions = [clip.caption for clip in dataset.clips]
        processor = make_processor(captions, settings)
        model = make_model(len(processor.tokenizer), settings)
        model.generation_config.max_new_tokens = 2 * caption_ids(processor.tokenizer, captions[:1000]).shape[1]
    model.to(device).train()
    optimizers = make_optimizers(model, settings)
    step, bad_steps = 0, 0
    if state:
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        step = state["step"]
        if step >= settings.steps:
            raise TrainingError(f"{folder} is at step {step} already; pass --steps with a larger number to go on")
    parallel = distribution.parallelize(model, processes, settings.compile)
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
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = group["peak_lr"] * rate

            frames = some_frames(settings, step)  # which of them, T
            pixels = to_pixels(batch.video[:, :, frames], device)  # (B, T, 3, H, W)
            targets = caption_ids(processor.tokenizer, batch.captions).to(device)  # (B, L)
            with distribution.autocast(device, settings.precision):
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
            if bad_steps == MOST_BAD_STEPS:
                raise TrainingError(
                    f"the loss was not a finite number for {MOST_BAD_STEPS} steps in a row, up to step {step}; "
                    "try a lower --muon-lr and --lr, a longer --warmup, a lower --clip, or --precision fp32"
                )
            asked = processes.gather(torch.tensor([float(stop.asked)], device=device)).max() > 0
            last = step == settings.steps or asked or step == settings.stop_after
            sheet_is_due = settings.sample_every and (step == settings.steps or step % settings.sample_every == 0)
            if processes.first and sheet_is_due:
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
    known = CaptionerSettings.__dataclass_fields__
    return CaptionerSettings(**{key: value for key, value in json.loads(path.read_text()).items() if key in known})


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


def make_processor(captions: list[str], settings: CaptionerSettings):
    """What makes tensors of frames and text: byte-level BPE with the captions' own words, which can spell all others,
    and Idefics 3's processor, whose tokens are SmolVLM's: SmolVLM's own asks for num2words and torchvision, for videos
    only, and this one is shown frames as images."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import Idefics3ImageProcessorPil, Idefics3Processor, PreTrainedTokenizerFast

    words = Tokenizer(models.BPE())
    words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    words.train_from_iterator(
        captions,
        trainers.BpeTrainer(
            vocab_size=settings.words, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token=PAD,
        bos_token=START,
        eos_token=END,
        extra_special_tokens={
            "image_token": IMAGE,
            "fake_image_token": AROUND_IMAGE,
            "global_image_token": GLOBAL_IMAGE,
            "end_of_utterance_token": END,
        },
        padding_side="left",
    )
    side = {"longest_edge": settings.height}
    images = Idefics3ImageProcessorPil(size=side, max_image_size=side, do_image_splitting=False)
    tokens_per_frame = (settings.height // settings.patch // settings.merge) ** 2
    return Idefics3Processor(images, tokenizer, image_seq_len=tokens_per_frame, chat_template=CHAT_TEMPLATE)


def make_model(vocabulary: int, settings: CaptionerSettings):
    """A SmolVLM with random weights."""
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

    size = {
        "hidden_size": settings.channels,
        "intermediate_size": 4 * settings.channels,
        "num_hidden_layers": settings.layers,
        "num_attention_heads": settings.heads,
    }
    tokens = {"pad_token_id": SPECIAL.index(PAD), "bos_token_id": SPECIAL.index(START)}
    tokens |= {"eos_token_id": SPECIAL.index(END)}
    config = SmolVLMConfig(
        vision_config=size | {"image_size": settings.height, "patch_size": settings.patch},
        text_config=size | tokens | {"model_type": "llama", "vocab_size": vocabulary, "max_position_embeddings": 2048},
        scale_factor=settings.merge,
        image_token_id=SPECIAL.index(IMAGE),
        pad_token_id=SPECIAL.index(PAD),
    )
    model = SmolVLMForConditionalGeneration(config)
    model.generation_config.update(**tokens)
    return model


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


# ---------------------------------------------------------------- what the model reads and writes


def prompt(processor, frames: int) -> Tensor:
    """Token ids (P,) of what comes before a caption, just as the processor makes them for whoever uses the model."""
    text = processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}] * frames}], add_generation_prompt=True
    )
    blank = np.zeros((8, 8, 3), np.uint8)
    return torch.tensor(processor(text=[text], images=[[blank] * frames])["input_ids"][0])


def some_frames(settings: CaptionerSettings, step: int) -> list[int]:
    """A step's frames, ascending: users look at as many as they like, wherever they like."""
    rng = np.random.default_rng(seed_of(settings.seed, "frames", step))
    count = int(rng.integers(settings.least_frames, settings.frames + 1))
    return sorted(rng.choice(settings.frames, count, replace=False).tolist())


def to_pixels(video: Tensor, device: torch.device) -> Tensor:
    """uint8 (B, 3, T, H, W) → (B, T, 3, H, W) in [-1, 1], as the processor has them."""
    return to_model_range(video.to(device, non_blocking=True)).transpose(1, 2).contiguous()


def caption_ids(tokenizer, captions: list[str]) -> Tensor:
    """Targets (B, L): the tokens of each caption and the one that ends it. A caption with "<image>" in it spells it."""
    rows = [tokenizer.encode(caption, split_special_tokens=True) for caption in captions]
    rows = [torch.tensor([*row, tokenizer.eos_token_id]) for row in rows]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=IGNORED)


def next_tokens(model: nn.Module, pixels: Tensor, prompt: Tensor, targets: Tensor) -> Tensor:
    """Logits (B, L, V) of each target (B, L), from the frames, the prompt (P,) and the targets before it."""
    ids = torch.cat([prompt.expand(len(targets), -1), targets.clamp(min=0)], dim=1)  # (B, P + L), filled up with PAD
    length = targets.shape[1]
    return model(input_ids=ids, pixel_values=pixels, use_cache=False, logits_to_keep=length + 1).logits[:, :-1]


def caption_loss(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The cross-entropy of each caption, a mean over its tokens (B,), and the share of them that are likeliest (B,)."""
    there = targets != IGNORED
    count = there.sum(1)
    loss = F.cross_entropy(logits.float().transpose(1, 2), targets, ignore_index=IGNORED, reduction="none").sum(1)
    return loss / count, ((logits.argmax(-1) == targets) & there).sum(1) / count


@torch.no_grad()
def write_captions(model: nn.Module, processor, pixels: Tensor, prompt: Tensor) -> list[str]:
    """The likeliest caption, word by word, of each video (B, T, 3, H, W)."""
    ids = prompt.expand(len(pixels), -1)  # (B, P)
    written = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels, do_sample=False)
    return processor.tokenizer.batch_decode(written[:, ids.shape[1] :], skip_special_tokens=True)


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
    if all("toy" in clip.stats for clip in clips):
        marks = [mark_caption(text, toy_facts(clip)) for text, clip in zip(said, clips, strict=True)]
        facts = sum(sum(mark.values()) for mark in marks)
        result |= {key: sum(mark[key] for mark in marks) / facts for key in ("right", "wrong", "missing")}
        result["all_right"] = float(np.mean([mark["wrong"] == mark["missing"] == 0 for mark in marks]))
    return said, result


def toy_facts(clip: Clip) -> list[tuple[str, str, str]]:
    """(shape, colour, motion) of each thing of a toy clip."""
    return [(thing["shape"], thing["colour"], thing["motion"]) for thing in clip.stats["toy"]["things"]]


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
    example = settings.data or "my/manifest.jsonl"
    print(f"try: python -m lite_sora.captioning {example} --model {folder} --out captioned.jsonl")


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
