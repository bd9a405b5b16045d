"""Long and large videos in bounded memory: chunks of time, exactly, and tiles of space, blended.

Chunks: causal layers carry what they need from one to the next (`layers.py`). Tiles: a network sees nothing beyond a
tile's edge, so it errs a little there. Tiles therefore overlap, and each one's weight falls towards its edges.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor


def chunks(h: Tensor, size: int) -> Iterator[Tensor]:
    """h (B, C, T, H, W) cut in time: 1 + size frames, then size at a time."""
    yield h[:, :, : 1 + size]
    for start in range(1 + size, h.shape[2], size):
        yield h[:, :, start : start + size]


def in_tiles(
    network: Callable[[Tensor], Tensor],
    h: Tensor,
    tile: int,
    overlap: int,
    read: tuple[int, int],
    write: tuple[int, int],
) -> Tensor:
    """network(h) for h (B, C, T, H, W), tile by tile. tile and overlap are counted in cells: `read` (height, width)
    positions of h, and `write` positions of the output."""
    rows, columns = h.shape[3] // read[0], h.shape[4] // read[1]
    if rows <= tile and columns <= tile:
        return network(h)
    total = weights = None
    for top in _starts(rows, tile, overlap):
        for left in _starts(columns, tile, overlap):
            bottom, right = min(top + tile, rows), min(left + tile, columns)
            piece = network(h[..., top * read[0] : bottom * read[0], left * read[1] : right * read[1]])
            down = _ramps(bottom - top, overlap, top > 0, bottom < rows, write[0])
            across = _ramps(right - left, overlap, left > 0, right < columns, write[1])
            weight = (down[:, None] * across).to(piece)
            if total is None:
                total = piece.new_zeros(*piece.shape[:3], rows * write[0], columns * write[1])
                weights = torch.zeros_like(total[0, 0, 0])
            place = (..., slice(top * write[0], bottom * write[0]), slice(left * write[1], right * write[1]))
            total[place] += piece * weight
            weights[place] += weight
    return total.div_(weights)


def _starts(cells: int, tile: int, overlap: int) -> list[int]:
    """The first cell of each tile; the last tile ends with the last cell."""
    last = max(0, cells - tile)
    return [*range(0, last, tile - overlap), last]


def _ramps(cells: int, overlap: int, before: bool, after: bool, positions: int) -> Tensor:
    """Weights along an axis, (cells * positions,): 1, but rising over the overlap with a tile before, and falling over
    the overlap with a tile after."""
    distance = torch.arange(1, cells * positions + 1) / (overlap * positions + 1)
    rising = distance if before else torch.ones_like(distance)
    falling = distance.flip(0) if after else torch.ones_like(distance)
    return torch.minimum(rising, falling).clamp(max=1)
