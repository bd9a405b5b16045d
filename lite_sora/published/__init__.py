"""Other people's weights: the published DiT, SiT and U-ViT as modules of our blocks, with the same output.

`from_original` takes a state dict of facebookresearch/DiT, willisma/SiT or baofff/U-ViT. The command `python -m
lite_sora.published` makes a run folder of a checkpoint, which generate.py samples.
"""

from torch import Tensor

from lite_sora.published import dit, uvit
from lite_sora.published.dit import PublishedDiT
from lite_sora.published.state_dicts import OriginalError, converting
from lite_sora.published.uvit import PublishedUViT

KINDS = {"dit": "DiT", "sit": "SiT", "uvit": "U-ViT"}


def from_original(kind: str, state_dict: dict[str, Tensor], heads: int | None = None) -> PublishedDiT | PublishedUViT:
    """Our module with the weights of a published one: `module(x, t, condition)` is the original's output.

    kind: "dit", "sit" or "uvit". heads: of the attention, which no shape tells; by default those of the published
    sizes. All other sizes are read off the shapes. Shapes and times are in the modules' `forward`; condition is labels
    (B,), for a text-to-image U-ViT CLIP's tokens (B, 77, 768), for an unconditional one None. Raises OriginalError.
    """
    if kind not in KINDS:
        raise OriginalError(f"kind {kind!r} is not one of {', '.join(KINDS)}")
    with converting(state_dict, f"a published {KINDS[kind]}") as state:
        return uvit.convert(state, heads) if kind == "uvit" else dit.convert(state, heads, variance=kind == "dit")
