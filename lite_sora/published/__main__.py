"""Makes a run folder of a published DiT, SiT or U-ViT, which generate.py samples by class ids or captions:

pip install diffusers  # for --vae, which models of latents need
curl -LO https://dl.fbaipublicfiles.com/DiT/models/DiT-XL-2-256x256.pt  # or -512x512.pt
python -m lite_sora.published dit DiT-XL-2-256x256.pt --vae stabilityai/sd-vae-ft-ema --out runs/dit-xl
python generate.py 207 --run runs/dit-xl

SiT-XL/2: download.py of https://github.com/willisma/SiT has the link. U-ViTs: https://github.com/baofff/U-ViT, the
table "Pretrained Models". The weights of DiT are under CC-BY-NC.
"""

import argparse
import shlex
from dataclasses import asdict
from pathlib import Path

from lite_sora.autoencoders import load_autoencoder
from lite_sora.commands import command
from lite_sora.diffusion.presets import PRESETS
from lite_sora.published import KINDS, OriginalError, from_original
from lite_sora.published.conventions import CONVENTIONS
from lite_sora.published.dit import PublishedDiTConfig
from lite_sora.published.pipeline import PublishedConfig, PublishedTextToVideo, text_of
from lite_sora.published.state_dicts import read
from lite_sora.published.uvit import PublishedUViTConfig

COCO_SCALE = 0.2301  # of the latents of U-ViT on MS-COCO: configs/mscoco_uvit.py of baofff/U-ViT
EXAMPLES = ("207", "7", "0")  # ImageNet's golden retriever; CIFAR-10's horse


@command("lite_sora.published", mendable=ValueError)
def main() -> None:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m lite_sora.published",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flag = parser.add_argument
    flag("kind", choices=list(KINDS))
    flag("checkpoint", type=Path, help="the published .pt or .pth, from the addresses above")
    flag("--out", type=Path, required=True, help="run folder")
    flag("--vae", help="autoencoder of a model of latents: diffusers' folder, or hub id, as above")
    flag("--text", help="CLIP of a text-to-image model: a folder or hub id (openai/clip-vit-large-patch14)")
    flag("--heads", type=int, help="attention heads, for a width that was not published")
    flag("--convention", choices=CONVENTIONS, help="how the network counts time (default: as the published ones)")
    flag("--guidance", type=float, help='default: 1.5; 2 for captions; 1 for a model without a label for "no class"')
    options = parser.parse_args()
    if (options.out / "config.json").exists():
        raise OriginalError(f"{options.out} contains a run already; choose another --out")
    model = make_model(options)
    model.save_pretrained(options.out)
    print(f"try: python generate.py {shlex.quote(example(model))} --run {options.out}")


def make_model(options: argparse.Namespace) -> PublishedTextToVideo:
    """The model of the command's flags. Raises ValueError where they do not fit the checkpoint."""
    module = from_original(options.kind, read(options.checkpoint), options.heads)
    network, kind, vae = module.config, options.kind, options.vae
    reads_text = not network.classes and network.text_width > 0
    if not network.classes and not reads_text:
        hint = "generate.py needs one; lite_sora.published.from_original loads it as a module"
        raise OriginalError(f"{options.checkpoint} is unconditional, so it takes no prompt, and {hint}")
    if (network.channels == 3) == bool(vae):
        what = "pixels: leave out --vae" if vae else f"latents of {network.channels} channels: name their --vae"
        raise OriginalError(f"{options.checkpoint} is a model of {what}")
    if reads_text != bool(options.text):
        captions = "captions: name their CLIP, --text openai/clip-vit-large-patch14"
        what = captions if reads_text else "classes: leave out --text"
        raise OriginalError(f"{options.checkpoint} is a model of {what}")
    null = kind != "uvit" or bool(vae)  # U-ViTs in pixel space were trained without
    usual = 2.0 if reads_text else 1.5 if null else 1.0
    guidance = usual if options.guidance is None else options.guidance
    if guidance != 1 and not null:
        raise OriginalError(f'{options.checkpoint} has no label for "no class", so --guidance must be 1')
    convention = options.convention or convention_of(kind, network, bool(vae))
    if (convention == "sit") != (kind == "sit"):
        raise OriginalError(f"--convention {convention} does not fit {kind}: SiT's is that of a velocity, not of noise")
    autoencoder = load_autoencoder(vae or "pixel")
    side = network.positions[1] * network.patch[1] * autoencoder.downsample[1]
    config = PublishedConfig(
        denoiser=kind,
        denoiser_config=asdict(network),
        autoencoder=absolute(vae) if vae else "pixel",
        text=absolute(options.text) if reads_text else "classes",
        text_width=network.text_width,
        convention=convention,
        null_class=null,
        latent_scale=COCO_SCALE if reads_text else None,
        objective=PRESETS["sit" if kind == "sit" else "ddpm"],
        frames=1,
        height=side,
        width=side,
        sampler="heun" if kind == "sit" else "ddim",
        steps=50,
        guidance=guidance,
    )
    return PublishedTextToVideo(config, text_of(module, config), module, autoencoder)


def convention_of(kind: str, network: PublishedDiTConfig | PublishedUViTConfig, latents: bool) -> str:
    """How a published network counts time. U-ViTs of classes in latents come in two: L, with a convolution at the end,
    was trained in continuous time (train_ldm.py of baofff/U-ViT), and H, without one, in discrete steps
    (train_ldm_discrete.py), as were the text-to-image ones."""
    if kind != "uvit":
        return {"dit": "ddpm", "sit": "sit"}[kind]
    continuous = not latents or (bool(network.classes) and network.convolution)
    return "vp" if continuous else "latent-diffusion"


def absolute(name: str) -> str:
    """A folder's absolute path, since a run may be used from elsewhere; a hub id as it is."""
    return str(Path(name).resolve()) if Path(name).is_dir() else name


def example(model: PublishedTextToVideo) -> str:
    """A prompt that the model knows."""
    if not (classes := model.denoiser.config.classes):
        return "a red bus in a street"
    return next(label for label in EXAMPLES if int(label) < classes - model.config.null_class)


if __name__ == "__main__":
    main()
