"""What a denoiser's output means: y = a(t) * x + b(t) * noise. With x_t = alpha x + sigma noise this is a 2×2 system,

    [x_t]   [alpha sigma] [x    ]
    [ y ] = [  a     b  ] [noise]

so one solve turns any output into the clean video and the noise. `ROWS` is the table of (a, b):

| prediction | a      | b       | used by                                             |
|------------|--------|---------|-----------------------------------------------------|
| x0         | 1      | 0       | Back to Basics (JiT) 2511.13720                     |
| noise      | 0      | 1       | DDPM 2006.11239, DiT, U-ViT                         |
| v          | -sigma | alpha   | Salimans & Ho 2202.00512 (the sign is chosen so that v points to noise) |
| velocity   | alpha' | sigma'  | flow matching 2210.02747, rectified flow, SiT, SD3  |
| score      | 0      | -1/sigma | score SDE 2011.13456                               |
| edm        | sigma / (0.5 r) | -0.5 alpha / r, r = sqrt(sigma^2 + 0.25 alpha^2) | EDM 2206.00364, table 1 |

EDM's network F is defined by D = c_skip x_in + c_out F, with x_in = x_t / alpha at noise level s = sigma / alpha and
sigma_data = 0.5; solving for F gives its row. Its c_in is `input_scale`, every other prediction's is 1.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lite_sora.diffusion.path import ProbabilityPath, along

Denoiser = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # (x_t (B, ...), t (B,)) → clean video, noise (B, ...)
SIGMA_DATA = 0.5  # EDM's assumed spread of the data
# The determinant alpha b - sigma a is 0 for x0 at t = 0, for noise and score at t = 1. So networks are evaluated at
# times clamped to [T_MIN, T_MAX], in training and in sampling.
T_MIN, T_MAX = 1e-3, 1 - 1e-3


def _edm(alpha, sigma, alpha_dot, sigma_dot):
    norm = (sigma**2 + SIGMA_DATA**2 * alpha**2).sqrt()
    return sigma / (SIGMA_DATA * norm), -SIGMA_DATA * alpha / norm


ROWS = {  # (alpha, sigma, alpha', sigma') → (a, b)
    "x0": lambda alpha, sigma, alpha_dot, sigma_dot: (torch.ones_like(alpha), torch.zeros_like(alpha)),
    "noise": lambda alpha, sigma, alpha_dot, sigma_dot: (torch.zeros_like(alpha), torch.ones_like(alpha)),
    "v": lambda alpha, sigma, alpha_dot, sigma_dot: (-sigma, alpha),
    "velocity": lambda alpha, sigma, alpha_dot, sigma_dot: (alpha_dot, sigma_dot),
    "score": lambda alpha, sigma, alpha_dot, sigma_dot: (torch.zeros_like(alpha), -1 / sigma),
    "edm": _edm,
}


def matrix(path: ProbabilityPath, prediction: str, t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """alpha, sigma, a, b at t (B,), clamped to [T_MIN, T_MAX]; float32, each (B,)."""
    alpha, sigma, *slopes = path.coefficients(t.clamp(T_MIN, T_MAX))
    return alpha, sigma, *ROWS[prediction](alpha, sigma, *slopes)


def target(path: ProbabilityPath, prediction: str, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """The output that the network should have: a x + b noise, for x and noise (B, ...) at t (B,)."""
    _, _, a, b = matrix(path, prediction, t)
    return along(a, x) * x + along(b, x) * noise


def solve(path: ProbabilityPath, prediction: str, x_t: Tensor, y: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """The clean video and the noise, both (B, ...), from x_t and the network's output y at t (B,)."""
    alpha, sigma, a, b = (along(value, x_t) for value in matrix(path, prediction, t))
    determinant = alpha * b - sigma * a
    return (b * x_t - sigma * y) / determinant, (alpha * y - a * x_t) / determinant


def error_ratio(path: ProbabilityPath, prediction: str, t: Tensor) -> Tensor:
    """|error of the output|^2 / |error of the clean video|^2, (B,), at t (B,)."""
    alpha, sigma, a, b = matrix(path, prediction, t)
    return ((alpha * b - sigma * a) / sigma) ** 2  # solve's determinant, over the factor of y


def input_scale(path: ProbabilityPath, prediction: str, t: Tensor) -> Tensor | None:
    """The factor of x_t in the network's input, (B,); None for 1. EDM's c_in / alpha."""
    if prediction != "edm":
        return None
    alpha, sigma = path.alpha_sigma(t.clamp(T_MIN, T_MAX))
    return 1 / (sigma**2 + SIGMA_DATA**2 * alpha**2).sqrt()
