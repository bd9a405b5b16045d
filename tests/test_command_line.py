"""The README's commands, as a newcomer types them: train for a few steps, generate, read back."""

import json
import subprocess
import sys

import av
import pytest
from captioning.writer import save_writer
from commands import GENERATE, TRAIN, run
from PIL import Image

from lite_sora.data.video import probe
from lite_sora.evaluation.adherence import measure
from lite_sora.pipeline import TextToVideo


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder in which `train.py` has run for a few steps, toy world and all."""
    folder = tmp_path_factory.mktemp("home")
    flags = "--steps 6 --batch-size 8 --toy-clips 64 --sample-every 3 --adherence-clips 4 --device cpu --out runs/toy"
    python = [sys.executable, str(TRAIN), *flags.split()]  # a new process, as any user's
    done = subprocess.run(python, cwd=folder, capture_output=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert "runs/toy/model.safetensors" in done.stdout and "prompt adherence" in done.stdout
    assert 'python generate.py "a red circle moving right" --run runs/toy' in done.stdout
    return folder


def test_training_leaves_the_toy_world_and_a_run(home):
    assert len((home / "data/toy-64-clips/manifest.jsonl").read_text(encoding="utf-8").splitlines()) == 64
    assert len(list((home / "data/toy-64-clips/videos").glob("*.mp4"))) == 64
    assert json.loads((home / "runs/toy/adherence.json").read_text(encoding="utf-8"))["seen"]["clips"] == 4
    assert not list(home.rglob("*.part*"))


def test_generate_writes_an_mp4_and_a_gif_that_open_anywhere(home):
    done = run(GENERATE, "a red circle moving right", "--out", "videos", cwd=home)
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
    run(GENERATE, *flags.split(), "--seed", "7", "--upscale", "64", "--out", "more", cwd=home)
    names = sorted(path.name for path in (home / "more").glob("*.mp4"))
    assert names == ["a-blue-square-moving-up-seed7.mp4", "a-red-circle-moving-right-seed7.mp4"]
    info = probe(home / "more" / names[0])
    assert (info.width, info.height, info.fps) == (128, 64, 4.0) and info.duration == pytest.approx(1.0)


def test_generate_never_writes_over_a_video_that_was_made_in_another_way(home):
    name, out = "a-red-circle-seed0", home / "twice"

    def generate(*flags):
        run(GENERATE, "a red circle", *flags, cwd=home)
        return {path.name: path.read_bytes() for path in out.iterdir() if path.suffix in (".mp4", ".gif")}

    always = ["--out", "twice", "--upscale", "32"]
    plain = generate(*always)
    assert sorted(plain) == [f"{name}.gif", f"{name}.mp4"]
    assert generate(*always, "--guidance", "1.5") == plain  # which is what the run's config.json says
    short = generate(*always, "--frames", "4", "--guidance-interval", "0", "0.5")
    assert sorted(short.keys() - plain.keys()) == [f"{name}-2.gif", f"{name}-2.mp4"] and plain.items() <= short.items()
    assert generate(*always, "--frames", "4", "--guidance-interval", "0", "0.5") == short  # the same command again
    other = generate(*always, "--sampler", "ddim")
    assert sorted(other.keys() - short.keys()) == [f"{name}-3.gif", f"{name}-3.mp4"] and short.items() <= other.items()
    assert generate(*always) == other
    made = json.loads((out / "made.json").read_text(encoding="utf-8"))
    assert [made[each]["sampler"] for each in (name, f"{name}-2", f"{name}-3")] == ["euler", "euler", "ddim"]
    assert made[name]["run"] == "runs/toy" and made[name]["steps"] == 12 and made[f"{name}-2"]["frames"] == 4


def test_generate_says_first_which_run_it_took_and_warns_of_sizes_it_was_not_trained_at(home):
    done = run(GENERATE, "a red circle", "--steps", "1", "--out", "sizes", cwd=home)
    assert done.stderr.startswith("runs/toy: a text-to-video model of 8 frames at 32×32 px\n")
    assert "warning" not in done.stderr
    flags = ["--steps", "1", "--out", "sizes", "--width", "64"]
    done = run(GENERATE, "a red circle", *flags, cwd=home)
    assert "warning: trained on 8 frames at 32×32 px, asked for 8 frames at 64×32 px: expect repeated" in done.stderr


def test_generate_warns_of_a_word_it_never_saw(home):
    done = run(GENERATE, "a purple circle moving right", "--steps", "1", cwd=home)
    assert "never saw the word 'purple'" in done.stderr
    assert "never saw" not in run(GENERATE, "a red circle", "--steps", "1", cwd=home).stderr


@pytest.mark.parametrize(
    "flags, message",
    [
        ([], "no prompt"),
        (["x", "--run", "nowhere"], "nowhere"),
        (
            ["x", "--frames", "3"],
            "3 frames, 32×32, does not divide into patches of 2×8×8; choose --frames, ",
        ),
        (["x", "--device", "nonsense"], "--device nonsense: this machine has cpu"),
        (["x", "--steps", "0"], "--steps"),
        (["--file", "missing.txt"], "missing.txt"),
        (["a purple ball", "--upsample", "toy"], "'purple', which the toy world's rules do not understand"),
        (["x", "--upsample", "nowhere/writer"], "nowhere/writer: no causal language model can be loaded"),
    ],
)
def test_generate_says_what_is_wrong(home, flags, message):
    assert message in run(GENERATE, *flags, cwd=home, fails=True).stderr


def test_train_says_what_is_wrong(home):
    assert "no stage 'dance'" in run(TRAIN, "dance", cwd=home, fails=True).stderr
    assert "nowhere.jsonl" in run(TRAIN, "--data", "nowhere.jsonl", cwd=home, fails=True).stderr
    assert "data/toy-64-clips/manifest.jsonl" in run(TRAIN, "--data", "data/toy-64-clips", cwd=home, fails=True).stderr
    slip = run(TRAIN, "--autoencoder", "runs/nothing", cwd=home, fails=True).stderr
    assert "runs/nothing: there is no such folder in runs" in slip and "diffusers" not in slip
    assert "nothing to resume" in run(TRAIN, "--resume", "nowhere", cwd=home, fails=True).stderr


def test_adherence_from_the_command_line_is_what_python_measures(home):
    words = "-m lite_sora.evaluation.adherence --run runs/toy --clips 4 --steps 2 --json --device cpu"
    done = run(*words.split(), cwd=home)
    assert done.stderr.startswith("runs/toy: a text-to-video model of 8 frames at 32×32 px\n")
    result = json.loads(done.stdout)
    again = measure(TextToVideo.from_pretrained(home / "runs/toy"), clips=4, steps=2)
    assert result["seen"] == again["seen"] and result["held-out"] == again["held-out"]


def test_a_second_run_takes_another_name_and_the_world_that_is_there(home):
    before = (home / "data/toy-64-clips/manifest.jsonl").stat().st_mtime_ns
    flags = "--steps 1 --batch-size 8 --toy-clips 64 --sample-every 0 --adherence-clips 0 --device cpu"
    (home / "runs/toy-clips-64-batch-size-8").mkdir()
    (home / "runs/toy-clips-64-batch-size-8/config.json").write_text("{}", encoding="utf-8")
    done = run(TRAIN, *flags.split(), cwd=home)
    assert "runs/toy-clips-64-batch-size-8-2/" in done.stdout and "writing toy clips" not in done.stderr
    assert (home / "data/toy-64-clips/manifest.jsonl").stat().st_mtime_ns == before


def test_generate_upsamples_by_the_toy_worlds_rules(home):
    flags = ["--seed", "3", "--steps", "1", "--out", "upsampled"]
    command = [GENERATE, "red ball going right", "something green", *flags, "--upsample", "toy"]
    done = run(*command, cwd=home)
    assert "'red ball going right' upsampled: 'a red circle moving right'" in done.stdout
    assert "'something green' upsampled: 'a green " in done.stdout and "never saw" not in done.stderr
    assert (home / "upsampled/something-green-seed3.mp4").is_file()  # named as the user named it
    run(GENERATE, "a red circle moving right", *flags, cwd=home)
    names = ("red-ball-going-right", "a-red-circle-moving-right")
    told, same = (home / f"upsampled/{name}-seed3.gif" for name in names)
    assert told.read_bytes() == same.read_bytes()


def test_generate_upsamples_with_a_language_model(home):
    save_writer(home / "writer")
    flags = ["--upsample", "writer", "--steps", "1", "--out", "written"]
    done = run(GENERATE, "a dog", *flags, cwd=home)
    assert "'a dog' upsampled: '" in done.stdout and "'a dog' upsampled: 'a dog'" not in done.stdout
    assert (home / "written/a-dog-seed0.mp4").is_file()
