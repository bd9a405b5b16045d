"""Which clips show the same? Exact copies by their packets, and near copies by perceptual hashes of their frames.

A bit of a perceptual hash says whether one of a frame's 63 lowest frequencies is above their median (pHash: Zauner
2010, "Implementation and Benchmarking of Perceptual Image Hash Functions"). Resizing and compression flip few of the
bits. Two clips are compared only if one of their frames agrees in a band of 16 bits (locality-sensitive hashing: Indyk
& Motwani 1998), so that a million clips need not be compared with a million others. Clips that start or end at
different times, crops and mirror images are not found.
"""

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from PIL import Image

from lite_sora.curation.picture import luma

SIDE, LOW = 32, 8  # a frame is shrunk to 32×32, and its lowest 8×8 frequencies are used
BANDS = 4  # of 16 bits each
FLAT = 2.0  # standard deviation of luma below which a frame is too plain for a hash

# rows of the discrete cosine transform (DCT-II), (8, 32)
COSINES = np.cos(np.pi / SIDE * (np.arange(SIDE) + 0.5) * np.arange(LOW)[:, None])


def perceptual_hash(frames: np.ndarray) -> list[str]:
    """Frames uint8 (T, H, W, 3) → 22 hexadecimal digits each: 64 bits of hash and 3 bytes of mean colour. The hash of a
    plain frame is 0."""
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


def same(keys: Iterable) -> dict[int, int]:
    """{index of a copy: index of the first clip with the same key}. Needs some 50 bytes of memory for each key."""
    digests = bytearray()
    for key in keys:
        digests += blake2b(repr(key).encode(), digest_size=16).digest()
    _, first, which = np.unique(np.frombuffer(digests, "V16"), return_index=True, return_inverse=True)
    first = first[which]  # (N,)
    copies = np.flatnonzero(first != np.arange(len(first)))
    return dict(zip(copies.tolist(), first[copies].tolist(), strict=True))


def near(signatures: Iterable[list[str]], areas: Iterable[int], distance: float, colour: float) -> dict[int, int]:
    """{index of a copy: index of the clip that is kept instead}, for signatures of `perceptual_hash`, all with the same
    number of frames, and the clips' areas in pixels.

    Clips are taken by area, the largest first. A clip is a copy if a clip that has been kept differs from it, on
    average over its frames, by at most `distance` of 64 bits and `colour` of 255. Needs 216 bytes of memory for a clip
    of 8 frames."""
    raw = bytearray()
    for frames in signatures:
        raw += bytes.fromhex("".join(frames))
    areas = np.fromiter(areas, np.int64)
    if not len(areas):
        return {}
    raw = np.frombuffer(raw, np.uint8).reshape(len(areas), -1, 11)  # (N, T, 11)
    hashes = np.ascontiguousarray(raw[..., :8])
    colours = np.ascontiguousarray(raw[..., 8:])  # (N, T, 3)
    del raw
    bands = hashes.view(np.uint16).reshape(len(areas), -1)  # (N, bands of all frames)
    hashes = hashes.view(np.uint64)[..., 0]  # (N, T)
    # Kept clips with the same bits in a band form a linked list: the latest one, and for each the one before it.
    latest = np.full((bands.shape[1], 2**16), -1, np.int32)  # (bands, bits)
    before = np.full(bands.shape, -1, np.int32)  # (N, bands)
    copies = {}
    for i in np.argsort(-areas, kind="stable").tolist():
        used = np.flatnonzero(hashes[i].repeat(BANDS))  # bands of frames that are not plain
        links, others = [], latest[used, bands[i, used]]
        at = used
        while (found := others >= 0).any():
            at, others = at[found], others[found]
            links.append(others)
            others = before[others, at]
        others = np.unique(np.concatenate(links)) if links else np.zeros(0, int)
        bits = np.bitwise_count(hashes[others] ^ hashes[i]).mean(1)  # (others,)
        shades = np.abs(colours[others] - colours[i].astype(np.int16)).mean((1, 2))
        alike = others[(bits <= distance) & (shades <= colour)]
        if len(alike):
            copies[i] = int(alike[0])
        else:
            before[i, used] = latest[used, bands[i, used]]
            latest[used, bands[i, used]] = i
    return copies
