"""The table of transformers: DiT, U-ViT and SiT. Each is `(x (B, C, T, H, W), t (B,), Text) → (B, C, T, H, W)`."""

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
