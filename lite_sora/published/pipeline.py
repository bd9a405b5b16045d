"""PublishedTextToVideo: a published network in the place of ours. Its prompts are class ids or captions, and it is
evaluated by its own convention of time; samplers, guidance and autoencoders are those of every model.

model = PublishedTextToVideo.from_pretrained("runs/dit-xl")  # made by `python -m lite_sora.published`
video = model.generate(["207"])  # (1, 3, 1, H, W) in [-1, 1]
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lite_sora.autoencoders import load_autoencoder
from lite_sora.autoencoders.pretrained import PretrainedAutoencoder
from lite_sora.configuration import TextToVideoConfig
from lite_sora.diffusion.objective import Network, Objective
from lite_sora.diffusion.path import PATHS
from lite_sora.pipeline import TextToVideo
from lite_sora.published.conventions import CONVENTIONS, first_time, speaking
from lite_sora.published.dit import PublishedDiT, PublishedDiTConfig
from lite_sora.published.prompts import ClassLabels, ClipTokens
from lite_sora.published.uvit import PublishedUViT, PublishedUViTConfig
from lite_sora.storage.runs import CheckpointError, described_by, inside, load_weights, open_run

NETWORKS = {  # config.json's "denoiser"
    "dit": (PublishedDiT, PublishedDiTConfig),
    "sit": (PublishedDiT, PublishedDiTConfig),
    "uvit": (PublishedUViT, PublishedUViTConfig),
}
FORMER = ("conditioning", "words", "attention", "shared_adaln", "out_channels")  # what config.json used to name as well


@dataclass
class PublishedConfig(TextToVideoConfig):
    kind: str = "published"
    convention: str = "ddpm"  # how the network counts time, see `conventions.py`
    null_class: bool = True  # whether the last class is "no class", for guidance
    latent_scale: float | None = None  # of the latents that it was trained on; None: the autoencoder's own

    def __post_init__(self):
        if self.convention not in CONVENTIONS:
            raise ValueError(f"convention {self.convention!r} is not one of {', '.join(CONVENTIONS)}")


class PublishedTextToVideo(TextToVideo):
    def __init__(self, config: PublishedConfig, text: ClassLabels | ClipTokens, denoiser: nn.Module, autoencoder):
        """Raises ValueError for an autoencoder of other latents than the denoiser's. With a `latent_scale`, it is the
        autoencoder that is changed."""
        super().__init__(config, text, denoiser, autoencoder)
        theirs, ours = denoiser.config.channels, autoencoder.latent_channels
        if theirs != ours:
            raise ValueError(f"the network is of {theirs} channels, but {config.autoencoder} makes latents of {ours}")
        if config.latent_scale is not None:
            if not isinstance(autoencoder, PretrainedAutoencoder):
                raise ValueError(f"latent_scale is for autoencoders of diffusers, and {config.autoencoder} is another")
            autoencoder.scale = torch.full_like(autoencoder.scale, config.latent_scale)
        self.first_time = first_time(config.convention, PATHS[self.objective.path])

    def conditioned(self, condition: Tensor) -> Network:
        """The network, conditioned on B labels or captions, as the objective evaluates it."""
        return speaking(self.config.convention, super().conditioned(condition), PATHS[self.objective.path])

    @classmethod
    def from_pretrained(cls, folder: Path | str, device: torch.device | str = "cpu") -> "PublishedTextToVideo":
        """Loads a run folder, or a model of the Hugging Face hub by its id. Raises CheckpointError."""
        folder, settings = open_run(folder)
        if not settings.get("convention"):
            raise CheckpointError(f"{folder}/config.json does not describe a published model")
        with described_by(folder, "a published model"):
            settings["objective"] = Objective(**settings["objective"])
            config = PublishedConfig(**settings)
            network, network_config = NETWORKS[config.denoiser]
            gone = set(FORMER) - network_config.__dataclass_fields__.keys()
            parts = {name: value for name, value in config.denoiser_config.items() if name not in gone}
            denoiser = network(network_config(**parts))
            autoencoder = load_autoencoder(inside(folder, config.autoencoder))
            model = cls(config, text_of(denoiser, config), denoiser, autoencoder)
        load_weights(model, folder)
        return model.to(device).eval()


def text_of(denoiser: PublishedDiT | PublishedUViT, config: PublishedConfig) -> ClassLabels | ClipTokens:
    """What encodes the prompts of a network."""
    if denoiser.config.classes:
        return ClassLabels(denoiser.config.classes, config.null_class)
    text = ClipTokens(config.text)
    if text.width != denoiser.config.text_width:
        raise ValueError(f"the network reads tokens of width {denoiser.config.text_width}, not {text.width}")
    return text
