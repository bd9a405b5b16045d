"""The transformers: DiT, U-ViT and SiT, from the layers that they share."""

from lite_sora.denoisers import dit, uvit
from lite_sora.denoisers.dit import DiT, DiTConfig
from lite_sora.denoisers.sit import SiT, SiTConfig
from lite_sora.denoisers.uvit import UViT, UViTConfig

DENOISERS = {  # name: (network, its configuration, its sizes as (width, depth, heads))
    "dit": (DiT, DiTConfig, dit.SIZES),
    "uvit": (UViT, UViTConfig, uvit.SIZES),
    "sit": (SiT, SiTConfig, dit.SIZES),
}

__all__ = ["DENOISERS"]
