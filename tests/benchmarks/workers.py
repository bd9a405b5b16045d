"""Do workers keep a device busy? Clips/s that --workers decode, and clips/s that models take. Prints two tables.

    python tests/benchmarks/workers.py

Clips are windows of 16 frames at random times of 640 × 360 videos at 24 frames a second, scaled to 256 × 256, as
training decodes them where they do not fit in memory. A model takes so many clips/s as its training FLOPs go into the
device's: here a third of the measured peak, on a GPU 40 % of its bf16 peak by the datasheet.
"""

import argparse
import os
import shlex
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from read_video import scene
from train_step import built

from lite_sora.compute import GPU_PEAKS, matmul_flops, training_flops
from lite_sora.data.clip import Clip
from lite_sora.data.loading import TrainingOrder, batches
from lite_sora.data.video import write_video
from lite_sora.data.windows import VideoDataset

BATCH, FRAMES, SIDE = 8, 16, 256
MODELS = {  # (size, patch, frames, side); latents of a 4 × 8 × 8 autoencoder are cached, and so cost no decoding
    "the default: toy, 8 × 32 × 32 pixels": ("toy", (2, 8, 8), 8, 32),
    "DiT-B, 16 × 256 × 256 pixels, patches of 2 × 16 × 16": ("B", (2, 16, 16), FRAMES, SIDE),
}


def decoded(folder: Path, videos: int, workers: int, count: int) -> float:
    """Clips/s of some batches, after those that workers decode ahead while they start, two each."""
    clips = [Clip(f"{number}", f"{number}.mp4", "a pan") for number in range(videos)]
    ahead, dataset = 1 + 2 * workers, VideoDataset(clips, folder, FRAMES, SIDE, SIDE, fps=24)
    found = iter(batches(dataset, TrainingOrder(len(clips), BATCH, 0, 0, count + ahead), workers))
    for _ in range(ahead):
        next(found)
    start = time.perf_counter()
    clips = sum(len(batch) for batch in islice(found, count))
    return clips / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--batches", type=int, default=30)
    options = parser.parse_args()
    print("python", shlex.join(sys.argv), f"   ({os.cpu_count()} cores)")
    print("\n| workers | clips/s decoded |\n|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frames = scene(360, 640, 5, 24)
        for number in range(16):
            write_video(folder / f"{number}.mp4", frames, 24, quality=23)
        for workers in options.workers:
            print(f"| {workers} | {decoded(folder, 16, workers, options.batches):.1f} |", flush=True)

    peak = matmul_flops(torch.float32)
    print(f"\n| model | clips/s here, at a third of {peak / 1e9:.0f} GFLOP/s | on an H100, at 40 % of its peak |")
    print("|---|---|---|")
    for model, (size, patch, frames, side) in MODELS.items():
        denoiser = built(size, patch, frames, side, side)
        flops = training_flops(denoiser, denoiser.latent_shape(), words=8)
        print(f"| {model} | {peak / 3 / flops:.2f} | {0.4 * GPU_PEAKS['H100'] / flops:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
