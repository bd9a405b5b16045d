"""The transformers by name. Each is `(x (B, C, T, H, W), t (B,), Text) → (B, C, T, H, W)`, and declares

config_class  a dataclass of what it is built of: the `patch`, what its `sizes` name, those of the flags in
              `training/parts.py` that it has, and what it wants to know of what it will see: `channels`,
              `text_width` and, where it fits one size only, `size`, the (T, H, W) of the video or latents
sizes         name: parts, among them the `width`; "toy" is the default run's
on_tokens()   the layers that every token passes through, whose matrices Muon trains

A new one is a file like `dit.py` and a line here: flags, `compare` and the tests go by this table.
"""

from torch import nn

from lite_sora.denoisers.dit import DenoiserConfig, DiT
from lite_sora.denoisers.sit import SiT, SiTVariant
from lite_sora.denoisers.uvit import UViT
from lite_sora.denoisers.variants import DiTVariant

DENOISERS = {  # name: networks, of which the first that has all parts asked for is taken
    "dit": (DiT, DiTVariant),
    "uvit": (UViT,),
    "sit": (SiT, SiTVariant),
}


def find_denoiser(name: str, parts: dict, told: dict | None = None) -> tuple[type[nn.Module], DenoiserConfig]:
    """The first network of this name in `DENOISERS` that has these parts, and its configuration. Of what it is `told`
    it takes what it has. Raises ValueError for parts that none has, or that do not fit together."""
    for network in DENOISERS[name]:
        known = network.config_class.__dataclass_fields__.keys()
        unknown = parts.keys() - known
        if not unknown:
            told = {part: value for part, value in (told or {}).items() if part in known}
            return network, network.config_class(**(told | parts))
    flags = ", ".join(f"--{part.replace('_', '-')}" for part in sorted(unknown))
    raise ValueError(f"{flags}: --denoiser {name} has no such part")
