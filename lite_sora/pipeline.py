"""TextToVideo: text encoder, denoiser, autoencoder, objective and sampler in one object: save, load and generate.

model = TextToVideo.from_pretrained("runs/toy")
video = model.generate(["a red circle moving right"])  # (1, 3, T, H, W) in [-1, 1]
"""

import json
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from lite_sora.autoencoders import load_autoencoder
from lite_sora.autoencoders.saved import TrainedAutoencoder
from lite_sora.denoisers import DENOISERS
from lite_sora.diffusion.grids import GRIDS
from lite_sora.diffusion.guidance import guided
from lite_sora.diffusion.objective import Network, Objective
from lite_sora.diffusion.path import PATHS
from lite_sora.diffusion.prediction import Denoiser
from lite_sora.diffusion.samplers import SAMPLERS
from lite_sora.diffusion.sde import DIFFUSIONS, euler_maruyama, heun_sde
from lite_sora.published.classes import ClassLabels
from lite_sora.published.conventions import speaking
from lite_sora.seeds import normal, seed_of
from lite_sora.storage.files import write_whole
from lite_sora.storage.runs import INSIDE, CheckpointError, folder_or_hub, need
from lite_sora.text.encoder import Text, TextEncoder
from lite_sora.text.pretrained import PretrainedText


@dataclass
class TextToVideoConfig:
    """Everything but the weights and the vocabulary; saved as config.json."""

    denoiser: str = "dit"
    denoiser_config: dict = field(default_factory=dict)
    autoencoder: str = "pixel"  # or a run of one ("autoencoder": in this folder), or a folder or hub id of diffusers'
    convention: str | None = None  # how a published network counts time (`diffusion/published.py`); None: as we do
    text: str = "words"  # trained along; or the folder or hub id of a pretrained CLIP or T5
    text_width: int = 128
    text_depth: int = 0  # this and the next are of words alone
    text_length: int = 32
    null_class: bool = True  # of a model of classes: whether its last one is "no class", for guidance
    objective: Objective = field(default_factory=Objective)
    # what generation does unless told otherwise: the size that the model was trained at, and how to sample
    frames: int = 8
    height: int = 32
    width: int = 32
    fps: float = 8.0
    sampler: str = "euler"
    grid: str = "shifted"
    steps: int = 12
    guidance: float = 1.5
    training: dict = field(default_factory=dict)  # the settings of the run that it comes from


class TextToVideo(nn.Module):
    def __init__(self, config: TextToVideoConfig, tokenizer: Tokenizer | None):
        """A model of words has a tokenizer; one of classes, or of a pretrained text encoder, needs none."""
        super().__init__()
        self.config = config
        self.objective = config.objective
        self.autoencoder = load_autoencoder(config.autoencoder)
        network, network_config, _ = DENOISERS[config.denoiser]
        parts = {"channels": self.autoencoder.latent_channels, "text_width": config.text_width}
        self.denoiser = network(network_config(**parts | config.denoiser_config))
        if classes := self.denoiser.config.classes:
            self.text = ClassLabels(classes, config.null_class)
        elif config.text != "words":
            self.text = PretrainedText(config.text)
        else:
            self.text = TextEncoder(tokenizer, config.text_width, config.text_depth, length=config.text_length)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def latent_shape(
        self, frames: int | None = None, height: int | None = None, width: int | None = None
    ) -> tuple[int, int, int, int]:
        """(C, T, H, W) of the latents of a video; what is None is as the model was trained."""
        config = self.config
        return self.autoencoder.latent_shape(frames or config.frames, height or config.height, width or config.width)

    # ------------------------------------------------------------ training

    def forward(self, latents: Tensor, noise: Tensor, t: Tensor, captions: Tensor | Text) -> Tensor:
        """The loss of each sample, (B,), for latents and noise (B, C, T, H, W), t (B,) and captions: token ids (B, L),
        or what a frozen encoder has made of them."""
        return self.objective.loss(self._told(captions), latents, noise, t)

    def _told(self, captions: Tensor | Text) -> Network:
        """The denoiser, with the captions (or classes) that it is told."""
        text = captions if isinstance(captions, Text) else self.text(captions)

        def denoiser(x_t: Tensor, t: Tensor) -> Tensor:
            return self.denoiser(x_t, t, text)

        if self.config.convention:
            return speaking(self.config.convention, denoiser, PATHS[self.objective.path])
        return denoiser

    # ------------------------------------------------------------ generation

    @torch.no_grad()
    def generate(
        self,
        prompts: list[str],
        negative: str = "",
        seeds: list[int] | None = None,
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
    ) -> Tensor:
        """Videos (B, 3, T, H, W) in [-1, 1] for B prompts; what is None is as the model was trained.

        `times` are the sampler's, falling from 1 to 0, instead of a `grid` of `steps`. `diffusion` is for the samplers
        on SiT's SDE alone, see `diffusion/sde.py`; the last two are those of `diffusion/guidance.py`. A seed belongs to
        a prompt: the same prompt and seed give the same video, whatever else is in the batch.
        """
        config = self.config
        sampler, grid = sampler or config.sampler, grid or config.grid
        for what, name, known in (("sampler", sampler, SAMPLERS), ("grid", grid, GRIDS)):
            if name not in known:
                raise ValueError(f"{what} {name!r} is not one of {', '.join(known)}")
        sample = SAMPLERS[sampler]
        if diffusion:
            if sample not in (euler_maruyama, heun_sde) or diffusion not in DIFFUSIONS:
                raise ValueError(
                    f"diffusion {diffusion!r} is for the samplers euler-maruyama and heun-sde, and one of "
                    f"{', '.join(DIFFUSIONS)}; the sampler is {sampler}"
                )
            sample = partial(sample, diffusion=diffusion)
        shape = self.latent_shape(frames, height, width)
        seeds = seeds if seeds is not None else [0] * len(prompts)
        # noise is drawn on the CPU, so that a seed means the same on every device
        x = normal(seeds, shape).to(self.device)
        fresh = (seed_of(seed, "sampler", step) for step in range(10**9) for seed in seeds)

        path = PATHS[self.objective.path]
        if times is None:
            times = GRIDS[grid](steps or config.steps, path, self.objective.shift)
        guidance = config.guidance if guidance is None else guidance
        denoise = self.denoise_told(prompts)
        if guidance != 1:
            negatives = self.denoise_told([negative] * len(prompts))
            denoise = guided(denoise, negatives, guidance, guidance_interval, guidance_rescale, path)
        x = sample(
            denoise,
            x,
            times.to(self.device),
            path,
            lambda: normal([next(fresh) for _ in seeds], x.shape[1:]).to(self.device),
        )
        return self.autoencoder.decode(x)

    def denoise_told(self, prompts: list[str]) -> Denoiser:
        """What samplers ask: the clean latents and the noise that the model believes in, told B prompts."""
        denoiser = self._told(self.text.tokenize(prompts).to(self.device))
        return lambda x_t, t: self.objective.x_and_noise(denoiser, x_t, t)

    # ------------------------------------------------------------ saving and loading

    def save_pretrained(self, folder: Path | str) -> None:
        """Writes config.json, tokenizer.json (of words) and model.safetensors, each whole or not at all; and an
        autoencoder of ours, so that the folder is complete."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = asdict(self.config)
        if isinstance(self.autoencoder, TrainedAutoencoder):
            self.autoencoder.save_pretrained(folder / INSIDE)
            config["autoencoder"] = INSIDE
        write_whole(folder / "config.json", lambda path: path.write_text(json.dumps(config, indent=2) + "\n"))
        if isinstance(self.text, TextEncoder):
            write_whole(folder / "tokenizer.json", lambda path: self.text.tokenizer.save(str(path)))
        weights = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
        write_whole(folder / "model.safetensors", lambda path: save_file(weights, path))

    @classmethod
    def from_pretrained(cls, folder: Path | str, device: torch.device | str = "cpu") -> "TextToVideo":
        """Loads a run folder, or a model of the Hugging Face hub by its id ("name/model"). Only json and safetensors
        are read, so nothing in a checkpoint is ever executed. Raises CheckpointError."""
        folder = folder_or_hub(folder)
        need(folder, "config.json")
        need(folder, "model.safetensors")
        try:
            settings = json.loads((folder / "config.json").read_text())
            if kind := settings.get("kind"):
                raise CheckpointError(f"{folder}/config.json describes a model of kind {kind}, not a denoiser")
            settings["objective"] = Objective(**settings["objective"])
            if settings["autoencoder"] == INSIDE:
                settings["autoencoder"] = str(folder / INSIDE)
            config = TextToVideoConfig(**settings)
            tokenizer = None
            if config.text == "words" and not config.denoiser_config.get("classes"):
                tokenizer = Tokenizer.from_file(str(need(folder, "tokenizer.json")))
            model = cls(config, tokenizer)
        except CheckpointError:
            raise
        except Exception as error:  # whatever a strange file makes of it
            raise CheckpointError(
                f"{folder}/config.json does not describe a model of this version ({error})"
            ) from error
        try:
            model.load_state_dict(load_file(folder / "model.safetensors"))
        except (SafetensorError, RuntimeError) as error:
            raise CheckpointError(f"{folder}/model.safetensors does not fit its config.json ({error})") from error
        return model.to(device).eval()
