"""Grids of samples of a text-to-video model in training, and of real clips, as PNG and GIF."""

import math
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from lite_sora.data.clip import Clip
from lite_sora.data.loading import to_frames
from lite_sora.data.preview import mosaic, sheet
from lite_sora.data.video import write_gif
from lite_sora.data.windows import VideoDataset
from lite_sora.storage.sharded import is_shared_out
from lite_sora.training.metrics import Metrics


def save_samples(folder: Path, step: int, model, average, real: VideoDataset, metrics: Metrics) -> None:
    """Grids (prompt × frames) and GIFs from fixed prompts and seeds: of the raw weights, of their average, and, once,
    of real clips with these captions. Where training overfits a few clips, each real clip is drawn above its
    reproduction instead."""
    (folder / "samples").mkdir(exist_ok=True)
    if real.fixed:
        shown = [real[index, 0] for index in range(min(8, len(real)))]
        originals, prompts = [item.video for item in shown], [item.caption for item in shown]
    else:
        prompts = sample_prompts(real.clips)
        if not (folder / "samples" / "real.gif").exists():
            first = {clip.caption: index for index, clip in reversed(list(enumerate(real.clips)))}  # the first of each
            save_grid(
                folder / "samples" / "real", [real[first[prompt], 0].video for prompt in prompts], prompts, real.fps
            )
    networks = {"raw": model, "ema": average}
    if is_shared_out(next(model.parameters())):  # this process has a part of its weights alone
        del networks["raw"]
    for name, network in networks.items():
        network.eval()
        made = list(to_frames(network.generate(list(prompts), seeds=list(range(len(prompts))))))
        rows, labels = with_originals(originals, made, prompts) if real.fixed else (made, prompts)
        picture = save_grid(folder / "samples" / f"{step:06d}-{name}", rows, labels, real.fps)
        metrics.picture(f"samples/{name}", picture, step)
    if real.fixed:  # of the average, which is the model that is saved
        told = ", ".join(f"{psnr(truth, video):.1f} dB" for truth, video in zip(originals, made, strict=True))
        tqdm.write(f"step {step}: generated beside real, PSNR {told}")


def save_grid(path: Path, videos: list[np.ndarray], labels: list[str], fps: float) -> Image.Image:
    """Writes PATH.png, which has a video each row and a frame each column, and PATH.gif, in which the videos play."""
    picture = sheet(videos, labels)
    picture.save(path.with_suffix(".png"))
    write_gif(path.with_suffix(".gif"), mosaic(videos, labels), fps)
    return picture


def psnr(real: np.ndarray, made: np.ndarray) -> float:
    """The peak signal-to-noise ratio of uint8 frames, 10 log10(255² / mean squared error), in dB: over 30 they look
    alike, under 15 they do not."""
    return 10 * math.log10(255**2 / max(np.square(real.astype(float) - made).mean(), 1e-9))


def with_originals(
    real: list[np.ndarray], made: list[np.ndarray], prompts: list[str]
) -> tuple[list[np.ndarray], list[str]]:
    """Rows of a grid, and their labels: each real clip above what was generated for its caption, with their PSNR."""
    rows, labels = [], []
    for truth, video, prompt in zip(real, made, prompts, strict=True):
        rows += [truth, video]
        labels += [f"real: {prompt}", f"generated, {psnr(truth, video):.1f} dB: {prompt}"]
    return rows, labels


def sample_prompts(clips: list[Clip], count: int = 8) -> list[str]:
    """The same few captions of a dataset each time, spread over it."""
    captions = sorted({clip.caption for clip in clips if clip.caption.strip()})
    count = min(count, len(captions))
    return [captions[index * len(captions) // count] for index in range(count)]
