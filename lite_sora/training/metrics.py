"""What a run records while it trains: metrics.jsonl, curves, pictures, TensorBoard with --tensorboard."""

import json
import math
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from lite_sora.storage.files import write_whole
from lite_sora.training.flags import TrainingError

TIME_BINS = 4  # the loss is also averaged within quarters of t: [0, 1/4), [1/4, 1/2), ...
WINDOW = 25  # values that a curve averages
MOST_BAD_STEPS = 10  # steps in a row without a finite loss, before a run gives up
DETAILS = {  # what a stage other than the denoiser shows next to its loss
    "token_accuracy": "fraction of tokens that are right",
    "psnr": "PSNR of the batch, dB",
    "bits_per_code": "bits per code",
}


def first_line(stage, model: nn.Module, folder: Path) -> str:
    """What a run begins with: what is trained, on what, where to."""
    settings, weights = stage.settings, sum(weight.numel() for weight in model.parameters())
    return (
        f"{stage.name} of {weights:,} parameters in {settings.precision} on {stage.processes.device}: "
        f"{len(stage.dataset):,} clips, {settings.batch_size} a step{stage.step_size()} → {folder}"
    )


class BadSteps:
    """How many steps in a row have had no finite loss."""

    def __init__(self):
        self.in_a_row = 0

    def count(self, finite: bool, step: int) -> None:
        """Raises TrainingError where there are too many."""
        self.in_a_row = 0 if finite else self.in_a_row + 1
        if self.in_a_row == MOST_BAD_STEPS:
            raise TrainingError(
                f"the loss was not a finite number for {MOST_BAD_STEPS} steps in a row, up to step {step}; try a "
                "lower --muon-lr and --lr, a longer --warmup, a lower --clip, or --precision fp32"
            )


def known(value):
    """A value of a line, or None where it is not a finite number; in lists, each of them."""
    if isinstance(value, list):
        return [known(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def loss_by_time(losses: Tensor, t: Tensor) -> list[float | None]:
    """The mean loss in each quarter of [0, 1], None where the batch has no t; losses and t (B,)."""
    bins = (t * TIME_BINS).long().clamp(max=TIME_BINS - 1)
    return [losses[bins == k].mean().item() if (bins == k).any() else None for k in range(TIME_BINS)]


def postfix(line: dict) -> dict[str, str]:
    """What the progress bar shows of a line of metrics."""
    shown = {"loss": ".4f", "psnr": ".1f", "perplexity": ".0f", "clips_per_second": ".0f", "tokens_per_second": ".0f"}
    shown |= {"flops_per_second": ".3g", "mfu": ".0%"}
    return {name.replace("_per_second", "/s"): f"{line[name]:{form}}" for name, form in shown.items() if line.get(name)}


class Metrics:
    """A line per step in metrics.jsonl. After a crash, lines past the checkpoint are dropped: they will come again."""

    def __init__(self, folder: Path, step: int, tensorboard: bool):
        self.path = folder / "metrics.jsonl"
        kept = [line for line in read_lines(self.path) if line["step"] <= step]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        write_whole(self.path, lambda path: path.write_text(text, encoding="utf-8"))
        self.file = self.path.open("a", buffering=1, encoding="utf-8")
        self.board = _tensorboard(folder, step) if tensorboard else None

    def write(self, line: dict) -> None:
        """A number that is not finite becomes null: JSON has no word for it."""
        line = {key: known(value) for key, value in line.items()}
        self.file.write(json.dumps(line) + "\n")
        if self.board:
            for key, value in line.items():
                if isinstance(value, (int, float)) and key != "step":
                    self.board.add_scalar(key, value, line["step"])

    def picture(self, name: str, picture, step: int) -> None:
        if self.board:
            self.board.add_image(name, np.asarray(picture), step, dataformats="HWC")

    def close(self) -> None:
        self.file.close()
        if self.board:
            self.board.close()


def report_skipped(folder: Path, reasons: list[str]) -> None:
    """Says how many clips could not be used, and why; all of them are listed in skipped.txt."""
    if reasons := sorted(set(reasons)):
        (folder / "skipped.txt").write_text("\n".join(reasons) + "\n", encoding="utf-8")
        print(f"{len(reasons)} clips could not be used (all: {folder}/skipped.txt):", *reasons[:5], sep="\n  ")


def _tensorboard(folder: Path, step: int):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise SystemExit("--tensorboard needs the tensorboard package: pip install tensorboard") from None
    return SummaryWriter(folder / "tensorboard", purge_step=step + 1)


def read_lines(path: Path) -> list[dict]:
    """The lines of metrics.jsonl, without one that was cut off at the end."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


def plot_curves(folder: Path) -> Path:
    """curves.png from metrics.jsonl: the loss, the loss by t or what else a stage measures, the learning rate and
    the gradient's norm."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    lines = read_lines(folder / "metrics.jsonl")
    steps = np.array([line["step"] for line in lines])
    figure, ((total, detail), (rate, norm)) = plt.subplots(2, 2, figsize=(11, 7))
    figure.subplots_adjust(left=0.06, right=0.99, bottom=0.07, top=0.96, hspace=0.28, wspace=0.13)
    for axes, key in ((total, "loss"), (norm, "grad_norm")):
        values = _column(lines, key)
        axes.plot(steps, values, color="0.8", linewidth=0.7, label="each step")
        axes.plot(*_smooth(steps, values), label=f"mean of the last {WINDOW} steps")
        axes.set(yscale="log")
    total.set(title="loss")
    total.legend()
    norm.set(title="gradient norm, before clipping")
    if lines and "loss_by_time" in lines[0]:
        for k in range(TIME_BINS):
            values = np.array([line["loss_by_time"][k] for line in lines], float)
            label, seen = f"t from {k / TIME_BINS:g} to {(k + 1) / TIME_BINS:g}", np.isfinite(values)
            if seen.mean() > 0.5:
                detail.plot(*_smooth(steps, values), label=label)
            else:  # too rare for a running mean
                detail.plot(steps[seen], values[seen], ".", label=f"{label}: {seen.sum()} steps have it")
        detail.set(title="loss by time t (0 data, 1 noise)", yscale="log")
        detail.legend()
    else:
        key = next((key for key in DETAILS if lines and key in lines[0]), "loss")
        detail.plot(*_smooth(steps, _column(lines, key)))
        detail.set(title=f"{DETAILS.get(key, key)}, mean of the last {WINDOW} steps")
    rate.plot(steps, _column(lines, "lr"))
    rate.set(title="AdamW's learning rate")
    for axes in figure.axes:
        axes.set(xlabel="step")
    path = folder / "curves.png"
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def _column(lines: list[dict], key: str) -> np.ndarray:
    return np.array([line[key] for line in lines], float)  # None becomes NaN


def _smooth(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The steps that have a value, and the mean of the last `WINDOW` values at each."""
    there = np.isfinite(values)
    sums = np.cumsum(np.concatenate([np.zeros(WINDOW), values[there]]))
    count = np.minimum(np.arange(there.sum()) + 1, WINDOW)
    return steps[there], (sums[WINDOW:] - sums[:-WINDOW]) / count


def finish(stage, folder: Path, step: int, average: nn.Module, metrics: Metrics | None) -> None:
    """Says what there is now, and what to do next."""
    skipped = stage.processes.gather_texts(sorted(stage.skipped))
    if metrics:
        metrics.close()
        report_skipped(folder, skipped)
        curves = plot_curves(folder)
        if step < stage.settings.steps:
            command = f"python train.py {'' if stage.name == 'denoiser' else f'{stage.name} '}--resume {folder}"
            print(f"stopped at step {step} of {stage.settings.steps}, and saved; resume: {command}")
        else:
            print(f"weights: {folder}/model.safetensors   curves: {curves}   samples: {folder}/samples/")
            stage.finish(folder, average)
    stage.processes.wait()
