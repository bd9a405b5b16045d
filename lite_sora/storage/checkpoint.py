"""state.pt: all that it takes to go on with a run as if it had never stopped. Written whole or not at all, and read
with `weights_only=True`, so that a file from elsewhere cannot execute anything."""

import json
import pickle
from pathlib import Path

import torch

from lite_sora.storage.files import write_whole
from lite_sora.storage.runs import CheckpointError


def save_state(folder: Path, state: dict) -> None:
    """Tensors, numbers, strings and containers of them."""
    write_whole(folder / "state.pt", lambda path: torch.save(state, path))


def read_json(path: Path) -> dict:
    """A run's settings. Raises CheckpointError for a file that is broken."""
    try:
        found = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read ({error})") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} holds no settings")
    return found


def load_state(folder: Path) -> dict:
    """What `save_state` wrote, on the CPU. Raises CheckpointError for a file that is missing, broken or has code."""
    path = folder / "state.pt"
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist: there is nothing to resume in {folder}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path} holds more than tensors and numbers, so it is not loaded: {error}") from None
    except (RuntimeError, EOFError, KeyError) as error:
        raise CheckpointError(f"{path} is broken ({error})") from error
