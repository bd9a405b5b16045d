"""Pretrained models, by folder or by id of the Hugging Face hub: which names can be models, whether the hub answers,
and what to do about a model that cannot be loaded.

transformers and diffusers try a request six times, for 23 seconds, before they find that there is no network, and print
each try. So ask here first, once, and give them `local_files_only` where nothing answers.
"""

from pathlib import Path

from lite_sora.errors import UserError

TIMEOUT = 5.0  # seconds


def check_name(name: object) -> str:
    """name, if it is an existing folder or can be the id of a model of the hub, "model" or "owner/model", but for an
    "owner" that is a folder here. Raises ValueError if it is neither; nothing is fetched."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"{name!r} is not the name of a model: it is neither a folder nor a hub id")
    if not Path(name).is_dir():
        if Path(name).exists():
            raise ValueError(f"{name} is a file, not the folder of a model")
        if "/" in name and Path(name).parent.is_dir():
            raise ValueError(f"{name}: there is no such folder in {Path(name).parent}")
        try:
            validate_repo_id(name)
        except HFValidationError:
            raise ValueError(f'{name}: there is no such folder, and it cannot be a hub id ("owner/model")') from None
    return name


def offline(name: str) -> bool:
    """Whether files of the model `name` can only come from this machine: it is a folder, or the hub does not answer
    (then a model that was fetched earlier is still found in the hub's cache). One request, without retries."""
    from huggingface_hub import model_info
    from huggingface_hub.errors import HfHubHTTPError

    if Path(name).is_dir():
        return True
    try:
        model_info(name, timeout=TIMEOUT)
    except HfHubHTTPError:  # it answers, if only that it has no such model
        return False
    except Exception:  # refused, timed out, no such host, HF_HUB_OFFLINE: each HTTP library has its own errors
        return True
    return False


class ModelError(UserError):
    """A model that cannot be used; the message names it and says what to do."""


def load_pretrained(kind: type, name: str, what: str, **options):
    """kind.from_pretrained(name, **options) for a class of transformers, such as AutoModel. `what` says in the error
    what was looked for, such as "vision-language model". Raises ModelError if it cannot be loaded."""
    try:
        return kind.from_pretrained(name, **options)
    except Exception as error:  # transformers and the hub raise many kinds
        if "trust_remote_code" in options and "trust_remote_code" in str(error):
            reason = "it brings Python code of its own; pass --trust-remote-code if you trust that code"
            raise ModelError(f"{name}: {reason}") from error
        raise ModelError(
            f"{name}: no {what} can be loaded from there ({first_line(error)}). Name a folder with config.json, "
            ".safetensors and the tokenizer's or image processor's files, or a hub id if there is a network; "
            f"`hf download {name} --local-dir FOLDER` fetches one"
        ) from error


def first_line(error: Exception) -> str:
    """The first line of an error's message: some of transformers' are a page long."""
    return str(error).strip().partition("\n")[0]
