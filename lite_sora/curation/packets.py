"""What a video file tells before anything is decoded: its compressed packets, their times and sizes."""

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import av
import numpy as np

from lite_sora.data.video import ClipError, _opened, _start


@dataclass(frozen=True)
class Packets:
    """The packets of a file's video stream, in the order in which they are shown: one for each frame."""

    times: np.ndarray  # float (N,), seconds from the first frame
    sizes: np.ndarray  # int (N,), bytes
    keyframes: np.ndarray  # bool (N,)
    digest: str  # of all their bytes: the same for two files with the same video stream, whatever is around it


def read_packets(path: Path | str) -> Packets:
    """Demuxes the video stream without decoding it. Raises ClipError for what cannot be opened or holds no packet."""
    rows, digest = [], blake2b(digest_size=16)
    with _opened(path) as (container, stream):
        try:
            for packet in container.demux(stream):
                if packet.size:  # the last packet is empty: it tells a decoder to finish
                    digest.update(packet)
                    time = packet.dts if packet.pts is None else packet.pts
                    rows.append(
                        (float((time or 0) * stream.time_base) - _start(stream), packet.size, packet.is_keyframe)
                    )
        except av.FFmpegError as error:
            if not rows:
                raise ClipError(path, f"cannot be read ({error})") from None
    if not rows:
        raise ClipError(path, "holds no packet of video")
    times, sizes, keyframes = (np.array(column) for column in zip(*sorted(rows), strict=True))
    return Packets(times, sizes, keyframes, digest.hexdigest())
