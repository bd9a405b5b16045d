"""An error that is the same for all objectives: how far is a model's estimate of the clean video from the true one?

Losses of different objectives cannot be compared: each weighs times and predictions in its own way. But any model
estimates the clean video at a given log-SNR, whatever its path and prediction. This module measures the mean squared
error of that estimate at fixed noise levels, with fixed noise, on clips that training has not seen.
"""

from pathlib import Path

import torch

from lite_sora.data.clip import read_manifest
from lite_sora.data.loading import batches, to_model_range
from lite_sora.data.windows import VideoDataset
from lite_sora.diffusion.path import PATHS
from lite_sora.pipeline import TextToVideo
from lite_sora.seeds import normal

LOG_SNRS = (4.0, 2.0, 0.0, -2.0, -4.0, -6.0)  # log(alpha^2 / sigma^2), from hardly any noise to nearly nothing else


@torch.no_grad()
def x0_error(model: TextToVideo, manifest: Path, clips: int = 32) -> list[float]:
    """The mean squared error of the clean latents (of videos in [-1, 1]) at each of `LOG_SNRS` conditioned on
    their captions.

    The clips are the first that are not for training ("split"), or else the first of all.
    """
    rows = list(read_manifest(manifest, model.config.training.get("allow_outside", False)))
    unseen = [clip for clip in rows if not clip.for_training] or rows
    config = model.config
    size = config.frames, config.height, config.width, config.fps
    dataset = VideoDataset(unseen[:clips], manifest.parent, *size, signals=config.signals)
    batch = next(iter(batches(dataset, [[(index, index) for index in range(len(dataset))]], workers=0)))
    x = model.autoencoder.encode(to_model_range(batch.video.to(model.device)))  # (B, C, T, H, W)
    noise = normal(batch.seeds, x.shape[1:]).to(model.device)
    denoise = model.denoiser_for(batch.captions, batch.signals)
    path, errors = PATHS[model.objective.path], []
    for log_snr in LOG_SNRS:
        t = path.time_at(torch.full((len(x),), log_snr)).to(model.device)
        estimate, _ = denoise(model.objective.noisy(x, noise, t), t)
        errors.append((estimate - x).square().mean().item())
    return errors
