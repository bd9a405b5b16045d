"""A fifth stage, as small as one can be: a network that names the mean colour of a clip's first frame."""

import sys
from dataclasses import asdict, dataclass

import torch
from torch import nn

from lite_sora.data.loading import to_model_range
from lite_sora.storage.runs import load_weights, open_run, write_run
from lite_sora.training.flags import RunSettings, flag, parse
from lite_sora.training.loop import Stage, run


@dataclass
class ShadeSettings(RunSettings):
    hidden: int = flag(16, "width of the hidden layer")


class ShadeStage(Stage):
    name = "shades"

    def open_data(self, clips):
        self.dataset = clips.videos(clips.training)
        self.skipped.update(clips.preload(self.dataset))

    def build(self):
        settings = self.settings
        pixels = 3 * settings.height * settings.width
        model = nn.Sequential(nn.Linear(pixels, settings.hidden), nn.GELU(), nn.Linear(settings.hidden, 3))
        if settings.resume:
            load_weights(model, open_run(settings.resume)[0])
        return model

    def loss(self, model, batch):
        frame = to_model_range(batch.video[:, :, 0])  # (B, 3, H, W)
        error = model(frame.flatten(1)) - frame.mean((2, 3))
        return {"loss": error.square().mean(1), "worst": error.abs().amax(1)}

    def save(self, folder, average):
        write_run(folder, {"training": asdict(self.settings)}, average.state_dict())


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(ShadeStage, parse(ShadeSettings, sys.argv[1:], __doc__))
