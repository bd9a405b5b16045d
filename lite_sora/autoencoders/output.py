"""The output of an autoencoder in training."""

from typing import NamedTuple

from torch import Tensor


class AutoencoderOutput(NamedTuple):
    reconstruction: Tensor  # (B, 3, T, H, W)
    penalty: Tensor  # (B,): the KL divergence, or the commitment to codes
    latents: Tensor  # (B, C, T', H', W'), before noise is added, or before quantisation
    codes: Tensor | None = None  # (B, T', H', W')
