"""What every denoiser in the table does, and so does one of your own that joins it: `mixer.py` stands for that."""

from argparse import Namespace

import pytest
import torch
from conftest import run_train, tiny_flags
from mixer import Mixer
from test_variants import VARIANTS

from lite_sora.denoisers import DENOISERS
from lite_sora.experiments import compare
from lite_sora.pipeline import TextToVideo
from lite_sora.training.flags import TrainingError
from lite_sora.training.muon import matrices_on_tokens

NAMES = [*DENOISERS, "mixer"]


@pytest.fixture(autouse=True)
def with_mixer(monkeypatch):
    """The one line that a new denoiser needs."""
    monkeypatch.setitem(DENOISERS, "mixer", (Mixer,))


def test_every_denoiser_is_among_the_tested_variants():
    assert {name for name, _ in VARIANTS.values()} == DENOISERS.keys() - {"mixer"}


@pytest.mark.parametrize("name", NAMES)
def test_it_trains_saves_resumes_and_generates(name, toy, tmp_path):
    flags = [*tiny_flags(toy), "--denoiser", name, "--steps", "3", "--checkpoint-every", "2", "--adherence-clips", "0"]
    whole = run_train(*flags, "--out", str(tmp_path / "whole"))
    half = run_train(*flags, "--out", str(tmp_path / "half"), "--stop-after", "2")
    run_train("--resume", str(half))
    one, other = TextToVideo.from_pretrained(whole), TextToVideo.from_pretrained(half)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert type(one.denoiser) in DENOISERS[name]
    video = one.generate(["a red circle moving right"], seeds=[1], steps=2)
    assert video.shape == (1, 3, 8, 32, 32) and video.isfinite().all()
    matrices = matrices_on_tokens(one)
    assert len(matrices) > 2 and all(weight.dim() == 2 for weight in matrices)


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_compared(name, toy, tmp_path):
    flags = tiny_flags(toy)
    options = Namespace(flops=None, steps=12, budget=None, clips=2, flags=flags, out=tmp_path)
    row = compare.make_plan(None, compare.parse_variants(f"{name}:warmup=1"), options)["variants"][f"{name}:warmup=1"]
    assert row["steps"] == 12 and row["flops"] > 0 and row["parameters"] > 0
    assert row["flags"][:2] == ["--denoiser", name]


def test_a_flag_that_a_denoiser_has_not_is_refused(toy, tmp_path):
    for flag in ("--rope", "--qk-norm", "--shared-adaln"):
        with pytest.raises(TrainingError, match=f"{flag}: --denoiser mixer has no such part"):
            run_train(*tiny_flags(toy), "--denoiser", "mixer", flag, "true", "--out", str(tmp_path / "run"))
