"""Videos that go on from frames: a first or last image, a film that becomes longer, one that is changed, a loop."""

import numpy as np
import pytest
import torch
from commands import GENERATE, run
from PIL import Image
from test_pipeline import tiny_model

from lite_sora.continuation import extend, most_known
from lite_sora.data.loading import to_frames
from lite_sora.data.video import write_video
from lite_sora.diffusion.frames import Given
from lite_sora.storage.runs import read_json

PROMPTS = ["a red circle moving right", "a blue square"]


@pytest.fixture(scope="module")
def model():
    return tiny_model(denoiser={"frame_levels": True})


def film(frames=4, seed=0):
    return torch.rand((1, 3, frames, 16, 16), generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_known_frames_are_in_the_video_unchanged(model):
    known = film(2)
    free = model.generate(PROMPTS)
    for options in ({}, {"guidance": 3.0, "guidance_rescale": 0.5}, {"sampler": "dpm++2m"}, {"negative": "blue"}):
        made = model.generate(PROMPTS, given=Given(known, (0, -1)), **options)
        assert torch.equal(made[:, :, [0, -1]], known.expand(2, -1, -1, -1, -1)) and made.isfinite().all()
        assert not torch.allclose(made[:, :, 1:3], free[:, :, 1:3], atol=1e-3)


def test_a_model_of_one_level_says_how_to_train_one_that_can():
    with pytest.raises(ValueError, match="--frame-levels 0.5"):
        tiny_model().generate(PROMPTS, given=Given(film(1), (0,)))


@pytest.mark.parametrize("backward", [False, True])
def test_a_film_becomes_longer_and_stays_as_it_was(model, backward):
    start = film(5)
    longer = extend(model, PROMPTS, start, 7, backward, seeds=[1, 2])
    assert longer.shape == (2, 3, 12, 16, 16)
    kept = longer[:, :, 7:] if backward else longer[:, :, :5]
    assert torch.equal(kept, start.expand_as(kept))
    alone = extend(model, PROMPTS[1:], start, 7, backward, seeds=[2])
    assert torch.allclose(alone, longer[1:], atol=1e-5)


def test_a_piece_depends_on_the_frames_before_it(model):
    one, other = (extend(model, PROMPTS[:1], film(4, seed), 2) for seed in (0, 1))
    assert not torch.allclose(one[:, :, 4:], other[:, :, 4:], atol=1e-3)


def test_a_film_that_is_changed_a_little_stays_closer_than_one_that_is_changed_a_lot(model):
    start = film()
    near, far = (model.generate(PROMPTS[:1], given=Given(edit=start, strength=s)) for s in (0.05, 1.0))
    assert (near - start).square().mean() < 0.5 * (far - start).square().mean()
    assert torch.allclose(far, model.generate(PROMPTS[:1]), atol=1e-5)  # at 1, nothing of the film is left


def test_orders_make_other_videos_and_keep_what_is_known(model):
    known = film(1)
    together, *others = (
        model.generate(PROMPTS, given=Given(known, (0,), order=order)) for order in ("together", "pyramid", "chunks")
    )
    for made in others:
        assert torch.equal(made[:, :, :1], known.expand(2, -1, -1, -1, -1)) and made.isfinite().all()
        assert not torch.allclose(made, together, atol=1e-3)
    with pytest.raises(ValueError, match="a loop has no first frame"):
        model.generate(PROMPTS, given=Given(loop=True, order="chunks"))
    with pytest.raises(ValueError, match="--frame-levels 0.5"):
        tiny_model().generate(PROMPTS, given=Given(order="pyramid"))


def test_a_loop_is_another_video(model):
    assert not torch.allclose(model.generate(PROMPTS, given=Given(loop=True)), model.generate(PROMPTS), atol=1e-3)


@pytest.fixture(scope="module")
def home(tmp_path_factory, model):
    home = tmp_path_factory.mktemp("home")
    model.save_pretrained(home / "runs" / "levels")
    tiny_model().save_pretrained(home / "plain")
    for name, value in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        Image.new("RGB", (40, 30), value).save(home / f"{name}.png")
    write_video(home / "film.mp4", to_frames(film(8))[0], 8)
    (home / "text.png").write_text("no picture")
    return home


@pytest.mark.parametrize(
    "flags, frames",
    [
        (["--image", "red.png"], 4),
        (["--between", "red.png", "blue.png"], 4),
        (["--extend", "film.mp4", "--add", "5"], 13),
        (["--extend", "film.mp4", "--backward"], 12),
        (["--edit", "film.mp4", "--strength", "0.4"], 4),
        (["--loop"], 4),
        (["--order", "pyramid"], 4),
        (["--order", "chunks", "--image", "red.png"], 4),
    ],
)
def test_generate_goes_on_from_what_it_is_given(home, flags, frames):
    out = home / "out" / "-".join(flags).replace("/", "")
    run(GENERATE, PROMPTS[0], "--run", "runs/levels", "--out", str(out), "--upscale", "1", *flags, cwd=home)
    with Image.open(out / "a-red-circle-moving-right-seed0.gif") as made:
        assert made.n_frames == frames
        if "red.png" in flags:
            assert np.abs(np.asarray(made.convert("RGB"), float) - (255, 0, 0)).mean() < 8
    (how,) = read_json(out / "made.json").values()
    assert how[flags[0].removeprefix("--")]


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--image", "none.png"], "none.png: there is no such file"),
        (["--image", "text.png"], "text.png"),
        (["--extend", "text.png"], "text.png"),
        (["--image", "red.png", "--run", "plain"], "python train.py --frame-levels 0.5"),
        (["--between", "red.png", "blue.png", "--image", "red.png"], "--between is --image and --last in one"),
        (["--extend", "film.mp4", "--image", "red.png"], "--extend goes on from a video"),
        (["--backward"], "--backward and --add belong to --extend"),
        (["--edit", "film.mp4", "--strength", "2"], "--strength is between 0 and 1, not 2.0"),
        (["--extend", "film.mp4", "--add", "0"], "--add must be at least 1"),
    ],
)
def test_generate_says_what_cannot_be_gone_on_from(home, flags, message):
    run_flags = [] if "--run" in flags else ["--run", "runs/levels"]
    assert message in run(GENERATE, "x", *run_flags, *flags, cwd=home, fails=True).stderr


def test_an_autoencoder_that_packs_frames_cannot_be_told_the_last():
    class Causal:
        def latent_shape(self, frames, height, width):
            if (frames - 1) % 2:
                raise ValueError("1 + 2 k")
            return 4, 1 + (frames - 1) // 2, height // 4, width // 4

    assert most_known(Causal(), 9, (16, 16), backward=False) == 3
    with pytest.raises(ValueError, match="--backward needs a model in pixels"):
        most_known(Causal(), 9, (16, 16), backward=True)
