"""What a text-to-video model is built of: the config.json of its run, and the classes that it comes to."""

from dataclasses import dataclass, field

from tokenizers import Tokenizer
from torch import nn

from lite_sora.denoisers import find_denoiser
from lite_sora.denoisers.dit import DenoiserConfig
from lite_sora.diffusion.objective import Objective
from lite_sora.text.encoder import TextEncoder
from lite_sora.text.pretrained import PretrainedText


@dataclass
class TextToVideoConfig:
    """Everything but the weights and the vocabulary; saved as config.json."""

    denoiser: str = "dit"
    denoiser_config: dict = field(default_factory=dict)
    autoencoder: str = "pixel"  # or a run of one ("autoencoder": in this folder), or a folder or hub id of diffusers'
    text: str = "words"  # trained along; or the folder or hub id of a pretrained CLIP or T5
    text_width: int = 128
    text_depth: int = 0  # this and the next are of words alone
    text_length: int = 32
    signals: dict = field(default_factory=dict)  # what else it is conditioned on: see `text/signals.py`
    objective: Objective = field(default_factory=Objective)
    # what generation does by default: the size that the model was trained at, and how to sample
    frames: int = 8
    height: int = 32
    width: int = 32
    fps: float = 8.0
    sampler: str = "euler"
    grid: str = "shifted"
    steps: int = 12
    guidance: float = 1.5
    training: dict = field(default_factory=dict)  # the settings of the run that it comes from


def network_of(config: TextToVideoConfig, autoencoder) -> tuple[type[nn.Module], DenoiserConfig]:
    """The denoiser's class, and its own configuration. Raises ValueError for parts that do not fit together."""
    channels, *size = autoencoder.latent_shape(config.frames, config.height, config.width)
    told = {"channels": channels, "size": tuple(size), "text_width": config.text_width}
    return find_denoiser(config.denoiser, config.denoiser_config, told)


def text_encoder_of(config: TextToVideoConfig, tokenizer: Tokenizer | None) -> TextEncoder | PretrainedText:
    """The text encoder. A pretrained one brings its own tokenizer."""
    if config.text != "words":
        return PretrainedText(config.text)
    return TextEncoder(tokenizer, config.text_width, config.text_depth, length=config.text_length)
