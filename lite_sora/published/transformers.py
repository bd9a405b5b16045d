"""The published DiT, SiT and U-ViT in this house: their weights, in our modules, give the same output.

`from_original` takes a state dict of facebookresearch/DiT, willisma/SiT or baofff/U-ViT. Sizes are read off the
tensors' shapes. As a command it makes a run folder of a published checkpoint, which generate.py samples with class ids
as prompts:

    python -m lite_sora.published.transformers dit DiT-XL-2-256x256.pt --vae sd-vae-ft-ema --out runs/dit-xl
    python generate.py 207 --run runs/dit-xl
"""

import argparse
import sys
from dataclasses import asdict
from math import isqrt
from pathlib import Path

import torch
from torch import Tensor

from lite_sora.denoisers.dit import DiT, DiTConfig
from lite_sora.denoisers.sit import SiT, SiTConfig
from lite_sora.denoisers.uvit import UViT, UViTConfig

HEADS = {  # by width: table 1 of 2212.09748 (SiT has the same) and of 2209.12152
    "dit": {384: 6, 768: 12, 1024: 16, 1152: 16},
    "sit": {384: 6, 768: 12, 1024: 16, 1152: 16},
    "uvit": {512: 8, 768: 12, 1024: 16, 1152: 16},
}


class OriginalError(ValueError):
    """A state dict that is not of the kind it is said to be; the message says what is missing or odd."""


def from_original(kind: str, state_dict: dict[str, Tensor], heads: int | None = None) -> DiT | SiT | UViT:
    """Our module with the weights of a published one, for images: `module(x, t, y)` is the original's output.

    kind: "dit", "sit" or "uvit". heads: of the attention, which no shape tells; by default the published table's.
    x (B, C, H, W); t (B,) as the original counts it: DiT 0 to 999, SiT 0 (noise) to 1 (data), U-ViT 0 to 1000 (999 for
    those in pixel space); y (B,) labels, the last of them "no class" (None for an unconditional U-ViT). Returns
    (B, C, H, W), and for DiT (B, 2 C, H, W): the noise, then a variance. Raises OriginalError.
    """
    if kind not in HEADS:
        raise OriginalError(f"kind {kind!r} is not one of {', '.join(HEADS)}")
    state = {name.removeprefix("module."): value for name, value in state_dict.items()}  # as DDP saves them
    convert = _uvit if kind == "uvit" else _dit
    try:
        module = convert(kind, state, heads)
    except KeyError as error:
        raise OriginalError(f"no {kind} of the published repository: there is no tensor {error} in it") from None
    except RuntimeError as error:  # load_state_dict, of what is missing, left over or of another shape
        raise OriginalError(f"no {kind} of the published repository: {error}") from None
    return module.eval()


def _heads(kind: str, width: int, heads: int | None) -> int:
    if heads is None and width not in HEADS[kind]:
        raise OriginalError(f"width {width} is none of the published ones ({kind}: {HEADS[kind]}); say how many heads")
    return heads or HEADS[kind][width]


def _count(state: dict, prefix: str) -> int:
    """How many numbered modules there are under a prefix."""
    return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})


def _rows(weight: Tensor, parts: int, order: list[int]) -> Tensor:
    """The parts of a layer's output, (parts * D, ...), in another order."""
    return torch.cat([weight.chunk(parts)[i] for i in order])


def _channels_first(weight: Tensor, patch: int, channels: int) -> Tensor:
    """An output layer whose rows are (row, column, channel) of a patch, with rows (channel, row, column)."""
    return weight.unflatten(0, (patch, patch, channels)).movedim(2, 0).flatten(0, 2)


def _dit(kind: str, state: dict[str, Tensor], heads: int | None) -> DiT:
    width, channels, patch, _ = state["x_embedder.proj.weight"].shape
    side = isqrt(state["pos_embed"].shape[1])
    out = state["final_layer.linear.weight"].shape[0] // patch**2
    kept = channels if kind == "sit" else out  # SiT's own forward throws the variance away
    config = (SiTConfig if kind == "sit" else DiTConfig)(
        channels=channels,
        out_channels=kept,
        patch=(1, patch, patch),
        width=width,
        depth=_count(state, "blocks."),
        heads=_heads(kind, width, heads),
        classes=state["y_embedder.embedding_table.weight"].shape[0],
        time_scale=1.0,
        positions=(1, side, side),
        mlp="gelu-tanh",
        qk_norm=False,
        rope=False,
    )
    ours = {
        "embed.weight": state["x_embedder.proj.weight"].flatten(1),
        "embed.bias": state["x_embedder.proj.bias"],
        "positions": state["pos_embed"].unflatten(1, (side, side)),
        "embed_class.weight": state["y_embedder.embedding_table.weight"],
    }
    for part in ("weight", "bias"):
        ours[f"out.{part}"] = _channels_first(state[f"final_layer.linear.{part}"], patch, out)[: kept * patch**2]
        ours[f"modulation.1.{part}"] = state[f"final_layer.adaLN_modulation.1.{part}"]
        for layer in (0, 2):
            ours[f"embed_time.mlp.{layer}.{part}"] = state[f"t_embedder.mlp.{layer}.{part}"]
        for i in range(config.depth):
            theirs = f"blocks.{i}."
            # theirs: shift, scale, gate of attention, then of the feed-forward; ours: the gates at the end
            modulation = state[f"{theirs}adaLN_modulation.1.{part}"]
            ours[f"blocks.{i}.modulation.1.{part}"] = _rows(modulation, 6, [0, 1, 3, 4, 2, 5])
            ours |= _block(f"blocks.{i}.", theirs, part, state)
    module = (SiT if kind == "sit" else DiT)(config)
    module.load_state_dict(ours)
    return module


def _block(name: str, theirs: str, part: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Attention and feed-forward, which DiT and U-ViT both call as timm does."""
    layers = {"attention.qkv": "attn.qkv", "attention.out": "attn.proj", "mlp.up": "mlp.fc1", "mlp.down": "mlp.fc2"}
    return {
        f"{name}{layer}.{part}": state[f"{theirs}{their_layer}.{part}"]
        for layer, their_layer in layers.items()
        if f"{theirs}{their_layer}.{part}" in state or part == "weight"  # U-ViT's qkv has no bias
    }


def _uvit(kind: str, state: dict[str, Tensor], heads: int | None) -> UViT:
    for name, what in {"time_embed.0.weight": "an MLP on the time", "context_embed.weight": "text"}.items():
        if name in state:
            raise OriginalError(f"a U-ViT with {what} ({name}) is not supported, only the class-conditional ones")
    width, channels, patch, _ = state["patch_embed.proj.weight"].shape
    classes = state["label_emb.weight"].shape[0] if "label_emb.weight" in state else None
    extras = 2 if classes else 1  # theirs stand first: [label, time, patches]
    side = isqrt(state["pos_embed"].shape[1] - extras)
    half = _count(state, "in_blocks.")
    config = UViTConfig(
        channels=channels,
        patch=(1, patch, patch),
        width=width,
        depth=2 * half + 1,
        heads=_heads(kind, width, heads),
        text_width=0,
        classes=classes,
        time_scale=1.0,
        positions=(1, side, side),
        qk_norm=False,
        rope=False,
        skip="concat" if "out_blocks.0.skip_linear.weight" in state else "none",
        convolution="final_layer.weight" in state,
        attention_bias="mid_block.attn.qkv.bias" in state,
    )
    positions = state["pos_embed"][0]  # (extras + N, D)
    time_kind = positions[extras - 1]
    ours = {
        "embed.weight": state["patch_embed.proj.weight"].flatten(1),
        "embed.bias": state["patch_embed.proj.bias"],
        "positions": positions[extras:].unflatten(0, (1, side, side)),
        "kinds": torch.stack([time_kind, positions[0] if classes else torch.zeros_like(time_kind)]),
        "norm.weight": state["norm.weight"],
        "norm.bias": state["norm.bias"],
    }
    if classes:
        ours["embed_class.weight"] = state["label_emb.weight"]
    names = [f"in_blocks.{i}." for i in range(half)] + ["mid_block."] + [f"out_blocks.{i}." for i in range(half)]
    for part in ("weight", "bias"):
        ours[f"out.{part}"] = _channels_first(state[f"decoder_pred.{part}"], patch, channels)
        if config.convolution:
            value = state[f"final_layer.{part}"]
            ours[f"convolution.{part}"] = value[:, :, None] if part == "weight" else value
        for i, theirs in enumerate(names):
            ours |= _block(f"blocks.{i}.", theirs, part, state)
            for norm in ("norm1", "norm2"):
                ours[f"blocks.{i}.{norm}.{part}"] = state[f"{theirs}{norm}.{part}"]
        if config.skip == "concat":
            for i in range(half):
                ours[f"skip_blocks.{i}.{part}"] = state[f"out_blocks.{i}.skip_linear.{part}"]
    module = UViT(config)
    module.load_state_dict(ours)
    return module


# ---------------------------------------------------------------- as a run folder


def load(path: Path) -> dict[str, Tensor]:
    """The state dict in a published .pt or .pth; the averaged weights ("ema") of a training checkpoint. Nothing in the
    file is executed. Raises OriginalError."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise OriginalError(f"{path}: there is no such file") from None
    except Exception as error:  # whatever a strange file makes of it
        reason = str(error).splitlines()[0]
        raise OriginalError(
            f"{path} is no file of tensors alone ({reason}); save its state dict by itself, "
            "torch.save(checkpoint['ema'], path), where you trust it"
        ) from None
    state = state.get("ema", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise OriginalError(f"{path} holds no state dict")
    return state


def save_run(kind: str, module: DiT | SiT | UViT, out: Path, vae: str | None, guidance: float) -> None:
    """A run folder that generate.py takes; vae: the autoencoder of the latents, None for pixels."""
    from lite_sora.diffusion.objective import PRESETS
    from lite_sora.pipeline import TextToVideo, TextToVideoConfig

    config = module.config
    if not config.classes:
        raise OriginalError("it is unconditional: generate.py has no prompt for it; from_original loads it")
    if (config.channels == 3) == bool(vae):
        what = "pixels: leave out --vae" if vae else f"latents of {config.channels} channels: name their --vae"
        raise OriginalError(f"this model makes {what}")
    if vae and Path(vae).is_dir():
        vae = str(Path(vae).resolve())  # a run may be used from elsewhere
    model_config = TextToVideoConfig(
        denoiser=kind,
        denoiser_config=asdict(config),
        autoencoder=vae or "pixel",
        convention={"dit": "ddpm", "sit": "sit", "uvit": "latent-diffusion" if vae else "vp"}[kind],
        null_class=kind != "uvit" or bool(vae),  # U-ViTs in pixel space were trained without
        objective=PRESETS["sit" if kind == "sit" else "ddpm"],
        frames=1,
        sampler="ddim" if kind != "sit" else "heun",
        steps=50,
        guidance=guidance,
    )
    model = TextToVideo(model_config, None)
    factor = model.autoencoder.downsample[1]
    model.config.height = model.config.width = config.positions[1] * config.patch[1] * factor
    model.denoiser.load_state_dict(module.state_dict())
    model.save_pretrained(out)


def main() -> None:
    parser = argparse.ArgumentParser(description="A run folder of a published DiT, SiT or U-ViT, for generate.py.")
    parser.add_argument("kind", choices=list(HEADS))
    parser.add_argument("checkpoint", type=Path, help="the published .pt or .pth")
    parser.add_argument("--out", type=Path, required=True, help="run folder")
    parser.add_argument("--vae", help="folder or hub id of the autoencoder (sd-vae-ft-ema) for models of latents")
    parser.add_argument("--heads", type=int, help="of the attention, if the width is none of the published ones")
    parser.add_argument("--guidance", type=float, help="default: 1.5, or 1 without a label for no class")
    options = parser.parse_args()
    try:
        if (options.out / "config.json").exists():
            raise OriginalError(f"{options.out} holds a run already; choose another --out")
        module = from_original(options.kind, load(options.checkpoint), options.heads)
        guidance = options.guidance or (1.5 if options.vae or options.kind != "uvit" else 1.0)
        save_run(options.kind, module, options.out, options.vae, guidance)
    except ValueError as error:
        sys.exit(f"originals: {error}")
    print(f"try: python generate.py 207 --run {options.out}")


if __name__ == "__main__":
    main()
