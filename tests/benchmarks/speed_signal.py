"""Does a model conditioned on the toy world's speed move things as far as it is told? Prints a table.

python train.py --signals speed
python tests/benchmarks/speed_signal.py --run runs/toy-signals-speed
"""

import argparse
import shlex
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from lite_sora.data.loading import to_frames
from lite_sora.load import load_model
from lite_sora.toy.judge import judge

PROMPTS = ("a red circle moving right", "a green square moving up")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True)
    parser.add_argument("--seeds", type=int, default=32, help="videos of each prompt and speed")
    options = parser.parse_args()
    print("python", shlex.join(sys.argv))
    print("| told | distance covered, in frame sides (mean ± standard deviation) |\n|---|---|")
    model = load_model(options.run)
    for speed in (0.28, 0.34, 0.40, 0.46, 0.52, None):
        told = {} if speed is None else {"signals": {"speed": speed}}
        found = []
        for prompt in PROMPTS:
            videos = model.generate([prompt] * options.seeds, seeds=list(range(options.seeds)), **told)
            found += [things[0].distance for frames in to_frames(videos) if (things := judge(frames))]
        print(f"| {'nothing' if speed is None else speed} | {np.mean(found):.2f} ± {np.std(found):.2f} |")


if __name__ == "__main__":
    main()
