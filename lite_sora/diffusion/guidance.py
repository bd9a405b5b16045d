"""Guidance: sampling from what two prompts say, further in the direction of one than the other."""

from torch import Tensor

from lite_sora.diffusion.path import ProbabilityPath, along
from lite_sora.diffusion.prediction import Denoiser


def guided(
    denoise: Denoiser,
    denoise_negative: Denoiser,
    scale: float,
    interval: tuple[float, float] = (0.0, 1.0),
    rescale: float = 0.0,
    path: ProbabilityPath | None = None,
) -> Denoiser:
    """Classifier-free guidance (2207.12598): away from what the negative (by default the empty) prompt gives.

    interval: the times at which to guide, ends included; at others the prompt alone is followed, and the negative one
        costs nothing (2404.07724, whose interval is of noise levels).
    rescale: phi of 2305.08891, section 3.4, in [0, 1]: how far the guided video is scaled back to the spread of the
        unguided one. The paper scales the network's output; here it is the clean video, which is the same thing under
        every prediction, and the noise follows from it on the `path`, which is needed for this alone.
    """
    if scale == 1:
        return denoise
    if rescale and path is None:
        raise ValueError("guidance that is rescaled needs the path")

    def both(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        x0, noise = denoise(x, t)
        if not interval[0] <= float(t[0]) <= interval[1]:
            return x0, noise
        x0_negative, noise_negative = denoise_negative(x, t)
        guided_x0 = x0_negative + scale * (x0 - x0_negative)
        if not rescale:
            return guided_x0, noise_negative + scale * (noise - noise_negative)
        ratio = x0.flatten(1).std(1) / guided_x0.flatten(1).std(1)  # (B,), eq. 14
        guided_x0 = along(rescale * ratio + 1 - rescale, x) * guided_x0  # eqs. 15 and 16
        alpha, sigma = (along(value, x) for value in path.alpha_sigma(t))
        return guided_x0, (x - alpha * guided_x0) / sigma

    return both
