"""Time of a training step: tokens/s, FLOP/s and its share of this machine's measured matmul peak.

    python tests/benchmarks/train_step.py --sizes toy S --precisions fp32 bf16 --compile both

Everything is measured side by side in one run, and the command is printed with the table. FLOPs are model FLOPs
(a forward and a backward pass), counted by `lite_sora.compute.training_flops`.
"""

import argparse
import math
import shlex
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from lite_sora.autoencoders import load_autoencoder
from lite_sora.compute import matmul_flops, training_flops
from lite_sora.denoisers.dit import SIZES
from lite_sora.pipeline import TextToVideo, TextToVideoConfig, assemble
from lite_sora.processes import check_device
from lite_sora.text.encoder import build_tokenizer
from lite_sora.training.parallel import autocast, compile_blocks


def built(size: str, patch: list[int], frames: int, height: int, width: int) -> TextToVideo:
    """A DiT of a size, for pixels of this shape, with fresh weights."""
    config = TextToVideoConfig(
        denoiser_config={"patch": patch} | SIZES[size],
        text_width=SIZES[size]["width"],
        frames=frames,
        height=height,
        width=width,
    )
    tokenizer = build_tokenizer(["a red circle moving right"])
    return assemble(config, tokenizer, load_autoencoder(config.autoencoder))


def step_seconds(
    model, batch: int, words: int, precision: str, compiled: bool, steps: int, device: torch.device
) -> float:
    """The median time of an optimiser step, in seconds, after a warm-up of three."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    if compiled:
        compile_blocks(model)
    latents = torch.randn(batch, *model.latent_shape(), device=device)
    ids = torch.full((batch, words), 3, device=device)
    t, seconds = torch.rand(batch, device=device), []
    for _ in range(3 + steps):
        start = time.perf_counter()
        with autocast(device, precision):
            noise = torch.randn_like(latents)
            loss = model(latents=latents, noise=noise, t=t, captions=ids, signals={}).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()  # waits for the device
        seconds.append(time.perf_counter() - start)
    return sorted(seconds[3:])[steps // 2]


def main() -> None:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", default=["toy"], choices=list(SIZES))
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    parser.add_argument("--compile", default="both", choices=["no", "yes", "both"])
    parser.add_argument("--batch", type=int, help="clips (default: train.py's)")
    parser.add_argument("--video", type=int, nargs=3, help="frames, height, width (default: train.py's)")
    parser.add_argument("--patch", type=int, nargs=3, help="frames, height, width (default: train.py's)")
    parser.add_argument("--steps", type=int, default=10, help="timed steps; the median counts")
    parser.add_argument("--device")
    options = parser.parse_args()

    from lite_sora.training.denoiser import DenoiserSettings

    settings = DenoiserSettings()
    batch, patch = options.batch or settings.batch_size, options.patch or settings.patch
    frames, height, width = options.video or (settings.frames, settings.height, settings.width)
    device, words = torch.device(check_device(options.device)), 8
    matmul = {"fp32": torch.float32, "bf16": torch.bfloat16}
    size = 8192 if device.type == "cuda" else 1024
    peaks = {
        p: matmul_flops(matmul[p], size if p == "fp32" or device.type == "cuda" else 256, device)
        for p in options.precisions
    }

    print("python", shlex.join(sys.argv))
    threads = torch.get_num_threads()
    print(f"torch {torch.__version__}, {device}, {threads} threads, batch {batch}, {frames}×{height}×{width}")
    print("measured matmul peak:", ", ".join(f"{p} {peak / 1e9:,.0f} GFLOP/s" for p, peak in peaks.items()))
    print("| size | patch | precision | compiled | ms a step | clips/s | tokens/s | GFLOP/s | share of peak |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in options.sizes:
        for precision in options.precisions:
            for compiled in {"no": [False], "yes": [True], "both": [False, True]}[options.compile]:
                model = built(name, patch, frames, height, width).to(device)
                seconds = step_seconds(model, batch, words, precision, compiled, options.steps, device)
                flops = batch * training_flops(model, model.latent_shape(), words) / seconds
                tokens = (
                    batch * math.prod(n // p for n, p in zip((frames, height, width), patch, strict=True)) / seconds
                )
                print(
                    f"| {name} | {'×'.join(map(str, patch))} | {precision} | {'yes' if compiled else 'no'} "
                    f"| {seconds * 1e3:.1f} | {batch / seconds:.0f} | {tokens:.0f} | {flops / 1e9:.0f} "
                    f"| {flops / peaks[precision]:.0%} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
