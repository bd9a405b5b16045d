"""Run folders: which files they contain, and where to find one, by path or by id of the Hugging Face hub."""

from pathlib import Path

INSIDE = "autoencoder"  # the autoencoder's folder in a run's folder
PARTS = ["config.json", "tokenizer.json", "model.safetensors", f"{INSIDE}/*"]  # the files that a model consists of


class CheckpointError(ValueError):
    """A folder whose model cannot be loaded; the message says what is missing or wrong."""


def need(folder: Path, name: str) -> Path:
    """The path of a file in a run's folder. Raises CheckpointError if it does not exist."""
    if not (folder / name).is_file():
        raise CheckpointError(f"{folder} has no {name}: it is not the folder of a finished or checkpointed run")
    return folder / name


def folder_or_hub(name: Path | str) -> Path:
    """The folder `name`, or the local copy of the hub's model `name` ("owner/model"), which is fetched if need be.
    Raises CheckpointError if there is neither."""
    if Path(name).is_dir():
        return Path(name)
    text = str(name)
    if text.count("/") == 1 and not text.startswith((".", "/", "~")) and not (Path(text).parent).is_dir():
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        try:
            return Path(snapshot_download(text, allow_patterns=PARTS))
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
            raise CheckpointError(
                f"{text} is not a folder here, and could not be fetched from the hub ({error})"
            ) from error
    raise CheckpointError(f"{text}: there is no such folder; train one with `python train.py`, or name a hub id")
