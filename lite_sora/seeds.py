"""Seeds belong to samples, not to batches: whatever else is in the batch, and on however many GPUs, a sample's noise is
the same (the idea of StackedRandomGenerator in EDM, 2206.00364)."""

from hashlib import blake2b

import torch
from torch import Tensor


def seed_of(*parts: object) -> int:
    """A 63-bit seed made of names and numbers, like seed_of(run_seed, "noise", sample)."""
    digest = blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def normal(seeds: list[int], shape: tuple[int, ...], device: torch.device | str = "cpu") -> Tensor:
    """Normal noise (len(seeds), *shape), each row from its own seed. Drawn on `device`, whose numbers differ from
    another device's."""
    rows = [torch.randn(shape, generator=torch.Generator(device).manual_seed(seed), device=device) for seed in seeds]
    return torch.stack(rows)


def uniform(seeds: list[int]) -> Tensor:
    """Uniform numbers on [0, 1), (len(seeds),), one from each seed; on the CPU."""
    return torch.stack([torch.rand((), generator=torch.Generator().manual_seed(seed)) for seed in seeds])
