"""state.pt: everything that a run needs to resume as if it had never stopped. It is written whole or not at all, and
read with `weights_only=True`, so that a file from elsewhere cannot execute anything."""

import pickle
from pathlib import Path

import torch
from torch import nn
from torch.optim import Optimizer

from lite_sora.processes import Processes
from lite_sora.storage.files import make_folder, write_whole
from lite_sora.storage.runs import CheckpointError
from lite_sora.storage.sharded import gathered, like, shared_out


def save_state(folder: Path, state: dict) -> None:
    """Writes state.pt; state holds tensors, numbers, strings and containers of them."""
    write_whole(folder / "state.pt", lambda path: torch.save(state, path))


def load_state(folder: Path) -> dict:
    """The dict that `save_state` wrote, on the CPU. Raises CheckpointError for a file that is missing, damaged, or
    contains anything but tensors, numbers, strings and containers of them."""
    path = folder / "state.pt"
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist: there is nothing to resume in {folder}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is damaged, or contains more than tensors and numbers, so it was not loaded: {error}"
        ) from None
    except Exception as error:  # in a damaged file torch's reader meets errors of many kinds
        raise CheckpointError(f"{path} is damaged ({type(error).__name__}: {error})") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} is damaged: it contains {type(state).__name__}, not dict")
    return state


def save_checkpoint(
    folder: Path, step: int, networks: dict[str, nn.Module], optimizers: list[Optimizer], write: bool = True
) -> None:
    """Saves all that it takes to continue as if the run had never stopped. All processes call it, and one writes."""
    weights = {name: network.state_dict() for name, network in networks.items()}
    state = weights | {"step": step, "optimizers": [optimizer.state_dict() for optimizer in optimizers]}
    state = gathered(state, keep=write)
    if write:
        save_state(folder, state)


def load_checkpoint(folder: Path, networks: dict[str, nn.Module], optimizers: list[Optimizer]) -> int:
    """Puts everything back where `save_checkpoint` found it, and returns the step. Raises CheckpointError."""
    state = load_state(folder)
    state.setdefault("average", state.get("model"))  # earlier versions had none for some stages
    try:
        for name, network in networks.items():
            own = network.state_dict()
            network.load_state_dict({key: like(value, own[key]) for key, value in state[name].items()})
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(shared_out(saved, optimizer))
        return int(state["step"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"{folder}/state.pt does not fit the run in this folder ({error!r})") from error


# ---------------------------------------------------------------- the folder of a new run


def refuse_taken(folder: Path) -> None:
    """Raises CheckpointError for a folder that another run has."""
    if (folder / "config.json").exists():
        raise CheckpointError(f"{folder} holds a run already; --resume {folder} continues it, or choose another --out")
    if (folder / "metrics.jsonl").exists():
        raise CheckpointError(f"{folder} belongs to a run without a checkpoint; delete it, or choose another --out")


def claim_folder(out: str | None, usual: str, processes: Processes) -> Path:
    """Makes the folder of a new run: `out`, or else the first of `usual`, -2, -3, … that is free. A folder belongs to
    the run that creates its metrics.jsonl, so that two that start together get two folders. Raises CheckpointError."""
    folder, number = Path(out or usual), 2
    while processes.first and not _claim(folder):
        if out:
            refuse_taken(folder)
        folder, number = Path(f"{usual}-{number}"), number + 1
    return Path(processes.gather_texts([str(folder)])[0])


def _claim(folder: Path) -> bool:
    make_folder(folder, "--out")
    try:
        if (folder / "config.json").exists():
            return False
        (folder / "metrics.jsonl").open("x", encoding="utf-8").close()
    except FileExistsError:
        return False
    return True
