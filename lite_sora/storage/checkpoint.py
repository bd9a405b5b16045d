"""state.pt: everything that a run needs to resume as if it had never stopped. It is written whole or not at all, and
read with `weights_only=True`, so that a file from elsewhere cannot execute anything."""

import json
import pickle
from pathlib import Path

import torch

from lite_sora.storage.files import write_whole
from lite_sora.storage.runs import CheckpointError


def save_state(folder: Path, state: dict) -> None:
    """Writes state.pt; state holds tensors, numbers, strings and containers of them."""
    write_whole(folder / "state.pt", lambda path: torch.save(state, path))


def read_json(path: Path) -> dict:
    """The settings of a run. Raises CheckpointError for a file that is missing, broken or not a JSON object."""
    try:
        found = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read ({error})") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} does not contain settings: it is not a JSON object")
    return found


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
