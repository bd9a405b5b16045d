"""The flags of the denoiser, among them those that choose its parts, and the configuration that they come to."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch

from lite_sora.autoencoders import load_autoencoder
from lite_sora.configuration import TextToVideoConfig, network_of
from lite_sora.data.buckets import parse_bucket
from lite_sora.denoisers import DENOISERS
from lite_sora.denoisers.uvit import SKIPS
from lite_sora.denoisers.variants import ATTENTIONS, CONDITIONINGS, WORDS
from lite_sora.diffusion.path import PATHS
from lite_sora.diffusion.presets import PRESETS
from lite_sora.layers.blocks import MLPS, NORMS
from lite_sora.pipeline import TextToVideo
from lite_sora.text.pretrained import PretrainedText
from lite_sora.training.flags import RunSettings, TrainingError, flag

NETWORK_PARTS = (
    *("conditioning", "words", "attention", "window", "shared_adaln"),
    *("skip", "mlp", "norm", "qk_norm", "rope"),
)
OBJECTIVE_PARTS = ("path", "prediction", "weighting", "time", "shift")
SIZES = "; ".join(f"{name}: {', '.join(networks[0].sizes)}" for name, networks in DENOISERS.items())


@dataclass
class DenoiserSettings(RunSettings):
    # the network
    denoiser: str = flag("dit", "the transformer", choices=DENOISERS)
    size: str = flag("toy", f"its size; {SIZES}")
    patch: list[int] | None = flag(
        None, "its patches: frames, height, width (default: 2 8 8, or 1 2 2 with --autoencoder)"
    )
    autoencoder: str = flag("pixel", "video autoencoder: pixel (none), a run of `train.py autoencoder`, or diffusers'")
    text: str = flag("words", "text encoder: words, trained along, or the folder or hub id of a CLIP or T5")
    text_depth: int = flag(0, "transformer blocks of the text encoder, after its word embeddings")
    signals: list[str] = flag(
        [], "condition on these too: numbers in the clips' stats, such as speed, or classes, such as camera:4"
    )
    conditioning: str | None = flag(
        None, "dit, sit: how t and the caption steer it (default: adaln-zero)", choices=list(CONDITIONINGS)
    )
    words: str | None = flag(None, "dit, sit: where the caption's words are (default: sequence)", choices=list(WORDS))
    attention: str | None = flag(
        None, "dit, sit: between all patches, within space and time in turn, or in windows", choices=list(ATTENTIONS)
    )
    window: list[int] | None = flag(None, "of --attention windows: patches in time, height, width (default: 2 4 4)")
    shared_adaln: bool | None = flag(None, "dit, sit: one modulation for all blocks")
    skip: str | None = flag(None, "uvit: its long skip connections (default: concat)", choices=list(SKIPS))
    mlp: str | None = flag(None, "the feed-forward network (default: gelu)", choices=list(MLPS))
    norm: str | None = flag(None, "layer norm or rms norm (default: layer)", choices=list(NORMS))
    qk_norm: bool | None = flag(None, "a norm on queries and keys (default: true)")
    rope: bool | None = flag(None, "rotary positions in attention (default: true)")
    frame_levels: float = flag(
        0.0, "share of clips that get a noise level for each frame, some of which are known: for --image, --extend"
    )

    # the objective: a preset, and parts that differ from it
    objective: str = flag("toy", "a named combination", choices=list(PRESETS))
    path: str | None = flag(None, "linear, gvp, vp or cosine")
    prediction: str | None = flag(None, "x0, noise, v, velocity, score or edm")
    weighting: str | None = flag(None, "none, velocity, snr, min-snr, soft-min-snr, sigmoid or edm")
    time: str | None = flag(None, "the density that t is drawn from: uniform, logit-normal, mode, cosmap, jit or edm")
    shift: float | None = flag(None, "how far t is shifted towards noise; 1 is not at all")

    # what it learns from
    frames: int | None = flag(None, "frames of a clip (default: 8, or 9 with --autoencoder: the first and 4 times 2)")
    buckets: list[str] = flag(
        [], "train on many shapes: frames x height x width of each, such as 8x32x32 8x24x40; or auto, from the clips"
    )
    pack: bool = flag(False, "with --buckets: clips of all of them share one sequence, and none waits for its like")
    caption_dropout: float = flag(0.1, "fraction of captions that are emptied, for classifier-free guidance")
    original_captions: float = flag(
        0.0, "fraction of captions as they were before the clips were recaptioned; DALL-E 3 takes 0.05"
    )
    overfit: int | None = flag(None, "a first check: overfit this many clips, and show them next to the samples")
    adherence_clips: int = flag(128, "clips to judge at the end, on the toy world; 0 for none")

    FREE: ClassVar[set[str]] = RunSettings.FREE | {"adherence_clips"}

    def __post_init__(self):
        pixels = self.autoencoder == "pixel"
        self.frames = (8 if pixels else 9) if self.frames is None else self.frames
        self.patch = self.patch or ([2, 8, 8] if pixels else [1, 2, 2])
        if self.buckets and self.buckets != ["auto"]:  # the first is what samples are made at
            try:
                self.frames, self.height, self.width = [parse_bucket(text) for text in self.buckets][0]
            except ValueError as error:
                raise TrainingError(f"--buckets {error}") from None

    def check(self) -> None:
        super().check()
        if self.overfit is not None and self.overfit < 1:
            raise TrainingError(f"--overfit must be at least 1, not {self.overfit}")
        for name in ("original_captions", "frame_levels"):
            if not 0 <= getattr(self, name) <= 1:
                raise TrainingError(f"--{name.replace('_', '-')} is a fraction, 0 to 1, not {getattr(self, name)}")
        if self.pack and not self.buckets:
            raise TrainingError("--pack is for clips of many shapes: name them by --buckets, or pass --buckets auto")
        if len(self.patch) != 3:
            raise TrainingError("--patch takes three numbers: frames, height, width")


def open_autoencoder(name: str):
    """The autoencoder of --autoencoder. Raises TrainingError."""
    try:
        return load_autoencoder(name)
    except ValueError as error:
        raise TrainingError(f"--autoencoder {name}: {error}") from None


def model_config(settings: DenoiserSettings, autoencoder) -> TextToVideoConfig:
    """What to build. Raises TrainingError for sizes, patches or parts that do not fit together."""
    try:
        _, *sizes = autoencoder.latent_shape(settings.frames, settings.height, settings.width)
    except ValueError as error:
        raise TrainingError(f"--autoencoder {settings.autoencoder}: {error}") from None
    for flag_name, size, patch in zip(("frames", "height", "width"), sizes, settings.patch, strict=True):
        if size % patch:
            given = getattr(settings, flag_name)
            after = "" if given == size else f" is {size} in the latents, which"
            raise TrainingError(
                f"--{flag_name} {given}{after} does not divide by {patch}, the patch "
                f"(--patch {' '.join(map(str, settings.patch))})"
            )
    try:
        objective = replace(PRESETS[settings.objective], **given_parts(settings, OBJECTIVE_PARTS))
    except ValueError as error:
        raise TrainingError(f"--{error}") from None

    known = DENOISERS[settings.denoiser][0].sizes
    if settings.size not in known:
        raise TrainingError(f"--size {settings.size}: {settings.denoiser} has the sizes {', '.join(known)}")
    network = {"patch": settings.patch} | known[settings.size] | given_parts(settings, NETWORK_PARTS)
    if settings.frame_levels:
        network["frame_levels"] = True
    text = absolute(settings.text)
    config = TextToVideoConfig(
        denoiser=settings.denoiser,
        denoiser_config=network,
        autoencoder=absolute(settings.autoencoder),
        text=text,
        text_depth=settings.text_depth,
        text_width=network["width"] if text == "words" else PretrainedText(text).width,
        objective=objective,
        **{name: getattr(settings, name) for name in ("frames", "height", "width", "fps")},
    )
    try:
        network_of(config, autoencoder)
    except ValueError as error:
        raise TrainingError(f"the parts of the denoiser do not fit together: {error}") from None
    return config


def limits(model: TextToVideo) -> list[str]:
    """What is known beforehand to keep a model from learning at this size, each with what to do about it."""
    network, objective, found = model.denoiser.config, model.objective, []
    values = network.channels * math.prod(network.patch)
    if objective.prediction != "x0" and values > network.width:  # noise fills all directions alike (2511.13720)
        lost = 1 - network.width / values
        found.append(
            f"a patch of {values} values passes {network.width} channels, so that {lost:.0%} of the noise in "
            f"--prediction {objective.prediction} cannot come out (arXiv 2511.13720). Try --prediction x0 --weighting "
            "velocity, a smaller --patch or a larger --size"
        )
    median = PATHS[objective.path].log_snr(objective.draw_times(torch.tensor([0.5]))).item()
    if median > -1 and model.config.autoencoder == "pixel":
        found.append(
            f"half of the times are at a log-SNR above {median:.1f}, but the motion of so small a video is decided "
            "below -4: in 400 steps, such times taught 10 % of the toy world's motions, and those of --objective toy "
            "84 %. Try --time logit-normal --shift 6, or more steps"
        )
    return found


def say_limits(model: TextToVideo) -> None:
    for limit in limits(model):
        print(f"note: {limit}")


def given_parts(settings: RunSettings, names: tuple[str, ...]) -> dict:
    """The flags among `names` that are not None."""
    return {name: getattr(settings, name) for name in names if getattr(settings, name) is not None}


def absolute(name: str) -> str:
    """A folder's absolute path, since a run may be used from another folder; a name or hub id as it is."""
    return str(Path(name).resolve()) if Path(name).is_dir() else name
