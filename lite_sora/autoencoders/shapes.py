"""What autoencoders share: their output in training, the shape of a video's latents, and which sizes they accept."""

from typing import NamedTuple

from torch import Tensor


class AutoencoderOutput(NamedTuple):
    reconstruction: Tensor  # (B, 3, T, H, W)
    penalty: Tensor  # (B,): the KL divergence, or the commitment to codes
    latents: Tensor  # (B, C, T', H', W'), before noise is added, or before quantisation
    codes: Tensor | None = None  # (B, T', H', W')


def check_downsample(downsample: tuple[int, int, int] | list[int]) -> tuple[int, int, int]:
    """(frames, height, width), each a power of two. Raises ValueError."""
    if len(downsample) != 3 or any(factor < 1 or factor & (factor - 1) for factor in downsample):
        raise ValueError(f"downsample must be three powers of two (frames, height, width), not {tuple(downsample)}")
    return tuple(downsample)


def strides(downsample: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """Strides of 1 or 2 whose product is `downsample`. Space is halved first and time last, so that most layers see
    every frame: (2, 4, 4) → [(1, 2, 2), (2, 2, 2)]."""
    halvings = [factor.bit_length() - 1 for factor in downsample]
    steps = max(halvings)
    return [tuple(2 if steps - step <= halving else 1 for halving in halvings) for step in range(steps)]


def latent_shape(
    channels: int, downsample: tuple[int, int, int], frames: int, height: int, width: int
) -> tuple[int, int, int, int]:
    """(C, T', H', W'), each size divided by its factor. Raises ValueError, with the flag, if one does not divide."""
    shape = [channels]
    for flag, size, factor in zip(("frames", "height", "width"), (frames, height, width), downsample, strict=True):
        if size % factor or size < 1:
            nearest = max(1, round(size / factor)) * factor
            raise ValueError(
                f"--{flag} {size} does not divide by {factor}, the autoencoder's downsampling factor; try {nearest}"
            )
        shape.append(size // factor)
    return tuple(shape)


def causal_latent_shape(
    channels: int, downsample: tuple[int, int, int], frames: int, height: int, width: int
) -> tuple[int, int, int, int]:
    """(C, 1 + k, H', W') of 1 + k t frames. Raises ValueError, with the flag, for an invalid size."""
    t = downsample[0]
    if (frames - 1) % t or frames < 1:
        nearest = max(0, round((frames - 1) / t)) * t + 1
        raise ValueError(
            f"--frames {frames} is not 1 + a multiple of {t}: the autoencoder takes the first frame on its own and "
            f"then {t} at a time; try {nearest}"
        )
    _, *space = latent_shape(channels, (1, *downsample[1:]), 1, height, width)
    return channels, 1 + (frames - 1) // t, *space[1:]
