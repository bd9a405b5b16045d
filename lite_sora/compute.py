"""How much computing a training run takes, and how fast a machine can be: FLOPs and peaks, the two halves of MFU.

FLOPs are counted on torch's "meta" device, where tensors have shapes and no values, so any model can be counted in a
moment. A multiply-add is two FLOPs (the papers' "Gflops" are often multiply-adds: half of that).
"""

import copy
import math
import time

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lite_sora.processes import Processes
from lite_sora.text.encoder import Text

# Peak dense bf16 FLOP/s by a part of the device's name, from the vendors' datasheets (sparse figures are twice that).
# The first part that fits counts, so a card's variants come before its plain name.
GPU_PEAKS = {
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H200": 989e12,
    "H800": 989e12,
    "B200": 2250e12,
    "A100": 312e12,
    "A800": 312e12,
    "L40S": 362e12,
    "4090": 165.2e12,
    "3090": 71e12,
}


class StepCompute:
    """What a training step of a text-to-video model computes, and how much of the machine it uses."""

    def __init__(self, model: nn.Module, captions: list[str], batch_size: int, precision: str, processes: Processes):
        """captions: some of those that are trained on; the longest counts."""
        _, *sizes = shape = model.latent_shape()
        words = model.text.tokenize(captions).shape[1] + len(model.config.signals)  # a token for each
        self.flops = batch_size * training_flops(model, shape, words)
        patch = model.config.denoiser_config["patch"]
        self.tokens = batch_size * math.prod(n // p for n, p in zip(sizes, patch, strict=True))
        peak = known_peak(processes.device, precision)
        self.peak = peak and peak * processes.world

    def rates(self, seconds: float) -> dict:
        """For the metrics of a step that took so long; MFU, model FLOPs utilisation (2204.02311, appendix B), is None
        where the peak is unknown."""
        flops = self.flops / seconds
        mfu = flops / self.peak if self.peak else None
        return {"tokens_per_second": self.tokens / seconds, "flops_per_second": flops, "mfu": mfu}


def training_flops(model: nn.Module, latents: tuple[int, ...], words: int) -> int:
    """FLOPs of one forward and backward pass over one sample: model FLOPs, without what recomputation would add.

    model is a TextToVideo, latents the shape (C, T, H, W), words the number of tokens of its caption.
    """
    denoiser = copy.deepcopy(model.denoiser).to("meta").requires_grad_()
    x, t = torch.empty(1, *latents, device="meta"), torch.empty(1, device="meta")
    with FlopCounterMode(display=False) as counter:
        if isinstance(model.text, nn.Module):  # it is trained along
            ids = torch.ones(1, words, dtype=torch.long, device="meta")
            text = copy.deepcopy(model.text).to("meta").requires_grad_()(ids)
        else:
            tokens = torch.empty(1, words, model.text.width, device="meta")
            text = Text(tokens, torch.ones(1, words, dtype=torch.bool, device="meta"), tokens[:, 0])
        denoiser(x, t, text).sum().backward()
    return counter.get_total_flops()


def known_peak(device: torch.device, precision: str) -> float | None:
    """The device's peak FLOP/s: a GPU's bf16 peak by its datasheet, a CPU's by a quick measurement; None if unknown."""
    if device.type == "cuda" and precision == "bf16":
        name = torch.cuda.get_device_name(device)
        return next((peak for part, peak in GPU_PEAKS.items() if part in name), None)
    if device.type == "cpu":
        return matmul_flops(torch.bfloat16 if precision == "bf16" else torch.float32)
    return None


def matmul_flops(dtype: torch.dtype, size: int = 1024, device: torch.device | str = "cpu", tries: int = 20) -> float:
    """The FLOP/s of the fastest of a few square matmuls."""
    chance = torch.Generator(device)  # of its own: a measurement must not change what is trained
    a, b = (torch.randn(size, size, device=device, generator=chance).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(tries):
        start = time.perf_counter()
        a @ b
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
