"""The stage `python train.py captioner`: a small captioner, the SmolVLM of `captioning/small.py`.

A run's folder is an ordinary transformers folder, which `lite_sora/captioning` loads like any other. DALL-E 3 (Betker
et al. 2023) trained a captioner on few pictures with good captions, to write captions for all the others: with --clips,
this one does too.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

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
from lite_sora.data.clip import Clip
from lite_sora.data.loading import Batch, batches
from lite_sora.data.preview import sheet
from lite_sora.data.windows import VideoDataset
from lite_sora.processes import Processes
from lite_sora.seeds import seed_of
from lite_sora.storage.runs import CheckpointError, write_json
from lite_sora.toy.sentences import facts_of, mark_caption
from lite_sora.training.clips import Clips
from lite_sora.training.flags import RunSettings, TrainingError, flag
from lite_sora.training.loop import Stage, run
from lite_sora.training.metrics import Metrics
from lite_sora.training.muon import make_optimizers
from lite_sora.training.parallel import Parallel


@dataclass
class CaptionerSettings(RunSettings):
    clips: int | None = flag(None, "use only this many of the captioned clips")

    # what the model sees
    least_frames: int = flag(2, "each step shows the model from this many up to all frames")
    height: int = flag(
        32, "height in pixels; clips are cropped to a square (the saved model resizes frames to a square)"
    )
    width: int = flag(32, "width in pixels, the same")

    # the model: a SmolVLM
    channels: int = flag(64, "channels of its vision tower and of its language model")
    layers: int = flag(2, "transformer layers of each of them")
    heads: int = flag(4, "attention heads")
    patch: int = flag(8, "pixels on the side of a patch")
    merge: int = flag(4, "this many patches a side become one token of the language model")
    words: int = flag(4096, "maximum size of the tokenizer's vocabulary")

    # the optimiser
    steps: int = flag(1200, "optimiser steps")
    lr: float = flag(3e-3, "AdamW's peak learning rate")
    muon_lr: float = flag(0.01, "Muon's peak learning rate")
    warmup: int = flag(30, "steps until the peak learning rate")
    ema: float = flag(0.0, "decay of the moving average of the weights, after its warm-up; 0 for none")
    precision: str = flag("fp32", "of matmuls; auto uses bf16 where large ones gain", choices=["auto", "bf16", "fp32"])

    # what is kept
    judged_clips: int = flag(128, "clips to judge it by at the end, of each kind: seen combinations, and held-out ones")

    LEAST: ClassVar[dict[str, int]] = RunSettings.LEAST | {
        **{"judged_clips": 1, "least_frames": 1, "patch": 1, "merge": 1, "channels": 1, "layers": 1, "heads": 1},
        "words": 300,
    }
    LEAST["clips"] = 1
    UNTOLD: ClassVar[set[str]] = RunSettings.UNTOLD | {"judged_clips"}

    def check(self) -> None:
        super().check()
        if self.least_frames > self.frames:
            raise TrainingError(f"--least-frames {self.least_frames} is more than --frames {self.frames}")
        if self.height != self.width:
            raise TrainingError("--height and --width must be the same: SmolVLM looks at squares")
        if self.height % (self.patch * self.merge):
            raise TrainingError(
                f"--height {self.height} does not divide by --patch {self.patch} times --merge {self.merge}"
            )
        if self.channels % (2 * self.heads):
            raise TrainingError(f"--channels {self.channels} does not divide by twice --heads {self.heads}")


def train(settings: CaptionerSettings) -> Path:
    """Trains a captioner and returns the run's folder; see `loop.run`."""
    return run(CaptionerStage, settings)


class CaptionerStage(Stage):
    name = "captioner"

    def __init__(self, settings: CaptionerSettings, processes: Processes):
        super().__init__(settings, processes)
        if settings.resume:
            self.model, self.processor = open_folder(Path(settings.resume))

    def default_folder(self) -> str:
        return "runs/captioner" if self.settings.data is None else super().default_folder()

    def open_data(self, clips: Clips) -> None:
        training, judged = split_clips(clips.captioned, clips.held_out, self.settings)
        self.dataset = clips.videos(training)
        self.skipped.update(clips.preload(self.dataset))
        self.judged = {name: clips.videos(some, fixed=True) for name, some in judged.items()}
        for videos in self.judged.values():
            videos.preload(2**31, show=False)
        self.judged = {name: videos for name, videos in self.judged.items() if len(videos)}

    def build(self) -> nn.Module:
        settings, captions = self.settings, [clip.caption for clip in self.dataset.clips]
        if not settings.resume:
            shape = {"side": settings.height, "patch": settings.patch, "merge": settings.merge}
            size = {"channels": settings.channels, "layers": settings.layers, "heads": settings.heads}
            self.processor = make_processor(captions, settings.words, **shape)
            self.model = make_model(len(self.processor.tokenizer), **size, **shape)
            longest = caption_ids(self.processor.tokenizer, captions[:1000]).shape[1]
            self.model.generation_config.max_new_tokens = 2 * longest
        counts = range(1, settings.frames + 1)
        self.prompts = {count: prompt(self.processor, count) for count in counts}  # frames: token ids (P,)
        return self.model

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Muon for kernels and matrices, but for the one that words come out of."""
        layers = [part for part in self.model.modules() if isinstance(part, (nn.Linear, nn.Conv2d))]
        matrices = [layer.weight for layer in layers if layer is not self.model.lm_head]
        return make_optimizers(self.model, matrices, self.settings)

    def before_step(self, step: int, batch: Batch) -> None:
        self.frames = some_frames(self.settings, step)

    def loss(self, model: Parallel, batch: Batch) -> dict[str, Tensor]:
        device = self.processes.device
        pixels = to_pixels(batch.video[:, :, self.frames], device)  # (B, T, 3, H, W)
        targets = caption_ids(self.processor.tokenizer, batch.captions).to(device)  # (B, L)
        logits = next_tokens(model, pixels, self.prompts[len(self.frames)].to(device), targets)  # (B, L, V)
        loss, right = caption_loss(logits, targets)
        return {"loss": loss, "token_accuracy": right}

    def samples(self, folder: Path, step: int, average: nn.Module, metrics: Metrics) -> None:
        """Writes clips under their captions and what the model says of them."""
        pictures, labels = [], []
        for name, videos in (self.judged or {"trained on": self.dataset}).items():
            said, _ = judge(average, self.processor, videos, most=4)
            for index, text in enumerate(said):
                item = videos[index, 0]
                pictures.append(item.video)
                labels.append(f"{name}: {item.caption}   |   it says: {text}")
        (folder / "samples").mkdir(exist_ok=True)
        picture = sheet(pictures, labels)
        picture.save(folder / "samples" / f"{step:06d}.png")
        metrics.picture("captions", picture, step)

    def save(self, folder: Path, average: nn.Module) -> None:
        from transformers.utils import logging

        logging.disable_progress_bar()  # of a file that is written in no time
        part = folder / "model.part"  # files are moved from there: each is whole
        average.save_pretrained(part)
        self.processor.save_pretrained(part)
        for path in part.iterdir():
            path.replace(folder / path.name)
        part.rmdir()
        write_json(folder / "training.json", asdict(self.settings))  # config.json is the model's

    def finish(self, folder: Path, average: nn.Module) -> None:
        result = {name: judge(average, self.processor, videos)[1] for name, videos in self.judged.items()}
        write_json(folder / "accuracy.json", result)
        print(report(result))
        example = Path(self.settings.data or "data/my/manifest.jsonl")
        new = example.with_name("captioned.jsonl")
        print(f"try: python -m lite_sora.captioning {example} --model {folder} --out {new}")


def split_clips(
    training: list[Clip], held_out: list[Clip], settings: CaptionerSettings
) -> tuple[list[Clip], dict[str, list[Clip]]]:
    """The clips to learn from, each with its first caption only, and those to judge by: "seen", the last of those for
    training, up to an eighth, which of the toy world show combinations that the others show too; and "held-out"."""
    training, held_out = (
        [replace(clip, caption=clip.all_captions[0], captions=[]) for clip in clips] for clips in (training, held_out)
    )
    kept = len(training) - min(settings.judged_clips, len(training) // 8)
    judged = {"seen": training[kept:], "held-out": held_out[: settings.judged_clips]}
    return training[:kept][: settings.clips], judged


def some_frames(settings: CaptionerSettings, step: int) -> list[int]:
    """A step's frames, ascending: users look at any number of them, anywhere."""
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


@torch.no_grad()
def judge(model: nn.Module, processor, dataset: VideoDataset, most: int | None = None) -> tuple[list[str], dict]:
    """What the model says of the first `most` clips, and how good that is: {"clips", "loss" and "token_accuracy" of the
    true captions, "same": the fraction that it writes word for word}; for clips of the toy world also {"right",
    "wrong", "missing": fractions of the facts, "all_right": the fraction of captions with every fact right and none
    wrong}."""
    model.eval()
    said, values = [], []
    keys = [(index, 0) for index in range(len(dataset))][:most]
    order = [keys[first : first + 32] for first in range(0, len(keys), 32)]
    question = prompt(processor, dataset.frames).to(model.device)
    for batch in batches(dataset, order, workers=0):
        pixels = to_pixels(batch.video, model.device)
        targets = caption_ids(processor.tokenizer, batch.captions).to(model.device)
        values.append(torch.stack(caption_loss(next_tokens(model, pixels, question, targets), targets)))
        said += write_captions(model, processor, pixels, question)
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
