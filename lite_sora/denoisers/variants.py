"""Other ways to tell a DiT the time and the caption, and to attend: what its paper compared, and what came after.

| conditioning    | t and the pooled caption …                                                                      |
|-----------------|--------------------------------------------------------------------------------------------------|
| in-context      | stand in the sequence as two more tokens                                                         |
| cross-attention | are read by a cross-attention in each block                                                      |
| adaln           | set the scale and shift after each norm                                                          |
| adaln-zero      | and also a gate before each residual, which starts at zero (`dit.py`)                            |
| mm-dit          | as adaln-zero, while the words have weights of their own (`mmdit.py`)                            |

The first four are compared in DiT (2212.09748, figure 5). The words of the caption stand in the sequence after the
patches, or are read by cross-attention (PixArt-alpha 2310.00426), or are left out, as `words` says.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lite_sora.denoisers.dit import SIZES, DenoiserConfig, initialize_weights
from lite_sora.denoisers.mmdit import JointBlock
from lite_sora.layers.attention import Attention, attend, make_norm
from lite_sora.layers.blocks import FeedForward, TimeEmbedding
from lite_sora.layers.levels import FrameLevels, level_tokens, to_tokens
from lite_sora.layers.patches import modulate, patchify, positions_3d, rotations_3d, unpatchify
from lite_sora.layers.sequence import Mask, Windows
from lite_sora.text.encoder import Text

CONDITIONINGS = ("in-context", "cross-attention", "adaln", "adaln-zero", "mm-dit")
WORDS = ("sequence", "cross-attention", "none")
ATTENTIONS = ("full", "factorised", "windows")


@dataclass
class VariantConfig(DenoiserConfig):
    conditioning: str = "adaln-zero"
    words: str = "sequence"
    attention: str = "full"  # or factorised: blocks attend within space and within time in turn (Latte 2401.03048)
    window: tuple[int, int, int] = (2, 4, 4)  # windows: patches of one, in time, height and width (`Windows`)
    shared_adaln: bool = False  # one modulation for all blocks, and a table in each (adaLN-single, 2310.00426)

    def __post_init__(self):
        super().__post_init__()
        self.check("conditioning", CONDITIONINGS)
        self.check("words", WORDS)
        self.check("attention", ATTENTIONS)
        if self.conditioning == "mm-dit" and self.words != "sequence":
            raise ValueError(f"mm-dit is a sequence of patches and words; words {self.words!r} do not fit it")
        if self.conditioning == "mm-dit" and self.attention != "full":
            raise ValueError(f"mm-dit has full attention, not {self.attention}")
        if len(self.window) != 3 or min(self.window) < 1:
            raise ValueError(f"a window has at least one patch in time, height and width, not {self.window}")
        if self.shared_adaln and self.conditioning not in ("adaln", "adaln-zero"):
            raise ValueError(f"conditioning {self.conditioning!r} has no adaLN that blocks could share")
        if self.attention == "factorised" and (self.conditioning == "in-context" or self.words == "sequence"):
            raise ValueError(
                "attention within a frame or a position has no room for tokens that belong to neither: with factorised "
                "attention choose words cross-attention (or none), and a conditioning that puts nothing in the sequence"
            )

    @property
    def parts(self) -> int:
        """How many vectors of the width a block's modulation gives."""
        return {"adaln": 4, "adaln-zero": 6, "mm-dit": 6}.get(self.conditioning, 0)


# ---------------------------------------------------------------- attention


class CrossAttention(nn.Module):
    """Tokens (B, N, D) read a context (B, L, D), such as a caption's words."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q, self.kv, self.out = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)

    def forward(self, h: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """mask (B, L), true for what may be read."""
        q = self.q(h).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, N, D / heads)
        k, v = self.kv(context).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(attend(q, k, v, mask[:, None, None, :]))


class FactorisedAttention(Attention):
    """Attention within="space", to the tokens of the same frame, or within="time", to those at the same position of
    other frames: for T frames of S tokens that is T * S * S or S * T * T pairs instead of (T * S)^2."""

    def __init__(self, *args, within: str, **options):
        super().__init__(*args, **options)
        self.within = within

    def forward(self, h: Tensor, grid: tuple[int, int, int], rotation: Tensor | None = None) -> Tensor:
        """h (B, N, D) and rotation (N, D / heads) of a grid (T, H, W) of tokens → (B, N, D)."""
        groups = regroup(h, grid, self.within)
        if rotation is not None:  # the same in all groups
            rotation = regroup(rotation[None], grid, self.within)[0]
        return ungroup(super().forward(groups, None, rotation), grid, self.within)


def regroup(h: Tensor, grid: tuple[int, int, int], within: str) -> Tensor:
    """Tokens (B, N, D) of a grid (T, H, W) in groups: (B * T, H * W, D) within "space", (B * H * W, T, D) within
    "time"."""
    h = h.unflatten(1, (grid[0], grid[1] * grid[2]))  # (B, T, S, D)
    return (h if within == "space" else h.transpose(1, 2)).flatten(0, 1)


def ungroup(h: Tensor, grid: tuple[int, int, int], within: str) -> Tensor:
    """The inverse of `regroup`: → (B, N, D)."""
    groups = grid[0] if within == "space" else grid[1] * grid[2]
    h = h.unflatten(0, (-1, groups))
    return (h if within == "space" else h.transpose(1, 2)).flatten(1, 2)


# ---------------------------------------------------------------- blocks


@dataclass
class Context:
    """What a block is given besides its tokens."""

    condition: Tensor  # (B, 1, D): t and the pooled caption; or (B, 1, parts * D), the modulation that blocks share
    where: Tensor | None  # the row of the condition that each token takes, where there are several: `levels.py`
    read: tuple[Tensor, Tensor] | None  # tokens (B, L, D) and their mask (B, L), for cross-attention
    mask: Mask  # (B, 1, 1, N) for attention
    rotation: Tensor | None  # (N, D / heads)
    grid: tuple[int, int, int]  # (T', H', W')


class VariantBlock(nn.Module):
    """Attention, cross-attention where there is something to read, and feed-forward."""

    def __init__(self, config: VariantConfig, within: str | None = None):
        super().__init__()
        width, parts = config.width, config.parts
        self.norm1 = make_norm(config.norm, width, affine=not parts)
        shape = width, config.heads, config.qk_norm, config.norm
        self.attention = FactorisedAttention(*shape, within=within) if within else Attention(*shape)
        self.norm2 = make_norm(config.norm, width, affine=not parts)
        self.mlp = FeedForward(width, config.mlp)
        if "cross-attention" in (config.conditioning, config.words):
            self.norm_cross = make_norm(config.norm, width)
            self.cross = CrossAttention(width, config.heads)
        if config.shared_adaln:
            self.modulation_table = nn.Parameter(torch.zeros(parts * width))
        elif parts:
            self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, parts * width))
        self.parts, self.shared, self.within = parts, config.shared_adaln, within

    def forward(self, h: Tensor, given: Context) -> Tensor:
        """h (B, N, D) → (B, N, D)."""
        if not self.parts:
            h = self.read(h + self.attend(self.norm1(h), given), given)
            return h + self.mlp(self.norm2(h))
        values = given.condition + self.modulation_table if self.shared else self.modulation(given.condition)
        shift1, scale1, shift2, scale2, *gates = to_tokens(values, given.where).chunk(self.parts, dim=-1)  # (B, 1, D)
        gate1, gate2 = gates or (1, 1)
        h = self.read(h + gate1 * self.attend(modulate(self.norm1(h), shift1, scale1), given), given)
        return h + gate2 * self.mlp(modulate(self.norm2(h), shift2, scale2))

    def attend(self, h: Tensor, given: Context) -> Tensor:
        return self.attention(h, given.grid if self.within else given.mask, given.rotation)

    def read(self, h: Tensor, given: Context) -> Tensor:
        return h + self.cross(self.norm_cross(h), *given.read) if given.read else h


# ---------------------------------------------------------------- the network


class DiTVariant(nn.Module):
    """A DiT of any of these parts. With the default ones it is `dit.DiT`, weight by weight."""

    config_class, sizes = VariantConfig, SIZES

    def __init__(self, config: VariantConfig):
        super().__init__()
        self.config, width, depth = config, config.width, config.depth
        values = config.channels * config.patch[0] * config.patch[1] * config.patch[2]  # of a patch
        self.embed, self.out = nn.Linear(values, width), nn.Linear(width, values)
        self.embed_pooled = nn.Linear(config.text_width, width)
        if config.words != "none":
            self.embed_text = nn.Linear(config.text_width, width)
        self.embed_time = TimeEmbedding(width, config.time_scale)
        self.levels = FrameLevels(width, config.patch[0]) if config.frame_levels else None
        if config.conditioning == "mm-dit":
            blocks = [JointBlock(config, last=number == depth - 1) for number in range(depth)]
        elif config.attention == "factorised":
            blocks = [VariantBlock(config, within=("space", "time")[number % 2]) for number in range(depth)]
        else:
            blocks = [VariantBlock(config) for _ in range(depth)]
        self.blocks = nn.ModuleList(blocks)
        if config.shared_adaln:
            self.shared_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, config.parts * width))
        self.norm = make_norm(config.norm, width, affine=not config.parts)
        if config.parts:
            self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        # adaLN-zero closes its gates and what cross-attention adds; the others start with all of their layers open
        initialize_weights(self, zero=("modulation.1", "cross.out") if config.parts == 6 else ())

    def forward(self, x: Tensor, t: Tensor, text: Text) -> Tensor:
        """x (B, C, T, H, W), t (B,) or, with frame_levels, (B, T) in [0, 1], Text of B captions → (B, C, T, H, W)."""
        config, size = self.config, x.shape[2:]
        grid = tuple(n // p for n, p in zip(size, config.patch, strict=True))  # (T', H', W')
        h = self.embed(patchify(x, config.patch))  # (B, N, D)
        h = h + positions_3d(grid, config.width, h.device).to(h.dtype)
        levels, pooled = self.embed_time(t.reshape(len(h), -1)), self.embed_pooled(text.pooled)[:, None]  # (B, 1, D)
        pair, where = [level_tokens(levels), pooled], None
        if t.dim() == 2:  # each frame has its own
            levels, where = self.levels(levels, grid, text.mask.shape[1] if config.words == "sequence" else 0)
        condition = levels + pooled  # (B, 1, D)
        if config.conditioning == "mm-dit":
            h = self.joint(h, condition, where, text, grid)
        else:
            h = self.single(h, condition, where, pair, text, grid)
        h = self.norm(h)
        if config.parts:
            values = to_tokens(self.modulation(condition), where)[:, : h.shape[1]]
            h = modulate(h, *values.chunk(2, dim=-1))
        return unpatchify(self.out(h), config.patch, size)

    def on_tokens(self) -> list[nn.Module]:
        """The layers that every token passes through."""
        kinds = Attention, CrossAttention, FeedForward
        return [self.embed, self.out, *(layer for layer in self.blocks.modules() if isinstance(layer, kinds))]

    def joint(self, h: Tensor, condition: Tensor, where: Tensor | None, text: Text, grid: tuple) -> Tensor:
        """Patches and words, each with their own weights: (B, N, D) → (B, N, D)."""
        words, rotation = self.embed_text(text.tokens), self.rotation(grid, 0, h.device)
        for block in self.blocks:
            h, words = block(h, words, text.mask, condition, where, rotation)
        return h

    def single(
        self, h: Tensor, condition: Tensor, where: Tensor | None, pair: list[Tensor], text: Text, grid: tuple
    ) -> Tensor:
        """All tokens with the same weights: patches (B, N, D) → (B, N, D)."""
        config, patches = self.config, h.shape[1]
        in_sequence: list[tuple[Tensor, Tensor]] = []  # tokens (B, L, D) and mask (B, L) each
        to_read: list[tuple[Tensor, Tensor]] = []
        if config.words == "sequence":
            in_sequence.append((self.embed_text(text.tokens), text.mask))
        elif config.words == "cross-attention":
            to_read.append((self.embed_text(text.tokens), text.mask))
        told = torch.cat(pair, dim=1)  # t and the pooled caption, (B, 2, D)
        if config.conditioning == "in-context":
            in_sequence.append((told, text.mask.new_ones(told.shape[:2])))
        elif config.conditioning == "cross-attention":
            to_read.append((told, text.mask.new_ones(told.shape[:2])))

        mask = None
        if in_sequence:
            tokens, mask = concatenate(in_sequence)
            mask = torch.cat([mask.new_ones(len(h), patches), mask], dim=1)[:, None, None]
            h = torch.cat([h, tokens], dim=1)
        condition = self.shared_modulation(condition) if config.shared_adaln else condition
        rotation = self.rotation(grid, h.shape[1] - patches, h.device)
        given = Context(condition, where, concatenate(to_read) if to_read else None, mask, rotation, grid)
        masks = [mask, mask]  # of even and odd blocks
        if config.attention == "windows":
            masks = [Windows(grid, config.window, shifted, mask) for shifted in (False, True)]
        for number, block in enumerate(self.blocks):
            given.mask = masks[number % 2]
            h = block(h, given)
        return h[:, :patches]

    def rotation(self, grid: tuple[int, int, int], others: int, device) -> Tensor | None:
        config = self.config
        return rotations_3d(grid, config.width // config.heads, others, device) if config.rope else None


def concatenate(parts: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """(tokens (B, L, D), mask (B, L)) of several, one after the other."""
    tokens, masks = zip(*parts, strict=True)
    return torch.cat(tokens, dim=1), torch.cat(masks, dim=1)
