"""Latents → codes: a codebook that follows the latents (EMA), and finite scalar quantisation (FSQ), without a codebook.

Both turn z (B, D, T, H, W) into codes (B, T, H, W), integers below `codes`, and back. Gradients pass through unchanged
(the straight-through estimator, 1308.3432).
"""

import math

import torch
from torch import Tensor, nn

COMMITMENT = 0.25  # the weight beta of 1711.00937, eq. 3


class EMACodebook(nn.Module):
    """VQ-VAE's codebook (1711.00937, appendix A.1) as in VideoGPT (2104.10157): each code is the moving average of the
    latents assigned to it, and a code with too few of them restarts at a random latent."""

    def __init__(self, codes: int, width: int, decay: float = 0.99):
        super().__init__()
        self.codes, self.decay = codes, decay
        self.register_buffer("vectors", torch.randn(codes, width))
        self.register_buffer("counts", torch.zeros(codes))  # latents assigned to each code, averaged over steps
        self.register_buffer("sums", self.vectors.clone())  # the sum of these latents

    def choose(self, z: Tensor) -> Tensor:
        """The nearest codes: z (B, D, T, H, W) → (B, T, H, W). Distances are computed in float32 also under autocast:
        bfloat16 has 8 significant bits, too few to tell neighbouring codes apart."""
        with torch.autocast(z.device.type, enabled=False):
            rows = z.float().movedim(1, -1).flatten(0, 3)  # (B * T * H * W, D)
            distances = rows.square().sum(1, keepdim=True) - 2 * rows @ self.vectors.T + self.vectors.square().sum(1)
        return distances.argmin(1).view(len(z), *z.shape[2:])

    def look_up(self, codes: Tensor) -> Tensor:
        """codes (B, T, H, W) → vectors (B, D, T, H, W)."""
        return self.vectors[codes].movedim(-1, 1)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """z → (codes' vectors, codes, each sample's commitment loss (B,)). The loss draws latents to their codes;
        `update` draws codes to their latents."""
        codes = self.choose(z)
        vectors = self.look_up(codes)
        commitment = COMMITMENT * (z - vectors).square().flatten(1).mean(1)
        return z + (vectors - z).detach(), codes, commitment

    @torch.no_grad()
    def start_from(self, z: Tensor, generator: torch.Generator) -> None:
        """Initialises the codes with random latents of z (N, D)."""
        self.vectors.copy_(self._some(z, generator))
        self.sums.copy_(self.vectors)
        self.counts.fill_(1)

    @torch.no_grad()
    def update(self, z: Tensor, codes: Tensor, generator: torch.Generator) -> None:
        """After a step, moves codes to their latents. z (N, D) and codes (N,) are those of all processes together."""
        counts = torch.bincount(codes, minlength=self.codes).to(self.counts)
        sums = torch.zeros_like(self.sums).index_add_(0, codes, z.to(self.sums))
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        total = self.counts.sum()
        smoothed = (self.counts + 1e-7) / (total + self.codes * 1e-7) * total
        unused = (self.counts < 1)[:, None]
        self.vectors.copy_(torch.where(unused, self._some(z, generator), self.sums / smoothed[:, None]))

    def _some(self, z: Tensor, generator: torch.Generator) -> Tensor:
        """One random latent per code. If there are fewer latents than codes, they are repeated with a little noise."""
        repeats = -(-self.codes // len(z))
        if repeats > 1:
            z = z.repeat(repeats, 1)
            z = z + torch.randn(z.shape, generator=generator).to(z) * 0.01 / math.sqrt(z.shape[1])
        return z[torch.randperm(len(z), generator=generator)[: self.codes].to(z.device)].to(self.vectors)


def check_levels(levels: list[int]) -> None:
    """Raises ValueError for levels that FSQ cannot have. With two in a channel the shift atanh(0.5 / half) is NaN."""
    if not levels or min(levels) < 3:
        raise ValueError(f"FSQ needs at least 3 levels in each channel, not {' '.join(map(str, levels)) or 'none'}")


class FSQ(nn.Module):
    """Finite scalar quantisation (2309.15505): each channel is bounded and rounded to one of a few levels, and a code
    is their combination. It has no weights, so it cannot collapse, and it needs no loss."""

    def __init__(self, levels: list[int]):
        super().__init__()
        check_levels(levels)
        self.codes = math.prod(levels)
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        self.register_buffer("basis", torch.tensor([1, *levels[:-1]]).cumprod(0), persistent=False)

    def _round(self, z: Tensor) -> Tensor:
        """z (..., D) → integers from -(L // 2) to (L - 1) // 2, float32, with z's gradient. Where L is even, z is
        shifted before tanh, so that z = 0 still maps to a level (the paper's appendix A.1)."""
        z = z.float()
        half = (self.levels - 1) * (1 - 1e-3) / 2
        offset = torch.where(self.levels % 2 == 0, 0.5, 0.0)
        bounded = (z + (offset / half).atanh()).tanh() * half - offset
        return bounded + (bounded.round() - bounded).detach()

    def choose(self, z: Tensor) -> Tensor:
        digits = self._round(z.movedim(1, -1)).round().long() + self.levels // 2  # 0 to L - 1
        return (digits * self.basis).sum(-1)

    def look_up(self, codes: Tensor) -> Tensor:
        """codes (B, T, H, W) → (B, D, T, H, W) in [-1, 1]."""
        digits = codes[..., None] // self.basis % self.levels
        return ((digits - self.levels // 2) / (self.levels // 2)).movedim(-1, 1)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """z → (levels in [-1, 1], codes, zeros (B,))."""
        rounded = self._round(z.movedim(1, -1)) / (self.levels // 2)
        return rounded.movedim(-1, 1), self.choose(z), z.new_zeros(len(z))


def perplexity(codes: Tensor, of: int) -> float:
    """How many codes are in use: e to the entropy of their frequencies, from 1 (collapsed) to `of` (uniform)."""
    counts = torch.bincount(codes.flatten(), minlength=of).cpu().double()
    return float(torch.special.entr(counts / counts.sum()).sum().exp())
