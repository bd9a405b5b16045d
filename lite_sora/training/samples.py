"""Grids of samples of a text-to-video model in training, as PNG and GIF."""

import math
from pathlib import Path

import numpy as np

from lite_sora.data.clip import Clip
from lite_sora.data.loading import to_frames
from lite_sora.data.preview import mosaic, sheet
from lite_sora.data.video import write_gif
from lite_sora.data.windows import VideoDataset
from lite_sora.training.metrics import Metrics


def save_samples(folder: Path, step: int, model, average, real: VideoDataset, metrics: Metrics) -> None:
    """Grids (prompt × frames) and GIFs from fixed prompts and seeds: of the raw weights, and of their average. Where
    training overfits a few clips, each real clip is drawn above its reproduction."""
    prompts, originals = sample_prompts(real.clips), None
    if real.fixed:
        shown = [real[index, 0] for index in range(min(8, len(real)))]
        originals, prompts = [item.video for item in shown], [item.caption for item in shown]
    samples = folder / "samples"
    samples.mkdir(exist_ok=True)
    for name, network in (("raw", model), ("ema", average)):
        network.eval()
        rows, labels = list(to_frames(network.generate(list(prompts), seeds=list(range(len(prompts)))))), prompts
        if originals:
            rows, labels = with_originals(originals, rows, prompts)
        picture = sheet(rows, labels)
        picture.save(samples / f"{step:06d}-{name}.png")
        metrics.picture(f"samples/{name}", picture, step)
        write_gif(samples / f"{step:06d}-{name}.gif", mosaic(rows, labels), network.config.fps)


def with_originals(
    real: list[np.ndarray], made: list[np.ndarray], prompts: list[str]
) -> tuple[list[np.ndarray], list[str]]:
    """Rows of a grid, and their labels: each real clip above what was generated for its caption, with their PSNR, the
    peak signal-to-noise ratio 10 log10(255² / mean squared error): over 30 dB they look alike, under 15 they do not."""
    rows, labels = [], []
    for truth, video, prompt in zip(real, made, prompts, strict=True):
        error = np.square(truth.astype(float) - video).mean()
        rows += [truth, video]
        labels += [f"real: {prompt}", f"generated, {10 * math.log10(255**2 / max(error, 1e-9)):.1f} dB: {prompt}"]
    return rows, labels


def sample_prompts(clips: list[Clip], count: int = 8) -> list[str]:
    """The same few captions of a dataset each time, spread over it."""
    captions = sorted({clip.caption for clip in clips if clip.caption.strip()})
    return captions[:: max(1, len(captions) // count)][:count]
