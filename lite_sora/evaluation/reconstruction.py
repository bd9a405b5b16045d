"""How well an autoencoder gives videos back, and what its latents are like.

    python -m lite_sora.evaluation.reconstruction --run runs/autoencoders/kl-toy --data data/my/manifest.jsonl

PSNR and SSIM over clips that training has not seen (any manifest's, with --data); the mean and the spread of each
channel of the latents, which a denoiser wants near 0 and 1; of a VQ-VAE, how many of its codes are in use.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

from lite_sora.autoencoders import load_autoencoder
from lite_sora.autoencoders.losses import psnr, ssim
from lite_sora.autoencoders.quantizers import perplexity
from lite_sora.autoencoders.saved import read_config
from lite_sora.autoencoders.vq import VQAutoencoder
from lite_sora.commands import command
from lite_sora.data.clip import Clip, read_manifest
from lite_sora.data.loading import batches, to_model_range
from lite_sora.data.windows import VideoDataset
from lite_sora.processes import check_device

COLLAPSED = 0.05  # the fraction of codes in use below which a codebook has collapsed


def clips_of(manifest: Path, held_out: bool, allow_outside: bool = False) -> list[Clip]:
    """The clips for training, or those that are held out ("split")."""
    return captioned([clip for clip in read_manifest(manifest, allow_outside) if clip.for_training != held_out])


def captioned(clips: list[Clip]) -> list[Clip]:
    """Clips that need no captions: their ids stand in for those that are missing."""
    return [clip if clip.caption.strip() else replace(clip, caption=clip.id, captions=[]) for clip in clips]


@torch.no_grad()
def measure(autoencoder, dataset: VideoDataset, device: torch.device | str = "cpu", batch: int = 16) -> dict:
    """{"clips", "psnr", "ssim", "latent_mean", "latent_spread", "perplexity", "codes"}: of each clip's first window.

    The last two are None where there are no codes. autoencoder: anything with `encode` and `decode`, in eval mode.
    """
    model = getattr(autoencoder, "model", autoencoder)
    psnrs, ssims, codes, sums, squares, count = [], [], [], 0, 0, 0
    keys = [(index, 0) for index in range(len(dataset))]
    order = [keys[first : first + batch] for first in range(0, len(keys), batch)]
    for part in tqdm(batches(dataset, order, workers=0), "reconstructing", unit="batch", leave=False):
        video = to_model_range(part.video.to(device))
        latents = autoencoder.encode(video)  # (B, C, T', H', W')
        rebuilt = autoencoder.decode(latents)
        psnrs.append(psnr(video, rebuilt).cpu())
        ssims.append(ssim(video, rebuilt.clamp(-1, 1)).cpu())
        if isinstance(model, VQAutoencoder):
            codes.append(model.codes(video * model.config.amplitude).flatten().cpu())
        values = latents.transpose(0, 1).flatten(1).cpu().double()  # (C, N)
        sums, squares, count = sums + values.sum(1), squares + values.square().sum(1), count + values.shape[1]
    mean = sums / count
    of = model.quantizer.codes if codes else None
    return {
        "clips": len(dataset),
        "psnr": torch.cat(psnrs).mean().item(),
        "ssim": torch.cat(ssims).mean().item(),
        "latent_mean": mean.tolist(),
        "latent_spread": (squares / count - mean.square()).clamp(min=0).sqrt().tolist(),
        "perplexity": perplexity(torch.cat(codes), of) if codes else None,
        "codes": of,
    }


def evaluate(
    run: Path, manifest: Path | None = None, clips: int | None = None, allow_outside: bool = False, device="cpu"
) -> dict:
    """`measure` for a run folder: on the first clips that a manifest holds out, or else on the first of all. What is
    None is as in training. Raises ValueError for a run or a manifest that cannot be used."""
    autoencoder = load_autoencoder(run)
    training = json.loads((run / "config.json").read_text(encoding="utf-8")).get("training")
    if not training:
        raise ValueError(f"{run}/config.json does not say what frames and sizes it was trained on")
    allow_outside = allow_outside or (manifest is None and training["allow_outside"])
    manifest, clips = manifest or Path(training["manifest"]), clips or training["held_out_clips"]
    unseen = clips_of(manifest, held_out=True, allow_outside=allow_outside)
    rows = (unseen or clips_of(manifest, held_out=False, allow_outside=allow_outside))[:clips]
    sizes = (training[name] for name in ("frames", "height", "width", "fps"))
    dataset = VideoDataset(rows, manifest.parent, *sizes)
    skipped = dataset.preload(2**31, show=False)
    if not len(dataset):
        raise ValueError(f"none of the clips of {manifest} can be used; {min(skipped, default='there is none')}")
    return {"held_out": bool(unseen)} | measure(autoencoder, dataset, device)


def collapse(found: float, of: int) -> str | None:
    """What to say of a perplexity that is far below the number of codes."""
    if found >= max(2.0, COLLAPSED * of):
        return None
    return (
        f"the codebook has collapsed: a perplexity of {found:.1f} with {of} codes; try fewer --codes, a larger "
        "--batch-size (a code that fewer than one latent a step chooses starts again), a lower --muon-lr, or "
        "--quantizer fsq, which cannot collapse"
    )


def report(result: dict) -> str:
    """The result in a few lines."""
    which = "held-out clips" if result["held_out"] else "clips (of those for training: there are no others)"
    lines = [f"PSNR {result['psnr']:.2f} dB, SSIM {result['ssim']:.4f} on {result['clips']} {which}"]
    for name in ("mean", "spread"):
        values = result[f"latent_{name}"]
        more = f" … ({len(values)} channels)" if len(values) > 16 else ""
        lines.append(f"latents' {name:>6}: {' '.join(f'{value:6.2f}' for value in values[:16])}{more}")
    if result["codes"]:
        lines.append(f"perplexity {result['perplexity']:.1f} of {result['codes']} codes")
        if warning := collapse(result["perplexity"], result["codes"]):
            lines.append(f"warning: {warning}")
    return "\n".join(lines)


@command("reconstruction", mendable=ValueError)
def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="run folder of `train.py autoencoder`")
    parser.add_argument("--data", type=Path, help="a manifest (default: the one that it was trained on)")
    parser.add_argument("--allow-outside", action="store_true", help="let the manifest name videos outside its folder")
    parser.add_argument("--clips", type=int, help="how many, at most (default: as many as training measured)")
    parser.add_argument("--device", help="cuda, mps or cpu")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if options.clips is not None and options.clips < 1:
        parser.error("--clips must be at least 1")

    device = check_device(options.device)
    print(f"{options.run}: an autoencoder of kind {read_config(options.run)['kind']}", file=sys.stderr)
    result = evaluate(options.run, options.data, options.clips, options.allow_outside, device)
    print(json.dumps(result, indent=2) if options.json else report(result))


if __name__ == "__main__":
    main()
