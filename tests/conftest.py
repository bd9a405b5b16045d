"""What many tests need: a small toy world on disk, and train.py as a function."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from lite_sora.toy.dataset import write_toy_dataset  # noqa: E402
from lite_sora.training.denoiser import DenoiserSettings, train  # noqa: E402
from lite_sora.training.flags import parse  # noqa: E402


@pytest.fixture(scope="session")
def toy(tmp_path_factory) -> Path:
    """The manifest of a toy world of 64 clips: 8 frames of 64×64, at 8 frames a second."""
    return write_toy_dataset(tmp_path_factory.mktemp("data") / "toy", clips=64)


def tiny_flags(manifest: Path) -> list[str]:
    """Flags of train.py for a run that takes a second, writes no samples and is not judged."""
    flags = (
        "--batch-size 4 --patch 4 16 16 --warmup 2 --sample-every 0 --adherence-clips 0 --precision fp32 --device cpu"
    )
    return ["--data", str(manifest), *flags.split()]


def run_train(*flags: str) -> Path:
    """train.py with these flags, in this process; returns the run's folder."""
    return train(parse(DenoiserSettings, list(flags), "test"))
