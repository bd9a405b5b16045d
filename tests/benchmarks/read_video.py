"""Speed of reading: windows of 16 frames at random times, beside decord2 and torchcodec where they are installed.

    python tests/benchmarks/read_video.py --video some/footage.mp4

Each reader opens the file anew for each window, as training on many files does; "kept open" is what the others save
when all windows come from one file. One reader has read all of its windows before the next one begins: some decode
ahead in threads of their own, which would count as another's time if they took turns. Frames of two windows are
compared with ours. On a busy machine look at the CPU time, which waiting does not count in (and several threads
together do). The files are made here: footage (or, without any, a
synthetic scene that pans over a texture, with grain) as H.264 with libx264's usual distance between key frames.
`decord2` is a package of that name; torchcodec's wheels want FFmpeg's libraries, 0.13.0 being the last without CUDA.
"""

import argparse
import os
import shlex
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from lite_sora.data.video import probe, read_frames, write_video

FRAMES = 16


def footage(path: Path, height: int, width: int, seconds: int, fps: int) -> np.ndarray:
    """Frames of a video scaled to cover, forwards and backwards until they suffice."""
    length = min(seconds, probe(path).duration)
    frames = read_frames(path, [i / fps for i in range(int(length * fps))], height, width)
    there_and_back = np.concatenate([frames, frames[::-1]])
    return there_and_back[np.arange(seconds * fps) % len(there_and_back)]


def scene(height: int, width: int, seconds: int, fps: int) -> np.ndarray:
    """A pan over a smooth random texture, with a little grain in each frame."""
    rng, margin = np.random.default_rng(0), 4 * seconds * fps // 8
    texture = rng.random((height // 16 + 2, (width + margin) // 16 + 2, 3)).repeat(16, 0).repeat(16, 1) * 180
    for axis in (0, 1):
        texture = sum(np.roll(texture, shift, axis) for shift in range(-8, 9)) / 17
    grain = rng.normal(0, 4, (fps, height, width, 1))
    frames = [texture[:height, n // 2 : n // 2 + width] + 40 + grain[n % fps] for n in range(seconds * fps)]
    return np.stack([frame.clip(0, 255).astype(np.uint8) for frame in frames])


def readers(path: Path, height: int, width: int, fps: int, threads: int) -> dict:
    """name: a function of the number of a window's first frame, which returns uint8 (FRAMES, height, width, 3)."""

    def times(first: int) -> list[float]:
        return [(first + i) / fps for i in range(FRAMES)]

    found = {"lite_sora": lambda first: read_frames(path, times(first), height, width)}
    try:
        import decord

        def open_decord():
            return decord.VideoReader(str(path), num_threads=threads)

        kept_decord = open_decord()
        for name, get in (("decord2", open_decord), ("decord2, kept open", lambda: kept_decord)):
            found[name] = lambda first, get=get: get().get_batch(range(first, first + FRAMES)).asnumpy()
    except ImportError as error:
        print(f"without decord2 ({error})")
    try:
        from torchcodec.decoders import VideoDecoder

        def open_torchcodec(mode: str):
            return VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=threads, seek_mode=mode)

        kept = open_torchcodec("exact")
        for name, get in (
            ("torchcodec", lambda: open_torchcodec("exact")),
            ("torchcodec, approximate", lambda: open_torchcodec("approximate")),
            ("torchcodec, kept open", lambda: kept),
        ):
            found[name] = lambda first, get=get: get().get_frames_in_range(first, first + FRAMES).data.numpy()
    except (ImportError, RuntimeError) as error:
        print(f"without torchcodec ({str(error).splitlines()[0]})")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--video", type=Path, help="footage (default: a synthetic scene)")
    parser.add_argument("--windows", type=int, default=60, help="windows that each reader reads")
    parser.add_argument("--seconds", type=int, default=30, help="length of the files")
    parser.add_argument("--fps", type=int, default=24)
    parser.add_argument("--threads", type=int, default=0, help="of the other readers' decoders; 0 leaves it to FFmpeg")
    options = parser.parse_args()

    print("python", shlex.join(sys.argv))
    print(f"{os.cpu_count()} cores; {options.seconds} s at {options.fps} frames a second; windows of {FRAMES} frames")
    print("| file | reader | windows/s | of lite_sora's | CPU ms a window | of lite_sora's | difference |")
    print("|---|---|---|---|---|---|---|")
    for height, width in ((256, 256), (720, 1280)):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.mp4"
            size = height, width, options.seconds, options.fps
            write_video(path, footage(options.video, *size) if options.video else scene(*size), options.fps, quality=20)
            rng = np.random.default_rng(0)
            found = readers(path, height, width, options.fps, options.threads)
            ours = found["lite_sora"]
            seconds, busy, difference = (dict.fromkeys(found, 0.0) for _ in range(3))
            firsts = rng.integers(options.seconds * options.fps - FRAMES, size=2 + options.windows).tolist()
            for name, read in found.items():
                for first in firsts[:2]:  # to warm up
                    difference[name] = max(difference[name], np.abs(read(first) - ours(first).astype(float)).mean())
                start, start_busy = time.perf_counter(), time.process_time()
                for first in firsts[2:]:
                    read(first)
                seconds[name], busy[name] = time.perf_counter() - start, time.process_time() - start_busy
            for name in found:
                print(
                    f"| {width}×{height} | {name} "
                    f"| {options.windows / seconds[name]:.1f} | {seconds['lite_sora'] / seconds[name]:.2f} "
                    f"| {busy[name] / options.windows * 1e3:.0f} | {busy[name] / busy['lite_sora']:.2f} "
                    f"| {difference[name]:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
