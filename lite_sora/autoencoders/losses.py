"""Reconstruction losses: by pixels, by perception, and by a discriminator.

All take videos (B, 3, T, H, W) in [-1, 1] and return (B,), one number per video.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PERCEPTUAL = ("gradient", "ssim", "lpips", "none")


def l1(video: Tensor, other: Tensor) -> Tensor:
    """Mean absolute error."""
    return (video - other).abs().flatten(1).mean(1)


def l2(video: Tensor, other: Tensor) -> Tensor:
    """Mean squared error."""
    return (video - other).square().flatten(1).mean(1)


def gradient(video: Tensor, other: Tensor, scales: int = 3) -> Tensor:
    """The mean absolute error of spatial gradients, at full, half and quarter size. A blurred edge costs little in
    pixels, but much here (after the gradient difference loss of 1511.05440)."""
    error, total = other - video, 0
    for _ in range(scales):
        total = total + error.diff(dim=3).abs().flatten(1).mean(1) + error.diff(dim=4).abs().flatten(1).mean(1)
        if min(error.shape[3:]) < 4:
            break
        error = F.avg_pool3d(error, (1, 2, 2))
    return total


def ssim(video: Tensor, other: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004), the mean over frames and colours: 1 for equal videos, about 0 for
    unrelated ones. The window is a Gaussian of 11 × 11 pixels and deviation 1.5, or smaller for smaller frames."""
    size = min(11, *(side - 1 + side % 2 for side in video.shape[3:]))
    window = torch.exp(-((torch.arange(size, device=video.device) - size // 2) ** 2) / (2 * 1.5**2))
    window = (window / window.sum())[:, None] * (window / window.sum())
    x, y = ((v.float() + 1) / 2 for v in (video, other))  # SSIM is defined on [0, 1]
    x, y = (v.flatten(0, 2)[:, None] for v in (x, y))  # (B * 3 * T, 1, H, W)

    def blur(picture: Tensor) -> Tensor:
        return F.conv2d(picture, window[None, None])

    mean_x, mean_y = blur(x), blur(y)
    variance_x, variance_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity = similarity / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2))
    return similarity.reshape(len(video), -1).mean(1)


class LPIPS(nn.Module):
    """Learned perceptual similarity (1801.03924), frame by frame. The lpips package downloads its weights."""

    def __init__(self):
        super().__init__()
        try:
            import lpips

            self.network = lpips.LPIPS(net="vgg", verbose=False).eval().requires_grad_(False)
        except (ImportError, RuntimeError, OSError) as error:  # no package, another torch, no network
            raise ValueError(
                "--perceptual lpips needs two packages, pip install lpips torchvision, and, the first time, a network "
                f"to fetch VGG's weights ({error})"
            ) from error

    def forward(self, video: Tensor, other: Tensor) -> Tensor:
        x, y = (v.transpose(1, 2).flatten(0, 1) for v in (video, other))  # (B * T, 3, H, W)
        return self.network(x, y).reshape(len(video), -1).mean(1)


def make_perceptual(kind: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The perceptual loss by its name in `PERCEPTUAL`. Raises ValueError if a package is missing."""
    if kind == "lpips":
        return LPIPS()
    return {
        "gradient": gradient,
        "ssim": lambda video, other: 1 - ssim(video, other),
        "none": lambda video, other: video.new_zeros(len(video)),
    }[kind]


def psnr(video: Tensor, other: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, (B,), of each video as a whole; values out of range are clipped."""
    return 10 * torch.log10(4 / l2(video.clamp(-1, 1), other.clamp(-1, 1)).clamp(min=1e-10))


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's hinge loss (1705.02894): logits of real videos above 1, of reconstructions below -1."""
    return (F.relu(1 - real).flatten(1).mean(1) + F.relu(1 + fake).flatten(1).mean(1)) / 2


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, weight: Tensor) -> Tensor:
    """The factor of the adversarial loss for which both losses have gradients of equal norm at the last layer's weight
    (VQGAN, 2012.09841, eq. 7); two losses (scalars) → a scalar without a gradient."""
    (one,) = torch.autograd.grad(reconstruction, weight, retain_graph=True)
    (other,) = torch.autograd.grad(adversarial, weight, retain_graph=True)
    return (one.norm() / (other.norm() + 1e-4)).clamp(max=1e4).detach()
