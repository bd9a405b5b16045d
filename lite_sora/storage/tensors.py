"""A cache of tensors on disk: a folder of safetensors files. Files are only ever added, each whole or not at all, so a
run that is killed loses no more than a minute's work, and several processes can fill one folder.
"""

import hashlib
import time
from functools import cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lite_sora.storage.files import write_whole

SHARD_BYTES = 2**26  # of a file, at most, roughly
SHARD_SECONDS = 60  # of work that may be lost


def digest(*parts) -> str:
    """A short name that stands for all of `parts`, whatever their reprs are."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def digest_of_weights(state: dict[str, Tensor]) -> str:
    """A short name of a network's weights: another for the least change in any of them."""
    total = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return total.hexdigest()[:32]


@cache
def _opened(path: Path) -> safe_open:
    return safe_open(path, "pt")


class Shards:
    """Tensors by name. `with shards: shards.add(name, tensor)` writes; on the way out, also by Ctrl-C, what is left."""

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        self.pending: dict[str, Tensor] = {}
        self.pending_bytes, self.written = 0, time.monotonic()
        self.find()

    def find(self) -> None:
        """Looks again for what is there. A file that cannot be read counts as absent."""
        self.files: dict[str, Path] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            try:
                self.files |= dict.fromkeys(_opened(path).keys(), path)
            except (SafetensorError, OSError):
                continue

    def __contains__(self, name: str) -> bool:
        return name in self.files

    def __getitem__(self, name: str):
        """What stands for a tensor without having been read: its parts are, when they are asked for, as in `[0]`."""
        return _opened(self.files[name]).get_slice(name)

    def add(self, name: str, tensor: Tensor) -> None:
        self.pending[name] = tensor.cpu().contiguous()
        self.pending_bytes += tensor.nbytes
        if self.pending_bytes >= SHARD_BYTES or time.monotonic() - self.written >= SHARD_SECONDS:
            self.write()

    def write(self) -> None:
        self.written = time.monotonic()
        if self.pending:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"{digest(sorted(self.pending))}.safetensors"
            write_whole(path, lambda part: save_file(self.pending, part))
            self.pending, self.pending_bytes = {}, 0

    def __enter__(self) -> "Shards":
        return self

    def __exit__(self, *_) -> None:
        self.write()
        self.find()
