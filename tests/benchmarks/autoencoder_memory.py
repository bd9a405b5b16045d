"""Peak memory of encoding and decoding, against the number of frames: at once, in chunks, and as a stream.

    python tests/benchmarks/autoencoder_memory.py --frames 9 33 129 --size 64 --preset toy

"at once" is one pass over the whole video, "chunks" is what `encode` and `decode` do, and "stream" takes and gives
pieces that nobody keeps, as one would from file to file. Each is measured in a process of its own: the highest
resident memory (on a GPU: allocated memory), less what was in use when the network was ready. For a CPU, on Linux only.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from lite_sora.autoencoders.kl import PRESETS, KLAutoencoder

MODES = ("at once", "chunks", "stream")


def forget(device: str) -> float:
    """Forgets the highest memory use, and says what is in use, in MiB."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**20
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # Linux; VmHWM counts anew
    return peak(device)


def peak(device: str) -> float:
    """The highest memory use since `forget`, in MiB."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


@torch.no_grad()
def work(mode: str, frames: int, size: int, preset: str, device: str) -> dict:
    """The memory that one round trip takes, and the size of its video, in MiB."""
    torch.manual_seed(0)
    model = KLAutoencoder(PRESETS[preset]).eval().to(device)
    step = model.chunk * model.downsample[0]
    for piece in model.decode_stream(model.encode_stream([torch.zeros(1, 3, 1, size, size, device=device)])):
        del piece  # libraries are loaded now
    before = forget(device)
    if mode == "stream":
        lengths = [1 + step] + [step] * ((frames - 1 - step) // step)
        pieces = (torch.rand(1, 3, length, size, size, device=device) for length in lengths)
        for piece in model.decode_stream(model.encode_stream(pieces)):
            del piece
    else:
        video = torch.rand(1, 3, frames, size, size, device=device)
        if mode == "at once":
            model.decoder(model.encoder(video).chunk(2, dim=1)[0])
        else:
            model.decode(model.encode(video))
    return {"mib": peak(device) - before, "video": 3 * frames * size * size * 4 / 2**20}


def main() -> None:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, nargs="+", default=[9, 33, 129, 513])
    parser.add_argument("--size", type=int, default=64, help="pixels a side")
    parser.add_argument("--preset", default="toy", choices=list(PRESETS))
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--mode", choices=MODES, help=argparse.SUPPRESS)  # of a process that measures
    options = parser.parse_args()
    if options.mode:
        print(json.dumps(work(options.mode, options.frames[0], options.size, options.preset, options.device)))
        return

    print("python", shlex.join(sys.argv))
    print("MiB beyond the network, by frames (a video is 3 colours in fp32)")
    print(f"| frames | video | {' | '.join(MODES)} |")
    print("|---|---|---|---|---|")
    for frames in options.frames:
        found = []
        for mode in MODES:
            flags = ["--size", options.size, "--preset", options.preset, "--device", options.device, "--mode", mode]
            command = [sys.executable, __file__, "--frames", str(frames), *map(str, flags)]
            # glibc would keep what is freed for later use; with this, resident memory is what is in use
            environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, encoding="utf-8")
            found.append(json.loads(done.stdout) if done.returncode == 0 else {"mib": float("nan"), "video": 0})
        row = " | ".join(f"{one['mib']:.0f}" for one in found)
        print(f"| {frames} | {found[-1]['video']:.1f} | {row} |", flush=True)


if __name__ == "__main__":
    main()
