"""Trains any stage of the pipeline: python train.py [STAGE] [--flags]. Without a stage, the denoiser.

python train.py                                   the default: a toy world, from data to samples, in minutes
python train.py --data my/manifest.jsonl          your own captioned clips
python train.py --resume runs/toy --steps 2000    continue a run
python train.py autoencoder                       a video autoencoder, on the toy world
python train.py captioner                         a small vision-language model that captions clips, on the toy world
python train.py prior                             an autoregressive model of a VQ autoencoder's codes
torchrun --nproc-per-node 2 train.py              on two GPUs, or two processes
"""

import sys
from importlib import import_module

from lite_sora.commands import command
from lite_sora.processes import leave
from lite_sora.training.flags import parse

STAGES = {  # name: its module in lite_sora.training, and the settings there
    "denoiser": "DenoiserSettings",
    "autoencoder": "AutoencoderSettings",
    "captioner": "CaptionerSettings",
    "prior": "PriorSettings",
}
STOPPED = "stopped; what was saved before stays, and --resume continues from a checkpoint, if there is one"


@command("train.py", STOPPED)
def main() -> None:
    arguments = sys.argv[1:]
    name = arguments.pop(0) if arguments and not arguments[0].startswith("-") else "denoiser"
    if name not in STAGES:
        sys.exit(f"train.py: there is no stage {name!r}; there is: {', '.join(STAGES)}")
    stage = import_module(f"lite_sora.training.{name}")
    stage.train(parse(getattr(stage, STAGES[name]), arguments, __doc__))
    leave()


if __name__ == "__main__":
    main()
