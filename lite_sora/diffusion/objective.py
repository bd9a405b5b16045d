"""What a denoiser is trained on: a path, a prediction, a weighting and a time density, four independent choices.

The whole of rectified flow in five lines, of which every other objective is a variation:

    t, noise = torch.rand(len(x)), torch.randn_like(x)  # time density: uniform
    x_t = (1 - t) * x + t * noise                       # path: linear
    velocity = noise - x                                # prediction: velocity
    loss = (network(x_t, t) - velocity).square()        # weighting: none
    loss.mean().backward()

Paths are in `path.py`, predictions in `prediction.py`, weightings and time densities here; `presets.py` names published
combinations. `weighting.py` draws the curve over noise levels that the four choices amount to.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lite_sora.diffusion import prediction as predictions
from lite_sora.diffusion.frames import mean_of_unknown
from lite_sora.diffusion.path import PATHS, ProbabilityPath, along

Network = Callable[[Tensor, Tensor], Tensor]  # (x_t (B, ...), t (B,)) → output (B, ...)

# Weights of the squared error of the clean video, as a function of log-SNR (Kingma & Gao 2303.00848). "none" leaves the
# squared error of the network's own output as it is, "velocity" is what "none" amounts to for a velocity prediction.
WEIGHTINGS: dict[str, Callable[[Tensor], Tensor] | None] = {
    "none": None,
    "velocity": None,
    "snr": lambda log_snr: log_snr.exp(),  # = the noise prediction's plain loss
    "min-snr": lambda log_snr: log_snr.exp().clamp(max=5),  # gamma = 5, Hang et al. 2303.09556
    # Crowson et al. 2401.11605: gamma = 1 / sigma_data^2 = 4, as in the authors' k-diffusion
    "soft-min-snr": lambda log_snr: 1 / ((-log_snr).exp() + predictions.SIGMA_DATA**2),
    # The noise's error times sigmoid(2 - log-SNR), the shape of 2303.00848's "sigmoid". The paper's w(log-SNR) is the
    # whole weight: it divides by the density of log-SNR, which is left in here.
    "sigmoid": lambda log_snr: log_snr.exp() * torch.sigmoid(2 - log_snr),
    "edm": lambda log_snr: log_snr.exp() + 1 / predictions.SIGMA_DATA**2,  # 2206.00364: (s^2 + sd^2) / (s sd)^2
}
VELOCITY_WEIGHT_MAX = 400.0  # "velocity" would be infinite at t = 0; 2511.13720 stops at 1 / 0.05^2 on the linear path

MODE_SCALE = 1.29  # "mode": s of 2403.03206, eq. 20


def _normal_quantile(u: Tensor) -> Tensor:
    return math.sqrt(2) * torch.erfinv(2 * u - 1)


# Quantile functions, which map u, uniform on (0, 1), to t (2403.03206, section 3.1). t = 1 is noise.
TIME_DENSITIES: dict[str, Callable[[Tensor, ProbabilityPath], Tensor]] = {
    "uniform": lambda u, path: u,
    "logit-normal": lambda u, path: torch.sigmoid(_normal_quantile(u)),
    "jit": lambda u, path: torch.sigmoid(0.8 + 0.8 * _normal_quantile(u)),  # 2511.13720, in whose code t = 1 is data
    "mode": lambda u, path: 1 - u - MODE_SCALE * ((math.pi / 2 * u).cos() ** 2 - 1 + u),
    "cosmap": lambda u, path: 1 - 1 / ((math.pi / 2 * u).tan() + 1),
    # log(sigma / alpha) is normal, with P_mean = -1.2 and P_std = 1.2 of 2206.00364
    "edm": lambda u, path: path.time_at(-2 * (-1.2 + 1.2 * _normal_quantile(u))),
}


def shift_time(t: Tensor, shift: float) -> Tensor:
    """Moves times towards noise for shift > 1 (2403.03206, eq. 23): a video of many redundant pixels hides less at a
    given t than a small image does."""
    return shift * t / (1 + (shift - 1) * t)


def time_grid(steps: int, shift: float = 1.0) -> Tensor:
    """A sampler's times (steps + 1,), from 1 to 0, that are even before the shift towards noise."""
    return shift_time(torch.linspace(1, 0, steps + 1), shift)


@dataclass(frozen=True)
class Objective:
    """Four choices by name, and how far times are shifted towards noise. Raises ValueError for an unknown name."""

    path: str = "linear"
    prediction: str = "velocity"
    weighting: str = "none"
    time: str = "uniform"
    shift: float = 1.0

    def __post_init__(self):
        choices = {"path": PATHS, "prediction": predictions.ROWS, "weighting": WEIGHTINGS, "time": TIME_DENSITIES}
        for part, known in choices.items():
            if getattr(self, part) not in known:
                raise ValueError(f"{part} {getattr(self, part)!r} is not one of {', '.join(known)}")
        if self.shift <= 0:
            raise ValueError(f"shift {self.shift} is not above 0")

    def draw_times(self, u: Tensor) -> Tensor:
        """Times (B,) of the chosen density, from u (B,) uniform on [0, 1)."""
        t = TIME_DENSITIES[self.time](u.clamp(1e-6, 1 - 1e-6), PATHS[self.path])
        return shift_time(t, self.shift).clamp(predictions.T_MIN, predictions.T_MAX)

    def weight(self, t: Tensor) -> Tensor:
        """The weight (B,) of the squared error of the network's output at t (B,)."""
        path, t = PATHS[self.path], t.clamp(predictions.T_MIN, predictions.T_MAX)
        if self.weighting == "none":
            return torch.ones_like(t)
        if self.weighting == "velocity":
            of_x0 = predictions.error_ratio(path, "velocity", t).clamp(max=VELOCITY_WEIGHT_MAX)
        else:
            of_x0 = WEIGHTINGS[self.weighting](path.log_snr(t))
        return of_x0 / predictions.error_ratio(path, self.prediction, t)

    def noisy(self, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t (B, ...) from x and noise (B, ...) at t (B,)."""
        return PATHS[self.path].mix(x, noise, t.clamp(predictions.T_MIN, predictions.T_MAX))

    def loss(self, network: Network, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """weight(t) |output - target|^2, the mean of each video, (B,), for x and noise (B, C, T, H, W) at t (B,)."""
        return self.weighted_error(network(*self.network_input(self.noisy(x, noise, t), t)), x, noise, t)

    def weighted_error(self, output: Tensor, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """The loss of a network's output, (B,)."""
        error = output.float() - predictions.target(PATHS[self.path], self.prediction, x, noise, t)
        if t.dim() == 2:  # of each frame, (B, T)
            return mean_of_unknown(self.weight(t) * error.square().mean((1, 3, 4)), t)
        return self.weight(t) * error.square().flatten(1).mean(1)

    def x_and_noise(self, network: Network, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The network's estimate of the clean video and of the noise in x_t: all that a sampler needs."""
        output = network(*self.network_input(x_t, t)).float()
        return predictions.solve(PATHS[self.path], self.prediction, x_t, output, t)

    def network_input(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        t = t.clamp(predictions.T_MIN, predictions.T_MAX)
        scale = predictions.input_scale(PATHS[self.path], self.prediction, t)
        return (x_t if scale is None else along(scale, x_t) * x_t), t
