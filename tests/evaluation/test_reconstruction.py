"""The numbers of an autoencoder, against what they are defined as."""

import json
import subprocess
import sys

import pytest
import torch
from conftest import ROOT

from lite_sora.autoencoders import load_autoencoder
from lite_sora.autoencoders.saved import save_folder
from lite_sora.autoencoders.vq import VQAutoencoder, VQConfig
from lite_sora.data.loading import batches, to_model_range
from lite_sora.data.windows import VideoDataset
from lite_sora.evaluation.reconstruction import clips_of, collapse, evaluate, measure, report


@pytest.fixture(scope="module")
def run(toy, tmp_path_factory):
    torch.manual_seed(0)
    model = VQAutoencoder(VQConfig((4, 4, 4), channels=8, blocks=1, quantizer="fsq", levels=[4, 3])).eval()
    training = {"manifest": str(toy), "allow_outside": False, "held_out_clips": 3}
    folder = tmp_path_factory.mktemp("run")
    save_folder(model, folder, training | {"frames": 4, "height": 16, "width": 16, "fps": 8.0})
    return folder


def test_pixels_come_back_as_they_were(toy):
    dataset = VideoDataset(clips_of(toy, held_out=True), toy.parent, 8, 16, 16, 8.0)
    result = measure(load_autoencoder("pixel"), dataset, batch=3)
    assert result["clips"] == 4 and result["psnr"] > 99 and result["ssim"] == pytest.approx(1)
    video = to_model_range(next(iter(batches(dataset, [[(index, 0) for index in range(4)]], workers=0))).video)
    assert result["latent_mean"] == pytest.approx(video.mean((0, 2, 3, 4)).tolist(), abs=1e-5)
    spread = video.std((0, 2, 3, 4), correction=0).tolist()
    assert result["latent_spread"] == pytest.approx(spread, abs=1e-5)
    assert result["perplexity"] is None and "perplexity" not in report(result | {"held_out": True})


def test_a_run_is_measured_on_what_it_was_not_trained_on(toy, run):
    result = evaluate(run)
    assert result["held_out"] and result["clips"] == 3 and result["codes"] == 12
    assert 1 <= result["perplexity"] <= 12 and len(result["latent_mean"]) == 2
    assert evaluate(run, clips=4)["clips"] == 4
    with pytest.raises(ValueError, match="there is no such manifest"):
        evaluate(run, toy.parent / "nowhere.jsonl")
    with pytest.raises(ValueError, match="config.json does not exist: this is not the run folder of an autoencoder"):
        evaluate(toy.parent)


def test_the_command_prints_what_python_measures(run, toy):
    command = [sys.executable, "-m", "lite_sora.evaluation.reconstruction", "--run", str(run), "--device", "cpu"]
    done = subprocess.run([*command, "--data", str(toy), "--json"], cwd=ROOT, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    printed, measured = json.loads(done.stdout), evaluate(run, toy)
    assert printed.keys() == measured.keys()
    for name, value in measured.items():  # another process may add up in another order
        assert printed[name] == pytest.approx(value, rel=1e-5), name
    done = subprocess.run([*command, "--data", "nowhere.jsonl"], cwd=ROOT, capture_output=True, encoding="utf-8")
    assert done.returncode == 1 and "nowhere.jsonl: there is no such manifest" in done.stderr


def test_a_collapsed_codebook_is_told_with_what_to_do():
    assert collapse(60.0, 1000) is None and collapse(2.0, 16) is None
    assert "--quantizer fsq" in collapse(30.0, 1000)
    numbers = {"clips": 1, "held_out": False, "psnr": 20.0, "ssim": 0.5, "latent_mean": [0.0], "latent_spread": [1.0]}
    text = report(numbers | {"perplexity": 1.1, "codes": 16})
    assert "of those for training" in text and "warning: the codebook has collapsed: a perplexity of 1.1" in text
