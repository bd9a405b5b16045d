"""The loop that trains every stage: order, rates, accumulation, backward, clipping, EMA, metrics, samples, checkpoints.

A stage (denoiser, autoencoder, captioner, prior) is a class in a file of its own, and says only what is its own.
"""

import copy
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lite_sora.data.loading import Batch, TrainingOrder, batches
from lite_sora.processes import OrderlyStop, Processes, join
from lite_sora.storage.checkpoint import claim_folder, load_checkpoint, refuse_taken, save_checkpoint
from lite_sora.training.clips import Clips
from lite_sora.training.flags import RunSettings, TrainingError
from lite_sora.training.metrics import BadSteps, Metrics, finish, first_line, postfix
from lite_sora.training.muon import learning_rate, make_optimizers, set_rates
from lite_sora.training.parallel import Parallel, choose_precision


class Stage:
    """One thing that can be trained. `run` calls its methods in the order in which they stand here."""

    name: str  # as in `train.py NAME`
    dataset: torch.utils.data.Dataset  # (clip index, sample seed) → Sample
    model: nn.Module

    def __init__(self, settings: RunSettings, processes: Processes):
        """Raises an error for settings that do not fit together, before anything takes long; opens a resumed model."""
        self.settings, self.processes = settings, processes
        self.skipped: set[str] = set()  # clips that could not be used, and why
        self.companions: dict[str, nn.Module] = {}  # networks that are trained too, such as a discriminator

    def default_folder(self) -> str:
        """The usual folder of a run."""
        return f"runs/{self.name}-{self.settings.data_name}"

    def open_data(self, clips: Clips) -> None:
        """Sets `dataset`."""
        raise NotImplementedError

    def build(self) -> nn.Module:
        """The model on the CPU: fresh, or that of the resumed run."""
        raise NotImplementedError

    def order(self, step: int) -> TrainingOrder:
        """Which clips come when, from this step on."""
        settings, processes = self.settings, self.processes
        order = settings.batch_size, settings.seed, step, settings.steps, processes.part, processes.parts
        return TrainingOrder(len(self.dataset), *order)

    def step_size(self) -> str:
        """How much a step is, besides its clips, in the line that a run begins with."""
        return ""

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Each group knows its "peak_lr"."""
        return make_optimizers(self.model, [], self.settings)

    def before_step(self, step: int, batch: Batch) -> None:
        """What happens before the forward pass of a whole batch."""

    def loss(self, model: Parallel, batch: Batch) -> dict[str, Tensor]:
        """ "loss" of each sample, (B,), which is minimised, and other values of each sample for the metrics."""
        raise NotImplementedError

    def after_backward(self, values: dict[str, Tensor], fraction: float, last: bool) -> None:
        """After each piece, a `fraction` of a batch: the backward pass of companions, whose losses join the values."""

    def after_step(self) -> None:
        """After the optimisers' step, which bad steps do not reach."""

    def measures(self, values: dict[str, Tensor], seconds: float) -> dict:
        """The stage's part of a line of metrics.jsonl, from `loss`'s values of all processes, (batch size,) each."""
        return {name: value.mean().item() for name, value in values.items() if name != "loss"}

    def samples(self, folder: Path, step: int, average: nn.Module, metrics: Metrics) -> dict | None:
        """Writes a grid of samples, in the first process; what was measured on the way joins the metrics."""

    def save(self, folder: Path, average: nn.Module) -> None:
        """Writes the model for those who use it; `average` is in evaluation mode here, and above and below."""
        raise NotImplementedError

    def finish(self, folder: Path, average: nn.Module) -> None:
        """Judges the trained model, and says what to do next."""


def run(kind: type[Stage], settings: RunSettings, observe: Callable[[int, nn.Module], None] | None = None) -> Path:
    """Trains a stage, or resumes its training, and returns the run's folder. `observe(step, average)` is called in the
    first process whenever samples are due, with the averaged weights."""
    settings.check()
    processes = join(settings.device, settings.sequence_parallel)
    if settings.out and not settings.resume:
        refuse_taken(Path(settings.out))
    stage, clips = kind(settings, processes), Clips(settings, processes)
    stage.open_data(clips)
    if not len(stage.dataset):
        raise TrainingError(f"no clip of {clips.manifest} can be used; the first: {min(stage.skipped, default='')}")
    if settings.precision == "auto":
        settings.precision = choose_precision(processes)

    torch.manual_seed(settings.seed)
    model = stage.model = stage.build()
    if settings.init and not settings.resume:
        from lite_sora.training.initial import start_from  # rarely needed, and all that is published comes with it

        start_from(model, settings.init, show=processes.first)
    model.to(processes.device).train()
    average = copy.deepcopy(model).eval().requires_grad_(False) if settings.ema else model  # EMA: saved and sampled
    parallel = Parallel(model, average, processes, settings)
    optimizers = stage.optimizers()
    networks = {"model": model, "average": average} | stage.companions
    step, bad_steps = 0, BadSteps()
    if settings.resume:
        folder = Path(settings.resume)
        step = load_checkpoint(folder, networks, optimizers)
        if step >= settings.steps:
            raise TrainingError(f"{folder} is at step {step} already; pass a larger --steps to continue")
    else:
        folder = claim_folder(settings.out, stage.default_folder() + settings.told, processes)
    metrics = Metrics(folder, step, settings.tensorboard) if processes.first else None

    if processes.first:
        print(first_line(stage, model, folder))
    bar = tqdm(total=settings.steps, initial=step, desc="training", unit="step", disable=not processes.first)
    clock = time.perf_counter()
    with OrderlyStop() as stop:
        for batch in batches(stage.dataset, stage.order(step), settings.workers):
            model.train()
            stage.skipped.update(batch.skipped)
            rate = learning_rate(settings, step)
            set_rates(optimizers, rate)
            stage.before_step(step, batch)

            outputs, pieces = [], batch.split(settings.accumulate)
            for number, piece in enumerate(pieces, 1):
                with parallel.averaging(last=number == len(pieces)):
                    values = stage.loss(parallel, piece)
                    (values["loss"].sum() / len(batch)).backward()
                    stage.after_backward(values, len(piece) / len(batch), last=number == len(pieces))
                outputs.append(torch.stack([value.detach().float() for value in values.values()], dim=1))

            # every process sees every sample's values, and so takes the same decisions
            outputs = processes.gather(torch.cat(outputs))  # (batch size, values)
            norm = parallel.clip(settings.clip)
            finite = bool(outputs.isfinite().all()) and bool(norm.isfinite())
            if finite:
                for optimizer in optimizers:
                    optimizer.step()
                stage.after_step()
                update_average(average, model, min(settings.ema, (1 + step) / (10 + step)))
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
            average.eval()  # which is the model itself where there is no average
            step += 1

            seconds = time.perf_counter() - clock
            asked = processes.gather(torch.tensor([float(stop.asked)], device=processes.device)).any()
            last = step in (settings.steps, settings.stop_after) or bool(asked)
            sampling = settings.sample_every and (step == settings.steps or step % settings.sample_every == 0)
            saving = last or step % settings.checkpoint_every == 0
            used = parallel.whole(average) if sampling or saving else None
            if metrics:
                values = dict(zip(values, outputs.T, strict=True))
                line = {"step": step, "loss": values["loss"].mean().item()} | stage.measures(values, seconds)
                line |= {"grad_norm": norm.item(), "lr": settings.lr * rate, "skipped": not finite}
                line |= {"clips_per_second": len(outputs) / seconds}
                bar.set_postfix(postfix(line), refresh=False)
                bar.update()
                if sampling:
                    line |= stage.samples(folder, step, used, metrics) or {}
                    if observe:
                        observe(step, used)
                metrics.write(line)
            bad_steps.count(finite, step)
            if saving:
                if processes.first:
                    stage.save(folder, used)
                save_checkpoint(folder, step, networks, optimizers, write=processes.first)
            clock = time.perf_counter()
            if last:
                break
    bar.close()
    finish(stage, folder, step, used, metrics)
    return folder


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """average = decay * average + (1 - decay) * model; buffers are copied."""
    if average is not model:
        torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
        for kept, buffer in zip(average.buffers(), model.buffers(), strict=True):
            kept.copy_(buffer)
