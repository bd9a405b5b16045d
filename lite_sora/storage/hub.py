"""Pretrained models, by folder or by id of the Hugging Face hub: one error, one wording of what to do about it."""


class ModelError(ValueError):
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
