"""The settings of an autoencoder's training run. Each field is a flag of `train.py autoencoder`, and all are saved in
the run's config.json."""

from dataclasses import dataclass
from typing import Any

from lite_sora.autoencoders import AUTOENCODERS
from lite_sora.autoencoders.losses import PERCEPTUAL
from lite_sora.autoencoders.vq import QUANTIZERS
from lite_sora.toy.world import CORNERS
from lite_sora.training.settings import FREE_ON_RESUME, RunSettings, flag, read_flags

FRAMES = {"kl": 9, "vq": 8}  # of a clip, by default


@dataclass
class AutoencoderSettings(RunSettings):
    # where things are
    out: str | None = flag(
        None, "run folder (default: runs/autoencoders/<kind>-toy, or -<manifest's folder>; -2, -3, … if taken)"
    )
    data: str | None = flag(None, "a manifest (JSONL) of clips (default: the toy world)")
    allow_outside: bool = flag(False, "let the manifest name videos outside its folder")
    toy_corner: str = flag("default", "the part of the toy world to train on", choices=list(CORNERS))
    toy_clips: int = flag(2048, "clips of the toy world")

    # what the model sees
    frames: int | None = flag(None, "frames of a clip: 1 + a multiple for kl, a multiple for vq (default: 9, 8)")
    height: int = flag(32, "height in pixels")
    width: int = flag(32, "width in pixels")
    fps: float = flag(8.0, "frames a second that clips are sampled at")

    # the model: a preset, and parts that differ from it
    kind: str = flag("kl", "a causal VAE, or a VQ-VAE", choices=list(AUTOENCODERS))
    preset: str = flag("toy", "its size: kl: toy, 2x4x4, 4x8x8; vq: toy, videogpt")
    downsample: list[int] | None = flag(None, "what frames, height and width are divided by: powers of two")
    latent_channels: int | None = flag(None, "kl: channels of the latents")
    channels: int | None = flag(None, "channels of the network")
    blocks: int | None = flag(None, "residual blocks: kl: at each resolution; vq: in each half")
    patch: int | None = flag(None, "kl: squares of so many pixels a side are folded into channels first")
    quantizer: str | None = flag(None, "vq: a codebook that follows the latents, or FSQ", choices=list(QUANTIZERS))
    codes: int | None = flag(None, "vq, ema: how many codes")
    code_width: int | None = flag(None, "vq, ema: numbers in a code's vector")
    levels: list[int] | None = flag(None, "vq, fsq: levels of each channel")

    # the loss
    loss: str = flag("l2", "the distance of pixels", choices=["l1", "l2"])
    perceptual: str = flag("gradient", "and of what the eye sees in them", choices=list(PERCEPTUAL))
    perceptual_weight: float = flag(0.1, "how much the perceptual loss counts")
    kl_weight: float = flag(1e-4, "kl: how much a nat in each latent costs")
    commitment_weight: float = flag(1.0, "vq: how much it costs latents to be far from their codes")
    gan_weight: float = flag(0.0, "how much a discriminator counts; 0 for none")
    gan_start: int = flag(300, "the step from which it does")
    gan_lr: float = flag(2e-4, "its learning rate")

    # the optimiser
    steps: int = flag(800, "optimiser steps")
    batch_size: int = flag(8, "clips a step, over all processes")
    optimizer: str = flag(
        "muon", "muon for kernels and matrices and adamw for the rest, or adamw", choices=["muon", "adamw"]
    )
    lr: float = flag(2e-3, "AdamW's highest learning rate")
    muon_lr: float = flag(0.02, "Muon's highest learning rate")
    warmup: int = flag(20, "steps until the highest learning rate")
    weight_decay: float = flag(0.01, "weight decay")

    # the machine
    workers: int = flag(0, "processes that decode clips; they pay where clips do not fit in memory")
    cache_gib: float = flag(2.0, "memory for decoded clips")

    # what is kept
    sample_every: int = flag(100, "steps between reconstructions of held-out clips; 0 for none")
    held_out_clips: int = flag(64, "clips to measure at the end")


# flags that are fields of a network's configuration
NETWORK_PARTS = ("downsample", "latent_channels", "channels", "blocks", "patch")
NETWORK_PARTS += ("quantizer", "codes", "code_width", "levels")

LEAST = {"steps": 1, "batch_size": 1, "checkpoint_every": 1, "toy_clips": 32, "held_out_clips": 1, "sample_every": 0}


def parse(arguments: list[str], description: str) -> tuple[AutoencoderSettings, dict[str, Any]]:
    """Settings from the command line, and which of them were given there. Ends with a usage message if one is wrong."""
    free = (FREE_ON_RESUME - {"adherence_clips"}) | {"held_out_clips"}
    settings, given, parser = read_flags(AutoencoderSettings, arguments, description, LEAST, free)
    return settings, given
