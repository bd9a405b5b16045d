"""Trains any stage of the pipeline: python train.py [STAGE] [--flags]. Without a stage, the denoiser.

python train.py                                   the default: a toy world, from data to samples, in minutes
python train.py --data my/manifest.jsonl          your own captioned clips
python train.py --resume runs/toy --steps 2000    go on
python train.py autoencoder                       a video autoencoder, on the toy world
python train.py captioner                         a small vision-language model that captions clips, on the toy world
python train.py prior                             an autoregressive model of a VQ autoencoder's codes
torchrun --nproc-per-node 2 train.py              on two GPUs, or two processes
"""

import sys

from lite_sora.data.clip import ManifestError
from lite_sora.processes import leave
from lite_sora.storage.runs import CheckpointError
from lite_sora.text.pretrained import TextError
from lite_sora.training import (
    autoencoder,
    autoencoder_settings,
    captioner,
    captioner_settings,
    loop,
    prior,
    prior_settings,
    settings,
)
from lite_sora.training.loop import TrainingError

STAGES = {  # name: (what reads its flags, what trains)
    "denoiser": (settings.parse, loop.train),
    "autoencoder": (autoencoder_settings.parse, autoencoder.train_autoencoder),
    "captioner": (captioner_settings.parse, captioner.train_captioner),
    "prior": (prior_settings.parse, prior.train_prior),
}


def main() -> None:
    arguments = sys.argv[1:]
    stage = arguments.pop(0) if arguments and not arguments[0].startswith("-") else "denoiser"
    if stage not in STAGES:
        sys.exit(f"train.py: there is no stage {stage!r}; there is: {', '.join(STAGES)}")
    parse, train = STAGES[stage]
    try:
        train(*parse(arguments, __doc__))
        leave()
    except (ManifestError, CheckpointError, TextError, TrainingError) as error:
        sys.exit(f"train.py: {error}")
    except KeyboardInterrupt:
        sys.exit(
            "train.py: stopped; what was saved before stays, and --resume goes on from a checkpoint, if there is one"
        )


if __name__ == "__main__":
    main()
