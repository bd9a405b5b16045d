"""What transformer blocks are made of besides attention: the feed-forward network, the embedding of t, modulation."""

from torch import Tensor, nn

from lite_sora.layers.attention import Attention, make_norm
from lite_sora.layers.patches import sincos
from lite_sora.layers.sequence import Mask

NORMS = ("layer", "rms")
MLPS = ("gelu", "gelu-tanh", "swiglu")


class FeedForward(nn.Module):
    """Two layers with a GELU between, or SwiGLU (2002.05202): three, one of which gates; of the same size in all."""

    def __init__(self, width: int, kind: str = "gelu", ratio: float = 4.0):
        super().__init__()
        self.gated = kind == "swiglu"
        hidden = int(width * ratio * 2 / 3) // 8 * 8 if self.gated else int(width * ratio)
        self.up = nn.Linear(width, 2 * hidden if self.gated else hidden)
        self.activation = nn.SiLU() if self.gated else nn.GELU("tanh" if kind == "gelu-tanh" else "none")
        self.down = nn.Linear(hidden, width)

    def forward(self, h: Tensor) -> Tensor:
        """h (B, N, D) → (B, N, D)."""
        if self.gated:
            gate, h = self.up(h).chunk(2, dim=-1)
            return self.down(self.activation(gate) * h)
        return self.down(self.activation(self.up(h)))


class Block(nn.Module):
    """A pre-norm transformer block, without conditioning."""

    def __init__(
        self, width: int, heads: int, mlp: str = "gelu", norm: str = "layer", qk_norm: bool = False, bias: bool = True
    ):
        super().__init__()
        self.norm1, self.attention = make_norm(norm, width, eps=1e-5), Attention(width, heads, qk_norm, norm, bias)
        self.norm2, self.mlp = make_norm(norm, width, eps=1e-5), FeedForward(width, mlp)

    def forward(self, h: Tensor, mask: Mask = None, rotation: Tensor | None = None) -> Tensor:
        """h (B, N, D) → (B, N, D); mask and rotation as in `Attention`."""
        h = h + self.attention(self.norm1(h), mask, rotation)
        return h + self.mlp(self.norm2(h))


class TimeEmbedding(nn.Module):
    """t (B,) → (B, D): sines and cosines of `scale` times t, then two layers, as in DiT (2212.09748)."""

    def __init__(self, width: int, scale: float = 1000.0, frequencies: int = 256):
        super().__init__()
        self.scale, self.frequencies = scale, frequencies
        self.mlp = nn.Sequential(nn.Linear(frequencies, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        return self.mlp(sincos(self.scale * t, self.frequencies).to(self.mlp[0].weight.dtype))
