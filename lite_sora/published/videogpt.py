"""The published VideoGPT VQ-VAE (wilson1yan/VideoGPT, 2104.10157) as our module, with the same codes and videos."""

import torch
from torch import Tensor

from lite_sora.autoencoders.vq import VQAutoencoder, VQConfig
from lite_sora.published.state_dicts import OriginalError, converting, count


def from_original(
    kind: str, state_dict: dict[str, Tensor], downsample: tuple[int, int, int] = (4, 4, 4)
) -> VQAutoencoder:
    """Our module with the weights of a published one: `module.codes(video)` are the original's codes, and
    `module.decode_codes(codes)` its video, both in [-0.5, 0.5] as the original counts.

    kind: "videogpt". downsample: (frames, height, width), which no shape tells; all other sizes are read off the
    tensors. Raises OriginalError.
    """
    if kind != "videogpt":
        raise OriginalError(f"kind {kind!r} is not one of videogpt")
    with converting(state_dict, "a published VideoGPT VQ-VAE") as state:
        return _videogpt(state, downsample).eval()


def _videogpt(state: dict[str, Tensor], downsample: tuple[int, int, int]) -> VQAutoencoder:
    channels, (codes, code_width) = state["pre_vq_conv.conv.weight"].shape[1], state["codebook.embeddings"].shape
    blocks = count(state, "encoder.res_stack.") - 1  # after the blocks there is a norm
    halvings = count(state, "encoder.convs.")
    try:
        config = VQConfig(downsample, channels, blocks, codes=codes, code_width=code_width, amplitude=0.5)
    except ValueError as error:
        raise OriginalError(str(error)) from None
    if len(config.strides) != halvings:
        raise OriginalError(
            f"downsample {tuple(downsample)} takes {len(config.strides)} halvings, but this VQVAE has {halvings}: "
            f"its largest factor is {2**halvings}"
        )
    ours = {
        "quantizer.vectors": state["codebook.embeddings"],
        "quantizer.counts": state["codebook.N"],
        "quantizer.sums": state["codebook.z_avg"],
        "shift": torch.zeros(code_width, 1, 1, 1),
        "scale": torch.ones(()),
    }
    names = {f"encoder.convs.{i}.conv": f"encoder.{2 * i}" for i in range(halvings)}
    names |= {"encoder.conv_last.conv": f"encoder.{2 * halvings}", "pre_vq_conv.conv": f"encoder.{2 * halvings + 2}"}
    names |= {f"decoder.convts.{i}.convt": f"decoder.{2 + 2 * i}" for i in range(halvings)}
    names["post_vq_conv.conv"] = "decoder.0"
    for theirs, name in {"encoder": f"encoder.{2 * halvings + 1}", "decoder": "decoder.1"}.items():
        for i in range(blocks):
            block, inner = f"{theirs}.res_stack.{i}.block", f"{name}.{i}.inner"
            names |= {f"{block}.{layer}": f"{inner}.{layer}" for layer in (0, 3, 6)}  # norms
            names |= {f"{block}.{layer}.conv": f"{inner}.{layer}" for layer in (2, 5)}
            for axis, letter in enumerate("wht"):
                attention = f"{block}.8.attn_{letter}"
                names[f"{attention}.fc"] = f"{inner}.8.axes.{axis}.out"
                parts = [state.pop(f"{attention}.w_{part}s.weight") for part in "qkv"]
                ours[f"{inner}.8.axes.{axis}.qkv.weight"] = torch.cat(parts)
        names[f"{theirs}.res_stack.{blocks}"] = f"{name}.{blocks}"
    for full_name, value in state.items():
        theirs, part = full_name.rsplit(".", 1)
        if not theirs.startswith("codebook"):
            ours[f"{names.get(theirs, theirs)}.{part}"] = value
    module = VQAutoencoder(config)
    module.load_state_dict(ours)
    return module
