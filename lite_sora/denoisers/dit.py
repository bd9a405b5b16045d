"""DiT, the diffusion transformer (Peebles & Xie, 2212.09748), over patches in space and time.

A video is cut into patches of pt frames × ph × pw pixels; each is one token; every token attends to every other. The
network is told the time t and the caption, and `conditioning` says how, with the paper's four ways and a fifth:

| conditioning    | t and the pooled caption …                                                                      |
|-----------------|--------------------------------------------------------------------------------------------------|
| in-context      | stand in the sequence as two more tokens                                                         |
| cross-attention | are read by a cross-attention in each block                                                      |
| adaln           | set the scale and shift after each norm                                                          |
| adaln-zero      | and also a gate before each residual, which starts at zero: at first every block is the identity |
| mm-dit          | as adaln-zero, while the words have weights of their own (`mmdit.py`)                            |

A caption is more than a class label, so its words are there one by one as well: in the sequence beside the patches, or
read by cross-attention (PixArt-alpha 2310.00426), or not at all, as `words` says.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lite_sora.denoisers.mmdit import JointBlock
from lite_sora.denoisers.transformer import TransformerConfig, VideoTransformer
from lite_sora.layers.blocks import Attention, CrossAttention, FeedForward, TimeEmbedding, make_norm, modulate
from lite_sora.text.encoder import Text

SIZES = {  # name: (width, depth, heads); S to XL as in table 1 of 2212.09748
    "toy": (128, 4, 4),
    "S": (384, 12, 6),
    "B": (768, 12, 12),
    "L": (1024, 24, 16),
    "XL": (1152, 28, 16),
}
CONDITIONINGS = ("in-context", "cross-attention", "adaln", "adaln-zero", "mm-dit")
WORDS = ("sequence", "cross-attention", "none")
ATTENTIONS = ("full", "factorised")


@dataclass
class DiTConfig(TransformerConfig):
    conditioning: str = "adaln-zero"
    words: str = "sequence"
    attention: str = "full"  # or factorised: blocks attend within space and within time in turn (Latte 2401.03048)
    shared_adaln: bool = False  # one modulation for all blocks, and a table in each (adaLN-single, 2310.00426)

    def __post_init__(self):
        super().__post_init__()
        if self.classes:
            self.words = "none"  # a class has none
        self.check("conditioning", CONDITIONINGS)
        self.check("words", WORDS)
        self.check("attention", ATTENTIONS)
        if self.conditioning == "mm-dit" and self.words != "sequence":
            raise ValueError(f"mm-dit is a sequence of words beside the patches; words {self.words!r} do not fit it")
        if self.shared_adaln and self.conditioning not in ("adaln", "adaln-zero"):
            raise ValueError(f"conditioning {self.conditioning!r} has no adaLN that blocks could share")
        if self.attention == "factorised" and (self.conditioning == "in-context" or self.words == "sequence"):
            raise ValueError(
                "attention within a frame or a place has no room for tokens that belong to neither: with factorised "
                "attention choose words cross-attention (or none), and a conditioning that puts nothing in the sequence"
            )

    @property
    def parts(self) -> int:
        """How many vectors of the width a block's modulation gives."""
        return {"adaln": 4, "adaln-zero": 6, "mm-dit": 6}.get(self.conditioning, 0)


@dataclass
class Surroundings:
    """What a block is given beside its tokens."""

    condition: Tensor  # (B, D): t and the pooled caption; or (B, parts * D), the modulation that blocks share
    context: Tensor | None  # (B, L, D) for cross-attention
    context_mask: Tensor | None  # (B, L)
    mask: Tensor | None  # (B, N) for attention
    rotation: Tensor | None  # (N, D / heads)
    grid: tuple[int, int, int]  # (T', H', W')


class DiTBlock(nn.Module):
    """Attention, where there is a context cross-attention, and feed-forward."""

    def __init__(self, config: DiTConfig, within: str | None = None):
        super().__init__()
        width, parts = config.width, config.parts
        # Adaptive norms have no weights of their own: the condition's scale and shift take their place.
        self.norm1 = make_norm(config.norm, width, affine=not parts)
        self.attention = Attention(width, config.heads, config.qk_norm, config.norm, within=within)
        self.norm2 = make_norm(config.norm, width, affine=not parts)
        self.mlp = FeedForward(width, config.mlp)
        if "cross-attention" in (config.conditioning, config.words):
            self.norm_cross = make_norm(config.norm, width)
            self.cross = CrossAttention(width, config.heads)
        if config.shared_adaln:
            self.modulation_table = nn.Parameter(torch.zeros(parts * width))
        elif parts:
            self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, parts * width))
        self.parts, self.shared = parts, config.shared_adaln

    def forward(self, h: Tensor, given: Surroundings) -> Tensor:
        """h (B, N, D) → (B, N, D)."""
        if not self.parts:
            h = h + self.attention(self.norm1(h), given.mask, given.rotation, given.grid)
            h = self.read(h, given)
            return h + self.mlp(self.norm2(h))
        values = given.condition + self.modulation_table if self.shared else self.modulation(given.condition)
        shift1, scale1, shift2, scale2, *gates = values[:, None].chunk(self.parts, dim=-1)  # each (B, 1, D)
        gate1, gate2 = gates or (torch.ones_like(scale1), torch.ones_like(scale1))
        inner = self.attention(modulate(self.norm1(h), shift1, scale1), given.mask, given.rotation, given.grid)
        h = self.read(torch.addcmul(h, gate1, inner), given)
        return torch.addcmul(h, gate2, self.mlp(modulate(self.norm2(h), shift2, scale2)))

    def read(self, h: Tensor, given: Surroundings) -> Tensor:
        if not hasattr(self, "cross"):
            return h
        return h + self.cross(self.norm_cross(h), given.context, given.context_mask)


class DiT(VideoTransformer):
    def __init__(self, config: DiTConfig):
        super().__init__(config)
        width, depth = config.width, config.depth
        if config.classes:
            self.embed_class = nn.Embedding(config.classes, width)
        else:
            self.embed_pooled = nn.Linear(config.text_width, width)
            if config.words != "none":
                self.embed_text = nn.Linear(config.text_width, width)
        self.embed_time = TimeEmbedding(width, config.time_scale)
        if config.conditioning == "mm-dit":
            blocks = [JointBlock(config, last=number == depth - 1) for number in range(depth)]
        elif config.attention == "factorised":
            blocks = [DiTBlock(config, within=("space", "time")[number % 2]) for number in range(depth)]
        else:
            blocks = [DiTBlock(config) for _ in range(depth)]
        self.blocks = nn.ModuleList(blocks)
        if config.shared_adaln:
            self.shared_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, config.parts * width))
        self.norm = make_norm(config.norm, width, affine=not config.parts)
        if config.parts:
            self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.initialize_weights()

    def initialize_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for layer in (self.embed_time.mlp[0], self.embed_time.mlp[2]):
            nn.init.normal_(layer.weight, std=0.02)
        if self.config.classes:
            nn.init.normal_(self.embed_class.weight, std=0.02)
        # adaLN-zero: all gates, shifts and scales start at 0, and so does what cross-attention adds: each block starts
        # as the identity ...
        if self.config.parts == 6:
            for name, module in self.named_modules():
                if name.endswith(("modulation.1", "words_modulation.1", "cross.out")):
                    nn.init.zeros_(module.weight)
        # ... and the network starts by saying 0.
        nn.init.zeros_(self.out.weight)

    def transform(self, h: Tensor, t: Tensor, condition: Text | Tensor | None, grid: tuple[int, int, int]) -> Tensor:
        config, patches = self.config, h.shape[1]
        vectors = [self.embed_time(t)]  # each (B, D)
        vectors.append(self.embed_class(condition) if config.classes else self.embed_pooled(condition.pooled))
        vector = sum(vectors)

        # what stands beside the patches in the sequence, and what cross-attention reads: (tokens, mask) each
        beside, context = [], []
        if config.words != "none":
            words, words_mask = self.embed_text(condition.tokens), condition.mask  # (B, L, D), (B, L)
            (context if config.words == "cross-attention" else beside).append((words, words_mask))
        if config.conditioning in ("in-context", "cross-attention"):
            pair = torch.stack(vectors, dim=1)  # (B, 2, D)
            everywhere = torch.ones(pair.shape[:2], dtype=torch.bool, device=h.device)
            (beside if config.conditioning == "in-context" else context).append((pair, everywhere))

        if config.conditioning == "mm-dit":
            rotation = self.rotation_of(grid, 0, h.device)
            for block in self.blocks:
                h, words = block(h, words, words_mask, vector, rotation)
        else:
            mask, others = None, 0
            if beside:
                tokens, mask = join(beside)
                others = tokens.shape[1]
                h = torch.cat([h, tokens], dim=1)  # (B, N + others, D)
                mask = torch.cat([mask.new_ones(len(h), patches), mask], dim=1)
            shared = self.shared_modulation(vector) if config.shared_adaln else vector
            rotation = self.rotation_of(grid, others, h.device)
            given = Surroundings(shared, *(join(context) if context else (None, None)), mask, rotation, grid)
            for block in self.blocks:
                h = block(h, given)
        h = self.norm(h[:, :patches])
        if config.parts:
            h = modulate(h, *self.modulation(vector)[:, None].chunk(2, dim=-1))
        return h


def join(parts: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """(tokens (B, L, D), mask (B, L)) of several, one after the other."""
    tokens, masks = zip(*parts, strict=True)
    return torch.cat(tokens, dim=1), torch.cat(masks, dim=1)
