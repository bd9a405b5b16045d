"""Captions → tokens → embeddings: a small word-level encoder that is trained along with the denoiser. (`pretrained.py`
has CLIP and T5.)

The empty caption is the null condition of classifier-free guidance: it has only the start token.
"""

from dataclasses import dataclass

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn

from lite_sora.layers.blocks import Block

PAD, UNKNOWN, START = "[PAD]", "[UNK]", "[START]"


@dataclass
class Text:
    """What a denoiser sees of captions: tokens (B, L, D), mask (B, L) true where there is a word, pooled (B, D)."""

    tokens: Tensor
    mask: Tensor
    pooled: Tensor


def build_tokenizer(captions, most_words: int = 8192) -> Tokenizer:
    """A word-level tokenizer (lower case, split at spaces and punctuation) of the most frequent words in `captions`."""
    counts: dict[str, int] = {}
    tokenizer = _tokenizer({PAD: 0, UNKNOWN: 1, START: 2})
    for caption in captions:
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(caption)):
            counts[word] = counts.get(word, 0) + 1
    words = sorted(counts, key=lambda word: (-counts[word], word))[:most_words]
    return _tokenizer({word: index for index, word in enumerate([PAD, UNKNOWN, START, *words])})


def _tokenizer(vocabulary: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A", special_tokens=[(START, vocabulary[START])]
    )
    return tokenizer


def token_ids(tokenizer: Tokenizer, captions: list[str], padding: int) -> Tensor:
    """Token ids (B, L), padded to the longest caption."""
    rows = [torch.tensor(encoding.ids) for encoding in tokenizer.encode_batch(captions)]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=padding)


def pool(tokens: Tensor, mask: Tensor) -> Tensor:
    """The mean over words: tokens (B, L, D), mask (B, L) → (B, D)."""
    return (tokens * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


class TextEncoder(nn.Module):
    """Word embeddings and positions, then `depth` transformer blocks. Captions longer than `length` are cut off.

    A toy vocabulary needs no blocks: each word keeps its own meaning, and the denoiser, whose attention reads the
    words, combines them."""

    def __init__(self, tokenizer: Tokenizer, width: int, depth: int = 0, heads: int = 4, length: int = 32):
        super().__init__()
        self.tokenizer, self.width, self.length = tokenizer, width, length
        tokenizer.enable_truncation(length)
        tokenizer.no_padding()
        self.embedding = nn.Embedding(tokenizer.get_vocab_size(), width)
        self.position = nn.Parameter(torch.zeros(length, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.embedding.weight, std=1.0)  # words start far apart, each of a LayerNorm's size
        nn.init.normal_(self.position, std=0.1)

    def tokenize(self, captions: list[str]) -> Tensor:
        """Token ids (B, L), padded with 0 to the longest caption of the batch."""
        return token_ids(self.tokenizer, captions, padding=0)

    def forward(self, ids: Tensor) -> Text:
        """Text of token ids (B, L)."""
        mask = ids != 0  # (B, L)
        h = self.embedding(ids) + self.position[: ids.shape[1]]  # (B, L, D)
        for block in self.blocks:
            h = block(h, mask[:, None, None, :])
        h = self.norm(h)
        return Text(h, mask, pool(h, mask))

    def on_tokens(self) -> list[nn.Module]:
        """The layers that every token passes through."""
        return [self.blocks]
