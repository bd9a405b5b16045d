"""FLOPs against the formula: 6 x parameters x tokens for the matmuls, 12 x depth x width x tokens^2 for attention."""

import pytest
import torch
from test_pipeline import tiny_model

from lite_sora.compute import GPU_PEAKS, known_peak, training_flops


def test_flops_follow_the_formula():
    model, words = tiny_model(), 6
    patches = (4 // 2) * (16 // 8) * (16 // 8)
    tokens, width, depth = patches + words, 48, 2
    blocks = 6 * 12 * width**2 * depth * tokens  # qkv and out: 4 width^2, feed-forward: 8 width^2
    attention = 12 * depth * width * tokens**2
    edges = 6 * 2 * (3 * 2 * 8 * 8) * width * patches  # patch embedding and output
    expected = blocks + attention + edges
    counted = training_flops(model, (3, 4, 16, 16), words)
    # beside these: what acts once a sample (modulation, time), and no gradient is needed for the input video
    assert 0.95 * expected < counted < 1.25 * expected


def test_twice_the_frames_cost_at_least_twice_the_flops():
    model = tiny_model()
    once, twice = (training_flops(model, (3, frames, 64, 64), 4) for frames in (4, 8))
    assert 1.9 < twice / once < 2.6


def test_peaks():
    assert known_peak(torch.device("cpu"), "fp32") > 1e9
    assert all(10e12 < peak < 1e16 for peak in GPU_PEAKS.values())


@pytest.mark.parametrize(
    "name, peak",
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 NVL", 835e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA GeForce RTX 4090", 165.2e12),
        ("NVIDIA A100-SXM4-40GB", 312e12),
        ("Tesla of tomorrow", None),
    ],
)
def test_a_variant_of_a_card_has_its_own_peak(name, peak, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert known_peak(torch.device("cuda"), "bf16") == peak
