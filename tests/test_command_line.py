"""The README's commands, as a newcomer types them: train for a few steps, generate, read back."""

import json
import os
import subprocess
import sys

import av
import pytest
from captioning.writer import save_writer
from conftest import ROOT
from PIL import Image

from lite_sora.data.video import probe
from lite_sora.evaluation.adherence import measure
from lite_sora.pipeline import TextToVideo


def run(command, cwd, fails=False):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, encoding="utf-8", timeout=300
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder in which `train.py` has run for a few steps, toy world and all."""
    folder = tmp_path_factory.mktemp("home")
    flags = "--steps 6 --batch-size 8 --toy-clips 64 --sample-every 3 --adherence-clips 4 --device cpu"
    done = run([str(ROOT / "train.py"), *flags.split()], folder)
    assert "runs/toy/model.safetensors" in done.stdout and "prompt adherence" in done.stdout
    assert 'python generate.py "a red circle moving right" --run runs/toy' in done.stdout
    return folder


def test_training_leaves_the_toy_world_and_a_run(home):
    assert len((home / "data/toy-64-clips/manifest.jsonl").read_text(encoding="utf-8").splitlines()) == 64
    assert len(list((home / "data/toy-64-clips/videos").glob("*.mp4"))) == 64
    assert json.loads((home / "runs/toy/adherence.json").read_text(encoding="utf-8"))["seen"]["clips"] == 4
    assert not list(home.rglob("*.part*"))


def test_generate_writes_an_mp4_and_a_gif_that_open_anywhere(home):
    done = run([str(ROOT / "generate.py"), "a red circle moving right", "--out", "videos"], home)
    mp4, gif = (home / "videos" / f"a-red-circle-moving-right-seed0.{kind}" for kind in ("mp4", "gif"))
    assert mp4.name in done.stdout
    info = probe(mp4)
    assert (info.width, info.height, info.fps) == (256, 256, 8.0) and info.duration == pytest.approx(1.0)
    with av.open(str(mp4)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    with Image.open(gif) as picture:
        assert picture.n_frames == 8 and picture.size == (256, 256) and picture.info["loop"] == 0


def test_generate_options_and_prompts_from_a_file(home):
    (home / "prompts.txt").write_text(
        "a red circle moving right\n\na blue square moving up\na blue square moving up\n", encoding="utf-8"
    )
    flags = (
        "--file prompts.txt --frames 4 --height 16 --width 32 --fps 4 --steps 2 --sampler heun --guidance 1 --batch 2"
    )
    run([str(ROOT / "generate.py"), *flags.split(), "--seed", "7", "--upscale", "64", "--out", "more"], home)
    names = sorted(path.name for path in (home / "more").glob("*.mp4"))
    assert names == [
        "a-blue-square-moving-up-seed7-2.mp4",
        "a-blue-square-moving-up-seed7.mp4",
        "a-red-circle-moving-right-seed7.mp4",
    ]
    info = probe(home / "more" / names[0])
    assert (info.width, info.height, info.fps) == (128, 64, 4.0) and info.duration == pytest.approx(1.0)


def test_generate_warns_of_a_word_it_never_saw(home):
    done = run([str(ROOT / "generate.py"), "a purple circle moving right", "--steps", "1"], home)
    assert "never saw the word 'purple'" in done.stderr
    assert "never saw" not in run([str(ROOT / "generate.py"), "a red circle", "--steps", "1"], home).stderr


@pytest.mark.parametrize(
    "flags, message",
    [
        ([], "no prompt"),
        (["x", "--run", "nowhere"], "nowhere"),
        (["x", "--frames", "3"], "does not divide"),
        (["x", "--steps", "0"], "--steps"),
        (["--file", "missing.txt"], "missing.txt"),
        (["a purple ball", "--upsample", "toy"], "'purple', which the toy world's rules do not understand"),
        (["x", "--upsample", "nowhere/writer"], "nowhere/writer: no causal language model can be loaded"),
    ],
)
def test_generate_says_what_is_wrong(home, flags, message):
    assert message in run([str(ROOT / "generate.py"), *flags], home, fails=True).stderr


def test_train_says_what_is_wrong(home):
    assert "no stage 'dance'" in run([str(ROOT / "train.py"), "dance"], home, fails=True).stderr
    assert "nowhere.jsonl" in run([str(ROOT / "train.py"), "--data", "nowhere.jsonl"], home, fails=True).stderr
    assert "nothing to resume" in run([str(ROOT / "train.py"), "--resume", "nowhere"], home, fails=True).stderr


def test_adherence_from_the_command_line_is_what_python_measures(home):
    done = run(
        [
            "-m",
            "lite_sora.evaluation.adherence",
            "--run",
            "runs/toy",
            "--clips",
            "4",
            "--steps",
            "2",
            "--json",
            "--device",
            "cpu",
        ],
        home,
    )
    result = json.loads(done.stdout)
    again = measure(TextToVideo.from_pretrained(home / "runs/toy"), clips=4, steps=2)
    assert result["seen"] == again["seen"] and result["held-out"] == again["held-out"]


def test_a_second_run_takes_another_name_and_the_world_that_is_there(home):
    before = (home / "data/toy-64-clips/manifest.jsonl").stat().st_mtime_ns
    flags = "--steps 1 --batch-size 8 --toy-clips 64 --sample-every 0 --adherence-clips 0 --device cpu"
    done = run([str(ROOT / "train.py"), *flags.split()], home)
    assert "runs/toy-2/" in done.stdout and "writing toy clips" not in done.stderr
    assert (home / "data/toy-64-clips/manifest.jsonl").stat().st_mtime_ns == before


def test_generate_upsamples_by_the_toy_worlds_rules(home):
    flags = ["--seed", "3", "--steps", "1", "--out", "upsampled"]
    command = [str(ROOT / "generate.py"), "red ball going right", "something green", *flags, "--upsample", "toy"]
    done = run(command, home)
    assert "'red ball going right' upsampled: 'a red circle moving right'" in done.stdout
    assert "'something green' upsampled: 'a green " in done.stdout and "never saw" not in done.stderr
    assert (home / "upsampled/something-green-seed3.mp4").is_file()  # named as the user named it
    run([str(ROOT / "generate.py"), "a red circle moving right", *flags], home)
    names = ("red-ball-going-right", "a-red-circle-moving-right")
    told, same = (home / f"upsampled/{name}-seed3.gif" for name in names)
    assert told.read_bytes() == same.read_bytes()


def test_generate_upsamples_with_a_language_model(home):
    save_writer(home / "writer")
    flags = ["--upsample", "writer", "--steps", "1", "--out", "written"]
    done = run([str(ROOT / "generate.py"), "a dog", *flags], home)
    assert "'a dog' upsampled: '" in done.stdout and "'a dog' upsampled: 'a dog'" not in done.stdout
    assert (home / "written/a-dog-seed0.mp4").is_file()
