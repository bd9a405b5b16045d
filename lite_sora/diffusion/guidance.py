"""Guidance: from the estimates for two prompts, one further in the direction of the first. Read `both`."""

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
    """Classifier-free guidance (2207.12598): away from the estimate for the negative (by default the empty) prompt.

    interval: the times with guidance, ends included (2404.07724); at others the negative is not evaluated.
    rescale: phi of 2305.08891, section 3.4, in [0, 1]: how far the guided video is scaled back to the spread of the
        unguided one. The paper scales the network's output. Here it is the clean video, so that every prediction gives
        the same result, and the noise follows from it on the `path`; ValueError without one.
    """
    if scale == 1:
        return denoise
    if rescale and path is None:
        raise ValueError("guidance that is rescaled needs the path")

    def both(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        x0, noise = denoise(x, t)
        if interval != (0.0, 1.0) and not interval[0] <= float(t.max()) <= interval[1]:
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
