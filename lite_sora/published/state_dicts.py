"""The state dicts of published checkpoints: reading a file, and taking tensors from a state dict under our names."""

from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from lite_sora.errors import UserError
from lite_sora.storage.hub import first_line

# Our layers of a transformer block, and timm's, which DiT, SiT and U-ViT share.
TRANSFORMER = {"attention.qkv": "attn.qkv", "attention.out": "attn.proj", "mlp.up": "mlp.fc1", "mlp.down": "mlp.fc2"}


class OriginalError(UserError):
    """A file or state dict that is not the published one it is said to be; the message says what is missing or odd."""


def read(path: Path) -> dict[str, Tensor]:
    """The state dict in a published .pt or .pth file; of a training checkpoint the averaged weights ("ema"). Nothing in
    the file is executed. Raises OriginalError."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        where = "`python -m lite_sora.published --help` says where to download it"
        raise OriginalError(f"{path}: there is no such file; {where}") from None
    except Exception as error:  # a strange file can cause any
        reason = first_line(error) or type(error).__name__
        raise OriginalError(
            f"{path} contains more than tensors, or is not a file of torch.save ({reason}); where you trust it, save "
            "its state dict alone: torch.save(checkpoint['ema'], path)"
        ) from None
    state = state.get("ema", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise OriginalError(f"{path} does not contain a state dict")
    return state


@contextmanager
def converting(state_dict: dict[str, Tensor], what: str):
    """`with converting(…) as state`: a copy, without the "module." that DistributedDataParallel puts before each name.
    One that does not fit raises OriginalError. what: its name in messages, such as "a published DiT"."""
    try:
        yield {name.removeprefix("module."): value for name, value in state_dict.items()}
    except OriginalError:
        raise
    except KeyError as error:
        raise OriginalError(f"not {what}: tensor {error} is missing") from None
    except (RuntimeError, ValueError, IndexError) as error:  # load_state_dict raises RuntimeError
        raise OriginalError(f"not {what}: {error}") from None


def count(state: dict[str, Tensor], prefix: str) -> int:
    """The number of modules of an nn.ModuleList whose names begin with `prefix`, such as "blocks."."""
    return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})


def heads_of(width: int, known: dict[int, int], heads: int | None) -> int:
    """The number of attention heads, which no shape tells: as given, or that of the published width."""
    if heads is None and width not in known:
        widths = ", ".join(map(str, known))
        raise OriginalError(f"width {width} is not one of the published ones ({widths}); say how many heads it has")
    return heads or known[width]


def take(state: dict[str, Tensor], layers: dict[str, str]) -> dict[str, Tensor]:
    """Moves the weights and biases of layers out of `state`. layers: our name → theirs."""
    ours = {}
    for name, theirs in layers.items():
        ours[f"{name}.weight"] = state.pop(f"{theirs}.weight")
        if f"{theirs}.bias" in state or not theirs.endswith("attn.qkv"):  # U-ViT's has no bias
            ours[f"{name}.bias"] = state.pop(f"{theirs}.bias")
    return ours


def channels_first(weight: Tensor, patch: int, channels: int) -> Tensor:
    """An output layer's weight or bias, (patch * patch * channels, ...), whose rows are ordered by row, column and
    channel of a patch, with rows ordered by channel, row and column."""
    return weight.unflatten(0, (patch, patch, channels)).movedim(2, 0).flatten(0, 2)


def fill(module: nn.Module, ours: dict[str, Tensor], left: dict[str, Tensor]) -> nn.Module:
    """The module with weights `ours`, for inference. Raises RuntimeError for tensors that are `left` in a state dict,
    missing, or of another shape."""
    if left:
        raise RuntimeError(f"tensor {min(left)!r} has no place in it")
    module.load_state_dict(ours)
    return module.eval()
