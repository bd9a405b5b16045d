"""Training an autoencoder: exact resuming, orderly stops, what a run folder holds, and what is refused."""

import json
import signal

import commands
import pytest
import torch
from commands import TRAIN, Command
from test_training import wait_for_step

from lite_sora.autoencoders import load_autoencoder
from lite_sora.autoencoders.quantizers import EMACodebook
from lite_sora.data.clip import read_manifest, write_manifest
from lite_sora.data.loading import batches, to_model_range
from lite_sora.data.windows import VideoDataset
from lite_sora.evaluation.reconstruction import evaluate
from lite_sora.storage.checkpoint import load_state
from lite_sora.storage.runs import CheckpointError
from lite_sora.training import autoencoder
from lite_sora.training.autoencoder import AutoencoderSettings, train
from lite_sora.training.flags import TrainingError, parse
from lite_sora.training.metrics import read_lines

KL = "--frames 7 --channels 8 --latent-channels 4"
VQ = "--kind vq --frames 8 --channels 8 --codes 16 --code-width 4"


def tiny_flags(manifest, network: str = KL) -> list[str]:
    flags = "--height 16 --width 16 --batch-size 4 --warmup 2 --sample-every 0 --precision fp32 --device cpu"
    return ["--data", str(manifest), *flags.split(), "--held-out-clips", "2", *network.split()]


def run(*flags: str):
    return train(parse(AutoencoderSettings, list(flags), "test"))


def same_everywhere(one, other) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same_everywhere(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same_everywhere, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


@pytest.mark.parametrize(
    "network", [KL + " --gan-weight 0.5 --gan-start 1", VQ, VQ + " --quantizer fsq --levels 4 3 --loss l1"]
)
def test_resuming_gives_bit_identical_weights_and_metrics(toy, tmp_path, network):
    flags = [*tiny_flags(toy, network), "--steps", "4"]
    run(*flags, "--out", str(tmp_path / "whole"))
    run(*flags, "--stop-after", "2", "--out", str(tmp_path / "parts"))
    assert load_state(tmp_path / "parts")["step"] == 2
    run("--resume", str(tmp_path / "parts"))
    assert same_everywhere(load_state(tmp_path / "whole"), load_state(tmp_path / "parts"))
    lines = [read_lines(tmp_path / name / "metrics.jsonl") for name in ("whole", "parts")]
    for line in (*lines[0], *lines[1]):
        line.pop("clips_per_second")
    assert len(lines[0]) == 4 and lines[0] == lines[1]
    assert ("adversarial" in lines[0][3]) == ("discriminator" in lines[0][3]) == ("gan" in network)
    assert "adversarial" not in lines[0][0] and ("perplexity" in lines[0][0]) == ("vq" in network)


def test_a_run_folder_holds_all_that_was_promised(toy, tmp_path, capsys):
    folder = run(*tiny_flags(toy), "--steps", "2", "--sample-every", "1", "--out", str(tmp_path / "run"))
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    pictures = {f"samples/{step:06d}.{kind}" for step in (1, 2) for kind in ("png", "gif")}
    weights = {"config.json", "model.safetensors", "state.pt", "metrics.jsonl", "curves.png", "reconstruction.json"}
    assert names == weights | pictures
    out = capsys.readouterr().out
    result = json.loads((folder / "reconstruction.json").read_text(encoding="utf-8"))
    assert result == evaluate(folder) and result["held_out"] and result["clips"] == 2
    assert f"PSNR {result['psnr']:.2f} dB" in out and "latents'   mean" in out and "latents' spread" in out
    sizes = "--frames 7 --height 16 --width 16"
    assert f"try: python train.py --autoencoder {folder} {sizes} --data {toy}" in out


def test_latents_of_training_data_have_mean_0_and_variance_1(toy, tmp_path):
    folder = run(*tiny_flags(toy), "--steps", "1", "--out", str(tmp_path / "run"))
    clips = [clip for clip in read_manifest(toy) if clip.split == "train"]
    dataset = VideoDataset(clips, toy.parent, 7, 16, 16, 8.0)
    video = to_model_range(next(iter(batches(dataset, [[(index, 0) for index in range(60)]], workers=0))).video)
    latents = load_autoencoder(folder).encode(video)
    assert latents.mean((0, 2, 3, 4)).abs().max() < 1e-4 and latents.square().mean().sub(1).abs() < 1e-3


def test_it_learns(toy, tmp_path):
    folder = run(*tiny_flags(toy), "--steps", "30", "--out", str(tmp_path / "run"))
    values = [line["psnr"] for line in read_lines(folder / "metrics.jsonl")]
    assert sum(values[-5:]) / 5 > sum(values[:5]) / 5 + 3  # dB


def test_a_codebook_follows_the_latents(toy, tmp_path):
    folder = run(*tiny_flags(toy, VQ), "--steps", "3", "--out", str(tmp_path / "run"))
    codebook = load_autoencoder(folder).model.quantizer
    assert isinstance(codebook, EMACodebook) and codebook.counts.sum() > 16
    assert all(1 < line["perplexity"] <= 16 for line in read_lines(folder / "metrics.jsonl"))


def test_clips_need_no_captions(toy, tmp_path):
    rows = list(read_manifest(toy))[:4]
    bare = tmp_path / "bare.jsonl"
    write_manifest(bare, [type(row)(row.id, str(toy.parent / row.video), "") for row in rows])
    folder = run(*tiny_flags(bare), "--allow-outside", "--steps", "1", "--out", str(tmp_path / "run"))
    assert not evaluate(folder)["held_out"]  # there is no other clip


def test_ctrl_c_saves_and_says_so(toy, tmp_path):
    flags = ["autoencoder", *tiny_flags(toy), "--steps", "5000", "--out", "run"]
    process = Command(TRAIN, *flags, cwd=tmp_path)
    wait_for_step(tmp_path / "run", 2, process)
    process.signal(signal.SIGINT)
    process.wait(60)
    assert process.returncode == 0, process.stderr
    assert "python train.py autoencoder --resume run" in process.stdout
    assert load_state(tmp_path / "run")["step"] == read_lines(tmp_path / "run" / "metrics.jsonl")[-1]["step"]
    load_autoencoder(tmp_path / "run")


@pytest.mark.parametrize("kind", ["kl", "vq"])
def test_two_processes_learn_what_one_does(kind, toy, tmp_path):
    """Up to where the discriminator comes in, whose weight is balanced in each process, and then averaged."""
    flags = tiny_flags(toy, f"{KL if kind == 'kl' else VQ} --gan-weight 0.5 --gan-start 2 --lr 1e-3 --muon-lr 1e-3")
    flags += ["--steps", "4"]
    one = run(*flags, "--out", str(tmp_path / "one"))
    commands.run(TRAIN, "autoencoder", *flags, "--out", "two", cwd=tmp_path, ranks=2)
    one, two = (read_lines(folder / "metrics.jsonl") for folder in (one, tmp_path / "two"))
    assert len(one) == len(two) == 4
    for a, b in zip(one[:2], two[:2], strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-4)
    assert two[3]["adversarial"] is not None and two[3]["discriminator"] > 0


def test_a_loss_that_is_not_finite_skips_the_step_and_ten_end_the_run(toy, tmp_path, monkeypatch):
    real, calls = autoencoder.l2, []

    def sometimes_nan(video, other):
        calls.append(1)
        return real(video, other) * (float("nan") if len(calls) in bad else 1)

    monkeypatch.setattr(autoencoder, "l2", sometimes_nan)
    bad = {2}
    run(*tiny_flags(toy), "--steps", "3", "--out", str(tmp_path / "one"))
    lines = read_lines(tmp_path / "one" / "metrics.jsonl")
    assert [line["skipped"] for line in lines] == [False, True, False] and lines[1]["loss"] is None
    assert all(value.isfinite().all() for value in load_state(tmp_path / "one")["model"].values())
    bad = set(range(100))
    with pytest.raises(TrainingError, match="10 steps in a row.*--muon-lr"):
        run(*tiny_flags(toy), "--steps", "50", "--out", str(tmp_path / "many"))


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--frames", "8"], "--frames 8 is not 1 . a multiple of 2.*try 9"),
        (["--frames", "2"], "--frames 2 is not 1"),
        (["--kind", "vq", "--frames", "3"], "--latent-channels: --kind vq has no such part"),
        (["--height", "18"], "--height 18 does not divide by 4"),
        (["--downsample", "3", "4", "4"], "three powers of two"),
        (["--codes", "16"], "--codes: --kind kl has no such part"),
        (["--preset", "huge"], "--preset huge: kl has the presets toy, 2x4x4, 4x8x8"),
        (["--frames", "33"], "too short for 33 frames"),
        (["--data", "nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_bad_settings_name_the_flag_or_the_file(toy, tmp_path, flags, message):
    with pytest.raises((TrainingError, ValueError), match=message):
        run(*tiny_flags(toy), "--steps", "1", "--out", str(tmp_path / "run"), *flags)
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_run_of_another_kind_is_refused(toy, tmp_path):
    run(*tiny_flags(toy), "--steps", "1", "--out", str(tmp_path / "run"))
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match="holds a run already"):
        run(*tiny_flags(toy), "--steps", "1", "--out", str(tmp_path / "run"))
    with pytest.raises(TrainingError, match="at step 1 already"):
        run("--resume", str(tmp_path / "run"))
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before
    with pytest.raises(SystemExit):
        run("--resume", str(tmp_path / "run"), "--channels", "16")
    (tmp_path / "run" / "config.json").write_text('{"denoiser": "dit", "training": {"steps": 3}}', encoding="utf-8")
    with pytest.raises(CheckpointError, match="a text-to-video model, not an autoencoder"):
        run("--resume", str(tmp_path / "run"))
