"""Flags, settings, and what a run makes of them before and after its loop."""

import json
from types import SimpleNamespace

import pytest
import torch

from lite_sora.autoencoders.pixel import PixelAutoencoder
from lite_sora.processes import Processes
from lite_sora.toy.dataset import toy_manifest
from lite_sora.training.denoiser import DenoiserSettings
from lite_sora.training.flags import TrainingError, parse
from lite_sora.training.loop import finish
from lite_sora.training.parts import model_config


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--frames 0", "--frames must be at least 1, not 0"),
        ("--accumulate 0", "--accumulate must be at least 1, not 0"),
        ("--lr 0", "--lr must be above 0, not 0"),
        ("--patch 2 8", "--patch takes three numbers"),
        ("--no-such-flag 3", "unknown: --no-such-flag 3"),
    ],
)
def test_values_that_mean_nothing_are_refused(flags, message, capsys):
    with pytest.raises(SystemExit):
        parse(DenoiserSettings, flags.split(), "test")
    assert message in capsys.readouterr().err


def test_settings_made_in_python_are_checked_too():
    with pytest.raises(TrainingError, match="--steps must be at least 1"):
        DenoiserSettings(steps=0).check()


def test_folders_of_models_are_named_for_use_from_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vae").mkdir()
    config = model_config(DenoiserSettings(autoencoder="vae", frames=8, patch=[2, 8, 8]), PixelAutoencoder())
    assert config.autoencoder == str(tmp_path / "vae")
    assert model_config(DenoiserSettings(), PixelAutoencoder()).autoencoder == "pixel"


def test_no_run_rewrites_the_toy_world_of_another(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    alone = Processes(0, 1, torch.device("cpu"))
    settings = DenoiserSettings(toy_clips=32)
    first = toy_manifest(settings, alone)
    before = {path: path.stat().st_mtime_ns for path in first.parent.rglob("*")}
    others = [{"fps": 4.0}, {"height": 16, "width": 16}, {"frames": 9}, {"toy_corner": "world"}, {"toy_clips": 33}]
    folders = {toy_manifest(DenoiserSettings(**{"toy_clips": 32} | change), alone).parent for change in others}
    assert len(folders) == len(others) and first.parent not in folders
    assert before == {path: path.stat().st_mtime_ns for path in first.parent.rglob("*")}
    settings = json.loads((tmp_path / "data" / "toy-4-fps-32-clips" / "settings.json").read_text(encoding="utf-8"))
    assert settings["fps"] == 4 and settings["clips"] == 32


def test_clips_that_other_processes_skipped_are_reported(tmp_path, capsys):
    class OneOfTwo(Processes):
        def gather_texts(self, texts):
            return [*texts, "theirs.mp4: broken"]

        def wait(self):
            pass

    stage = SimpleNamespace(
        name="denoiser", processes=OneOfTwo(0, 2, torch.device("cpu")), skipped={"ours.mp4: broken"}
    )
    stage.settings = SimpleNamespace(steps=9)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 1.0, "lr": 0.1, "grad_norm": 1.0}\n', encoding="utf-8")
    finish(stage, tmp_path, 1, None, SimpleNamespace(close=lambda: None))
    assert (tmp_path / "skipped.txt").read_text(encoding="utf-8").splitlines() == [
        "ours.mp4: broken",
        "theirs.mp4: broken",
    ]
    assert "2 clips could not be used" in capsys.readouterr().out
