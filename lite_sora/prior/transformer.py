"""VideoGPT's prior (2104.10157, section 3.2): a causal transformer that says how likely each code is, given the caption
and the codes before it, in raster order of time, height and width.

The caption's words stand before the codes: they see one another, and codes see them and the codes before (a prefix,
1910.10683, figure 4). So a caption is read by the same attention as the codes, without a layer of its own, and like
theirs its keys and values are computed once and then remembered. VideoGPT has a class or first frames instead.

A token at place k is the code of place k - 1, and its position is that of k: of what it is to predict.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lite_sora.layers.attention import attend
from lite_sora.layers.blocks import Block
from lite_sora.layers.patches import positions_3d, rotations_3d
from lite_sora.text.encoder import Text


@dataclass
class CodeTransformerConfig:
    codes: int = 256  # how many different ones there are
    width: int = 128
    depth: int = 4
    heads: int = 4
    text_width: int = 128
    dropout: float = 0.0  # of what each block adds


@dataclass
class Memory:
    """The KV-cache: keys and values, each (B, heads, tokens, D / heads), of the tokens so far in each block."""

    words: Tensor  # (B, L), true where there is a word; after the words, all tokens are codes
    past: list[tuple[Tensor, Tensor] | None]

    @property
    def codes(self) -> int:
        """How many codes' places have been seen."""
        return self.past[0][0].shape[2] - self.words.shape[1]


class CausalBlock(Block):
    """A transformer block whose tokens also attend to those remembered from before."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__(width, heads, qk_norm=True)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, h: Tensor, mask: Tensor, rotation: Tensor | None, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """h (B, n, D), mask (B, 1, n, before + n), rotation (n, D / heads), None for words → h (B, n, D), and the keys
        and values of all before + n tokens."""
        q, k, v = self.attention.project(self.norm1(h), rotation)
        if past:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        read = attend(q, k, v, mask)  # (B, n, D)
        h = h + self.dropout(self.attention.out(read))
        return h + self.dropout(self.mlp(self.norm2(h))), (k, v)


class CodeTransformer(nn.Module):
    def __init__(self, config: CodeTransformerConfig):
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.codes + 1, config.width)  # the last one: before the first code
        self.embed_text = nn.Linear(config.text_width, config.width)
        self.blocks = nn.ModuleList(
            CausalBlock(config.width, config.heads, config.dropout) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width)
        self.out = nn.Linear(config.width, config.codes)
        self.initialize_weights()

    def initialize_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.zeros_(self.out.weight)  # at first, all codes are as likely

    def forward(self, codes: Tensor, text: Text) -> Tensor:
        """Logits (B, N, codes) of each of the N codes (B, T', H', W'), given the text and the codes before."""
        before = codes.flatten(1)[:, :-1]  # (B, N - 1)
        return self.advance(self.read(text), before, tuple(codes.shape[1:]), start=True)

    def on_tokens(self) -> list[nn.Module]:
        """The layers that every token passes through, and that Muon trains."""
        return [self.blocks]

    def read(self, text: Text) -> Memory:
        """What is remembered of B captions."""
        memory = Memory(text.mask, [None] * len(self.blocks))
        self._through_blocks(self.embed_text(text.tokens), text.mask[:, None, None, :], None, memory)
        return memory

    def advance(self, memory: Memory, codes: Tensor, grid: tuple[int, int, int], start: bool = False) -> Tensor:
        """Logits (B, n, codes) of what comes after each of n further codes (B, n); with `start`, also of the first
        code of all. The memory then holds them too. grid: (T', H', W') of all codes."""
        if start:
            codes = F.pad(codes, (1, 0), value=self.config.codes)
        (b, n), first = codes.shape, memory.codes
        places = slice(first, first + n)
        width = self.config.width
        h = self.embed(codes) + positions_3d(grid, width, codes.device)[places]  # (B, n, D)
        rotation = rotations_3d(grid, width // self.config.heads, device=codes.device)[places]
        causal = torch.ones(n, first + n, dtype=torch.bool, device=codes.device).tril(first)
        mask = torch.cat([memory.words[:, None, :].expand(b, n, -1), causal.expand(b, -1, -1)], dim=2)
        h = self._through_blocks(h, mask[:, None], rotation, memory)
        return self.out(self.norm(h))

    def _through_blocks(self, h: Tensor, mask: Tensor, rotation: Tensor | None, memory: Memory) -> Tensor:
        for index, block in enumerate(self.blocks):
            h, memory.past[index] = block(h, mask, rotation, memory.past[index])
        return h
