"""What an autoencoder gives to training."""

from typing import NamedTuple

from torch import Tensor


class Outcome(NamedTuple):
    reconstruction: Tensor  # (B, 3, T, H, W)
    penalty: Tensor  # (B,): what keeps latents in shape: a KL divergence, or a commitment to codes
    latents: Tensor  # (B, C, T', H', W'), before noise, or before they are made codes
    codes: Tensor | None = None  # (B, T', H', W')
