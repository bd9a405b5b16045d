"""The transformers by name: DiT, U-ViT and SiT. Each is `(x (B, C, T, H, W), t (B,), Text) → (B, C, T, H, W)`."""

from torch import nn

from lite_sora.denoisers import dit, uvit
from lite_sora.denoisers.dit import DenoiserConfig, DiT
from lite_sora.denoisers.sit import SiT, SiTConfig
from lite_sora.denoisers.uvit import UViT, UViTConfig
from lite_sora.denoisers.variants import DiTVariant, SiTVariantConfig, VariantConfig

DENOISERS = {  # name: networks with their configurations; the first that has all parts asked for is taken
    "dit": ((DiT, DenoiserConfig), (DiTVariant, VariantConfig)),
    "uvit": ((UViT, UViTConfig),),
    "sit": ((SiT, SiTConfig), (DiTVariant, SiTVariantConfig)),
}
SIZES = {"dit": dit.SIZES, "uvit": uvit.SIZES, "sit": dit.SIZES}  # name: {size: (width, depth, heads)}


def find_denoiser(name: str, parts: dict) -> tuple[type[nn.Module], DenoiserConfig]:
    """The first network of this name in `DENOISERS` that has these parts, and its configuration. Raises ValueError for
    parts that none has, or that do not fit together."""
    for network, config in DENOISERS[name]:
        unknown = parts.keys() - config.__dataclass_fields__.keys()
        if not unknown:
            return network, config(**parts)
    flags = ", ".join(f"--{part.replace('_', '-')}" for part in sorted(unknown))
    raise ValueError(f"{flags}: --denoiser {name} has no such part")
