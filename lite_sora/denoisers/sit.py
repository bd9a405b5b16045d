"""SiT, the scalable interpolant transformer (Ma et al., 2401.08740).

There is nothing in it that DiT has not: the blocks, the sizes and the conditioning are DiT's, to the last weight. What
SiT changes is what the network is trained on and how it is sampled, and that is the business of `diffusion/`: the
linear path, the velocity, times drawn evenly (the preset "sit"), and as sampler an ODE or SDE of one's choice. What is
left for this file is one number: SiT hands its t, between 0 and 1, to the sines and cosines as it is, where DiT counts
1000 steps.
"""

from dataclasses import dataclass

from lite_sora.denoisers.dit import DenoiserConfig, DiT
from lite_sora.denoisers.variants import DiTVariant, VariantConfig


@dataclass
class SiTConfig(DenoiserConfig):
    time_scale: float = 1.0


class SiT(DiT):
    """A DiT with SiT's defaults; the paper trains it with the objective "sit"."""

    config_class = SiTConfig


@dataclass
class SiTVariantConfig(VariantConfig):
    time_scale: float = 1.0


class SiTVariant(DiTVariant):
    config_class = SiTVariantConfig
