"""TextToVideo: text encoder, denoiser, autoencoder and objective in one object: train, generate, save and load.

model = TextToVideo.from_pretrained("runs/toy")
video = model.generate(["a red circle moving right"])  # (1, 3, T, H, W) in [-1, 1]
"""

from dataclasses import asdict
from itertools import count
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from lite_sora.autoencoders import load_autoencoder
from lite_sora.autoencoders.saved import TrainedAutoencoder
from lite_sora.configuration import TextToVideoConfig, network_of, text_encoder_of
from lite_sora.denoisers.packed import packed_loss
from lite_sora.diffusion.choices import GRIDS, SAMPLERS, with_diffusion
from lite_sora.diffusion.frames import Given
from lite_sora.diffusion.guidance import guided
from lite_sora.diffusion.objective import Network, Objective
from lite_sora.diffusion.path import PATHS
from lite_sora.diffusion.prediction import Denoiser
from lite_sora.seeds import normal, seed_of
from lite_sora.storage import runs
from lite_sora.text.encoder import Text, TextEncoder
from lite_sora.text.pretrained import PretrainedText
from lite_sora.text.signals import SignalEncoder


class TextToVideo(nn.Module):
    """Its parts are handed in. The autoencoder and a pretrained text encoder are frozen, and no submodules."""

    first_time = 1.0  # where sampling starts

    def __init__(self, config: TextToVideoConfig, text: nn.Module | PretrainedText, denoiser: nn.Module, autoencoder):
        super().__init__()
        self.config, self.objective = config, config.objective
        self.denoiser, self.text, self.autoencoder = denoiser, text, autoencoder
        self.signals = SignalEncoder(config.signals, config.text_width)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def forward(self, *, latents: Tensor, noise: Tensor, t: Tensor, captions: Tensor | Text, signals: dict) -> Tensor:
        """The loss of each sample, (B,), for latents and noise (B, C, T, H, W), t (B,), captions: token ids (B, L), or
        what a frozen encoder has made of them; and signals by name, (B,) each. Or lists of B, of any shapes."""
        text = captions if isinstance(captions, Text) else self.text(captions)
        if isinstance(latents, list):
            return packed_loss(self.objective, self.denoiser, latents, noise, t, self.signals(text, signals))
        return self.objective.loss(self.conditioned(self.signals(text, signals)), latents, noise, t)

    def conditioned(self, text: Text) -> Network:
        """The network, conditioned on B captions."""
        return lambda x_t, t: self.denoiser(x_t, t, text)

    def denoiser_for(self, prompts: list[str], signals: dict[str, Tensor]) -> Denoiser:
        """What samplers evaluate: the estimates of the clean latents and the noise, conditioned on B prompts."""
        text = self.text(self.text.tokenize(prompts).to(self.device))
        network = self.conditioned(self.signals(text, signals))
        return lambda x_t, t: self.objective.x_and_noise(network, x_t, t)

    @torch.no_grad()
    def generate(
        self,
        prompts: list[str],
        negative: str = "",
        seeds: list[int] | None = None,
        signals: dict[str, float] | None = None,
        frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        steps: int | None = None,
        sampler: str | None = None,
        guidance: float | None = None,
        grid: str | None = None,
        times: Tensor | None = None,
        diffusion: str | None = None,
        guidance_interval: tuple[float, float] = (0.0, 1.0),
        guidance_rescale: float = 0.0,
        given: Given | None = None,
    ) -> Tensor:
        """Videos (B, 3, T, H, W) in [-1, 1] for B prompts; what is None is as the model was trained. `signals`, such as
        {"speed": 0.5}, hold for all of them; those that are not named are left to chance.

        `times` are the sampler's, falling from 1 to 0, instead of a `grid` of `steps`. `diffusion` is for the samplers
        on SiT's SDE alone, see `diffusion/sde.py`; the next two are of `diffusion/guidance.py`, `given` (known frames)
        of `frames.py`. A seed belongs to a prompt: the same two give the same video, whatever else is in the batch.
        """
        config, path = self.config, PATHS[self.objective.path]
        sampler, grid = sampler or config.sampler, grid or config.grid
        for what, name, known in (("sampler", sampler, SAMPLERS), ("grid", grid, GRIDS)):
            if name not in known:
                raise ValueError(f"{what} {name!r} is not one of {', '.join(known)}")
        sample = with_diffusion(sampler, diffusion) if diffusion else SAMPLERS[sampler]
        if times is None:
            times = self.first_time * GRIDS[grid](steps or config.steps, path, self.objective.shift)

        shape = self.latent_shape(frames, height, width)
        seeds = seeds if seeds is not None else [0] * len(prompts)
        draws = count()

        def fresh_noise() -> Tensor:
            seeds_now = [seed_of(seed, "sampler", draw) for draw in [next(draws)] for seed in seeds]
            return normal(seeds_now, shape).to(self.device)

        denoise = self.denoiser_for(prompts, self.signals.values(signals or {}, len(prompts)))
        guidance = config.guidance if guidance is None else guidance
        if guidance != 1:
            negatives = self.denoiser_for([negative] * len(prompts), signals={})
            denoise = guided(denoise, negatives, guidance, guidance_interval, guidance_rescale, path)
        x = normal(seeds, shape).to(self.device)  # drawn on the CPU: a seed means the same on every device
        if given:
            sample, denoise, x, times = given.apply(self, sample, denoise, x, times)
        return self.autoencoder.decode(sample(denoise, x, times, path, fresh_noise)).clamp(-1, 1)

    def latent_shape(
        self, frames: int | None = None, height: int | None = None, width: int | None = None
    ) -> tuple[int, int, int, int]:
        """(C, T, H, W) of the latents of a video; what is None is as the model was trained."""
        config = self.config
        return self.autoencoder.latent_shape(frames or config.frames, height or config.height, width or config.width)

    def save_pretrained(self, folder: Path | str) -> None:
        """Writes a run folder, each file whole or not at all. An autoencoder of ours is copied into it, so that the
        folder is complete."""
        folder, config = Path(folder), asdict(self.config)
        if isinstance(self.autoencoder, TrainedAutoencoder):
            self.autoencoder.save_pretrained(folder / runs.INSIDE)
            config["autoencoder"] = runs.INSIDE
        tokenizer = self.text.tokenizer if isinstance(self.text, TextEncoder) else None
        runs.write_run(folder, config, self.state_dict(), tokenizer)

    @classmethod
    def from_pretrained(cls, folder: Path | str, device: torch.device | str = "cpu") -> "TextToVideo":
        """Loads a run folder, or a model of the Hugging Face hub by its id. Raises CheckpointError."""
        folder, settings = runs.open_run(folder)
        if kind := settings.get("kind") or settings.get("convention"):
            raise runs.CheckpointError(f"{folder}/config.json describes a model of kind {kind}, not a denoiser")
        with runs.described_by(folder, "a text-to-video model"):
            settings["objective"] = Objective(**settings["objective"])
            config = TextToVideoConfig(**settings)
            autoencoder = load_autoencoder(runs.inside(folder, config.autoencoder))
            model = assemble(config, runs.read_tokenizer(folder) if config.text == "words" else None, autoencoder)
        runs.load_weights(model, folder)
        return model.to(device).eval()


def assemble(config: TextToVideoConfig, tokenizer: Tokenizer | None, autoencoder) -> TextToVideo:
    """A model with fresh weights, around an autoencoder. A pretrained text encoder brings its own tokenizer."""
    network, network_config = network_of(config, autoencoder)
    denoiser = network(network_config)  # before the text encoder: both draw from the same seed
    return TextToVideo(config, text_encoder_of(config, tokenizer), denoiser, autoencoder)
