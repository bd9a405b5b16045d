"""Which clips show the same? Exact copies by their packets, and near copies by perceptual hashes of their frames.

A perceptual hash says which of a frame's 63 lowest frequencies are above their median (pHash: Zauner 2010,
"Implementation and Benchmarking of Perceptual Image Hash Functions"), so that resizing and compression flip few of its
bits. Two clips are compared only if one of their frames agrees in 16 bits in a row (locality-sensitive hashing by
bands: Indyk & Motwani 1998), which keeps a million clips from being compared with a million others. Clips that start
or end at different moments, and crops or mirror images, are not found.
"""

from collections import defaultdict

import numpy as np
from PIL import Image

from lite_sora.curation.quality import luma

SIDE, LOW = 32, 8  # a frame is shrunk to 32×32, of whose frequencies the lowest 8×8 are looked at
BANDS = 4  # of 16 bits each
FLAT = 2.0  # standard deviation of luma under which a frame has nothing to be known by

# rows of the discrete cosine transform (DCT-II), (8, 32)
COSINES = np.cos(np.pi / SIDE * (np.arange(SIDE) + 0.5) * np.arange(LOW)[:, None])


def perceptual_hash(frames: np.ndarray) -> list[str]:
    """For each of frames uint8 (T, H, W, 3), 22 hexadecimal digits: 64 bits of hash and 3 bytes of mean colour. The
    hash of a plain frame is 0."""
    hashes = []
    for frame in frames:
        small = np.asarray(Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.BOX))  # (32, 32, 3)
        grey = luma(small)
        low = (COSINES @ grey @ COSINES.T).ravel()  # (64,)
        bits = (low > np.median(low[1:])) & (grey.std() > FLAT)
        bits[0] = False  # brightness
        colour = small.mean((0, 1)).round().astype(np.uint8)
        hashes.append(np.packbits(bits).tobytes().hex() + colour.tobytes().hex())
    return hashes


def same(keys: list) -> dict[int, int]:
    """{index of a copy: index of the first clip with the same key}."""
    first: dict = {}
    return {i: first[key] for i, key in enumerate(keys) if first.setdefault(key, i) != i}


def near(signatures: list[list[str]], areas: list[int], distance: float, colour: float) -> dict[int, int]:
    """{index of a copy: index of the clip that is kept in its place}, for signatures made by `perceptual_hash`, each of
    as many frames, and the clips' areas in pixels.

    Clips are taken from the largest area down, the first first; a clip is a copy if over its frames at most `distance`
    bits of 64 and `colour` of 255 differ on average from a clip that has been kept."""
    if not signatures:
        return {}
    raw = np.array([[list(bytes.fromhex(frame)) for frame in frames] for frames in signatures], np.uint8)  # (N, T, 11)
    hashes = np.ascontiguousarray(raw[..., :8]).view(np.uint64)[..., 0]  # (N, T)
    bands = np.ascontiguousarray(raw[..., :8]).view(np.uint16)  # (N, T, 4)
    colours = raw[..., 8:].astype(np.int16)  # (N, T, 3)
    buckets: dict[tuple, list[int]] = defaultdict(list)  # (frame, band, its bits) → kept clips
    copies = {}
    for i in sorted(range(len(signatures)), key=lambda i: (-areas[i], i)):
        places = [(t, b, int(bands[i, t, b])) for t in np.flatnonzero(hashes[i]) for b in range(BANDS)]
        others = np.array(sorted({other for place in places for other in buckets.get(place, ())}), int)
        bits = np.bitwise_count(hashes[others] ^ hashes[i]).mean(1)  # (others,)
        shades = np.abs(colours[others] - colours[i]).mean((1, 2))
        found = others[(bits <= distance) & (shades <= colour)]
        if len(found):
            copies[i] = int(found[0])
        else:
            for place in places:
                buckets[place].append(i)
    return copies
