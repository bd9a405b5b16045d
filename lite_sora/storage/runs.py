"""Run folders: config.json, tokenizer.json and model.safetensors, here or on the Hugging Face hub. Only JSON and
safetensors are read, so nothing in a folder from elsewhere is ever executed."""

import json
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from lite_sora.errors import UserError
from lite_sora.storage.files import write_whole

INSIDE = "autoencoder"  # the autoencoder's folder in a run's folder
PARTS = ["config.json", "tokenizer.json", "model.safetensors", f"{INSIDE}/*"]  # what is fetched from the hub


class CheckpointError(UserError):
    """A folder without a model that can be loaded; the message says what is missing or wrong."""


def write_json(path: Path, values: dict) -> None:
    write_whole(path, lambda part: part.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8"))


def read_json(path: Path) -> dict:
    """The object in a JSON file. Raises CheckpointError for a file that is missing or broken."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except (ValueError, OSError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read ({error})") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} does not contain settings, but a {type(found).__name__}")
    return found


def write_run(folder: Path, config: dict, weights: dict[str, Tensor], tokenizer: Tokenizer | None = None) -> None:
    """Writes config.json, model.safetensors and, where there is one, tokenizer.json, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config)
    if tokenizer:
        write_whole(folder / "tokenizer.json", lambda path: tokenizer.save(str(path)))
    weights = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    write_whole(folder / "model.safetensors", lambda path: save_file(weights, path))


def open_run(name: Path | str) -> tuple[Path, dict]:
    """The folder of a finished (or checkpointed) run of a model that makes videos, by its path or hub id, and its
    config.json. Raises CheckpointError."""
    folder = folder_or_hub(name)
    need(folder, "config.json")
    need(folder, "model.safetensors")
    config = read_json(folder / "config.json")
    if kind := config.get("model_type"):  # written by the transformers library
        raise CheckpointError(
            f"{folder} makes no videos: it is a {kind} of the transformers library, such as a captioner, which "
            f"describes them: python -m lite_sora.captioning MANIFEST --out CAPTIONED --model {folder}"
        )
    if not config.get("convention"):  # earlier versions wrote what belongs to published models into all
        config = {name: value for name, value in config.items() if name not in ("convention", "null_class")}
    return folder, config


def read_tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(need(folder, "tokenizer.json")))


def load_weights(model: nn.Module, folder: Path) -> None:
    """Loads model.safetensors. Raises CheckpointError where the file is broken or belongs to another model."""
    try:
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise CheckpointError(f"{folder}/model.safetensors does not fit its config.json ({error})") from error


@contextmanager
def described_by(folder: Path, what: str):
    """Whatever goes wrong while a model is built from the config.json of `folder` becomes a CheckpointError."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # a strange file can cause any
        raise CheckpointError(f"{folder}/config.json does not describe {what} of this version ({error})") from error


def inside(folder: Path, autoencoder: str) -> Path | str:
    """Where the autoencoder of a run is: in its folder, or where its name says."""
    return folder / INSIDE if autoencoder == INSIDE else autoencoder


def need(folder: Path, name: str) -> Path:
    """The path of a file in a run's folder. Raises CheckpointError if it does not exist."""
    if not (folder / name).is_file():
        raise CheckpointError(f"{folder} has no {name}: it is not the folder of a finished (or checkpointed) run")
    return folder / name


def folder_or_hub(name: Path | str) -> Path:
    """A folder as it is; for a model of the hub, "name/model", the folder that it was fetched into. Raises
    CheckpointError."""
    if Path(name).is_dir():
        return Path(name)
    text = str(name)
    if text.count("/") == 1 and not text.startswith((".", "/", "~")) and not (Path(text).parent).is_dir():
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        try:
            return Path(snapshot_download(text, allow_patterns=PARTS))
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
            raise CheckpointError(
                f"{text} is not a folder here and could not be fetched from the hub ({error})"
            ) from error
    raise CheckpointError(f"{text}: there is no such folder; train one with `python train.py`, or name a hub id")
