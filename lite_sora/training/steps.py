"""What the loop of every stage does around its own step: learning rates, resuming, stopping, giving up."""

import math
import signal
from pathlib import Path

import torch

from lite_sora.processes import Processes
from lite_sora.training.settings import RunSettings

MOST_BAD_STEPS = 10  # steps in a row without a finite loss, before a run gives up


class TrainingError(RuntimeError):
    """A run that cannot start or go on; the message says why and what to change."""


def check_batch_size(batch_size: int, processes: Processes) -> None:
    if batch_size % processes.world:
        raise TrainingError(f"--batch-size {batch_size} does not divide by the number of processes, {processes.world}")


def resume_optimizers(optimizers: list[torch.optim.Optimizer], state: dict, folder: Path, steps: int) -> int:
    """Puts optimizers back where they were, and returns the step they had reached."""
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    if state["step"] >= steps:
        raise TrainingError(f"{folder} is at step {state['step']} already; pass --steps with a larger number to go on")
    return state["step"]


def learning_rate(settings: RunSettings, step: int) -> float:
    """The share of the highest rate at a step: warm-up, a plateau, and a fall to 0 over the last `decay` of all steps,
    as a line or half a cosine."""
    rate = min(1.0, (step + 1) / max(1, settings.warmup))
    left = (settings.steps - step) / max(1.0, settings.decay * settings.steps)  # 1 where the fall begins, 0 at the end
    if settings.schedule == "constant" or left >= 1:
        return rate
    return rate * (left if settings.schedule == "linear" else 0.5 - 0.5 * math.cos(math.pi * left))


def set_rates(optimizers: list[torch.optim.Optimizer], rate: float) -> None:
    """The share `rate` of each group's highest learning rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * rate


def give_up_after(bad_steps: int, step: int) -> None:
    """Raises TrainingError where too many steps in a row had no finite loss."""
    if bad_steps == MOST_BAD_STEPS:
        raise TrainingError(
            f"the loss was not a finite number for {MOST_BAD_STEPS} steps in a row, up to step {step}; "
            "try a lower --muon-lr and --lr, a longer --warmup, a lower --clip, or --precision fp32"
        )


def sheet_is_due(step: int, settings: RunSettings) -> bool:
    return bool(settings.sample_every) and (step == settings.steps or step % settings.sample_every == 0)


class OrderlyStop:
    """Ctrl-C (or SIGTERM) asks for a stop after the running step; a second one stops at once."""

    def __enter__(self):
        self.asked = False
        self.before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _ask(self, number, frame):
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)


def is_last(step: int, settings: RunSettings, stop: OrderlyStop, processes: Processes) -> bool:
    """Whether a run ends with this step: it is done, or one of the processes was asked to stop."""
    asked = processes.gather(torch.tensor([float(stop.asked)], device=processes.device)).max() > 0
    return step == settings.steps or bool(asked) or step == settings.stop_after
