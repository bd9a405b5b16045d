"""A cache of tensors on disk: a folder of safetensors files, its shards. Shards are only ever added, each whole or not
at all, so a killed run loses at most a minute's work, and several processes can fill one folder. A shard's metadata has
a digest of its tensors; a shard whose bytes have changed since is not used.
"""

import hashlib
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lite_sora.storage.files import make_folder, write_whole

SHARD_BYTES = 2**26  # the size of a shard, roughly
SHARD_SECONDS = 60  # a shard is written after this time even if it is smaller


def digest(*parts) -> str:
    """A short hash of `parts`, by their reprs."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def digest_of_weights(state: dict[str, Tensor]) -> str:
    """A short hash of a network's weights: names, types, shapes and values. It changes with any of them."""
    total = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return total.hexdigest()[:32]


@cache
def _opened(path: Path) -> safe_open:
    """A shard, checked when it is first opened in a process. Raises ValueError for a damaged one. A shard of an earlier
    version, which has no digest, is taken as it is."""
    shard = safe_open(path, "pt")
    expected = (shard.metadata() or {}).get("digest")
    if expected and expected != digest_of_weights({name: shard.get_tensor(name) for name in shard.keys()}):  # noqa: SIM118
        raise ValueError(f"{path} is damaged")
    return shard


def _names(path: Path) -> list[str]:
    """The names of the tensors in a shard, none if it is damaged."""
    try:
        return _opened(path).keys()
    except (SafetensorError, OSError, ValueError) as error:
        warnings.warn(f"{path} is not used, and what was in it is made again ({error})", stacklevel=2)
        return []


class Shards:
    """Tensors by name. `with shards: shards.add(name, tensor)` writes full shards on the way, and the rest at the end
    of the block, also after Ctrl-C."""

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        self.pending: dict[str, Tensor] = {}
        self.pending_bytes, self.written = 0, time.monotonic()
        self.find()

    def find(self) -> None:
        """Looks for new files. A damaged file counts as absent."""
        paths = sorted(self.folder.glob("*.safetensors"))
        with ThreadPoolExecutor(8) as pool:  # reading and hashing release Python's lock
            found = zip(paths, pool.map(_names, paths), strict=True)
            self.files = {name: path for path, names in found for name in names}

    def __contains__(self, name: str) -> bool:
        return name in self.files

    def __getitem__(self, name: str):
        """A lazy handle: slicing, as in `[0]`, reads only that part."""
        return _opened(self.files[name]).get_slice(name)

    def add(self, name: str, tensor: Tensor) -> None:
        self.pending[name] = tensor.cpu().contiguous()
        self.pending_bytes += tensor.nbytes
        if self.pending_bytes >= SHARD_BYTES or time.monotonic() - self.written >= SHARD_SECONDS:
            self.write()

    def write(self) -> None:
        self.written = time.monotonic()
        if self.pending:
            make_folder(self.folder, "--cache-folder")
            path = self.folder / f"{digest(sorted(self.pending))}.safetensors"
            metadata = {"digest": digest_of_weights(self.pending)}
            write_whole(path, lambda part: save_file(self.pending, part, metadata))
            self.pending, self.pending_bytes = {}, 0

    def __enter__(self) -> "Shards":
        return self

    def __exit__(self, *_) -> None:
        self.write()
        self.find()
