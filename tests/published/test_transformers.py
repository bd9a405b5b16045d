"""The published networks, as ours: the same function, a run folder, and a start for videos."""

import subprocess
import sys

import originals
import pytest
import torch
from conftest import ROOT

from lite_sora.pipeline import TextToVideo
from lite_sora.published.inflate import inflate
from lite_sora.published.transformers import OriginalError, from_original, load


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


DIT_TIMES = torch.tensor([0.0, 500.0, 999.0])


@pytest.mark.parametrize("shapes", [{}, {"patch": 4, "side": 3, "channels": 3, "depth": 3, "classes": 5}])
def test_dit(shapes):
    state = originals.random_state(originals.dit_shapes(**shapes))
    module = from_original("dit", state, heads=3)
    channels, patch, side = (shapes.get(k, v) for k, v in {"channels": 4, "patch": 2, "side": 4}.items())
    x, y = random(3, channels, patch * side, patch * side), torch.tensor([0, 3, 4])
    output = module(x, DIT_TIMES, y)
    assert output.shape == (3, 2 * channels, patch * side, patch * side) and output.std() > 0.1
    close(output, originals.dit(state, x, DIT_TIMES, y, heads=3))
    close(module(x, DIT_TIMES.long(), y), output)  # as DiT's own sampler counts them


def test_sit():
    state = originals.random_state(originals.dit_shapes())
    x, t, y = random(3, 4, 8, 8), torch.tensor([0.0, 0.4, 1.0]), torch.tensor([0, 3, 10])
    output = from_original("sit", state, heads=3)(x, t, y)
    assert output.shape == x.shape and output.std() > 0.1
    close(output, originals.sit(state, x, t, y, heads=3))


@pytest.mark.parametrize(
    "shapes",
    [
        {},
        {"conv": False, "channels": 4, "half": 1, "classes": 11},
        {"classes": 0},
        {"skip": False},
        {"bias": True, "patch": 4},
    ],
)
def test_uvit(shapes):
    state = originals.random_state(originals.uvit_shapes(**shapes))
    side = 4 * shapes.get("patch", 2)
    x, t = random(3, shapes.get("channels", 3), side, side), torch.tensor([0.0, 77.7, 1000.0])
    y = None if shapes.get("classes") == 0 else torch.tensor([0, 3, 9])
    output = from_original("uvit", state, heads=3)(x, t, y)
    assert output.shape == x.shape and output.std() > 0.1
    close(output, originals.uvit(state, x, t, y, heads=3))


@pytest.mark.parametrize(("kind", "width", "heads"), [("dit", 384, 6), ("sit", 384, 6), ("uvit", 512, 8)])
def test_heads_of_the_published_sizes(kind, width, heads):
    shapes = originals.uvit_shapes(width, half=1) if kind == "uvit" else originals.dit_shapes(width, depth=1)
    assert from_original(kind, originals.random_state(shapes)).config.heads == heads


def test_names_as_ddp_saves_them():
    state = originals.random_state(originals.dit_shapes())
    x, y = random(3, 4, 8, 8), torch.tensor([0, 3, 10])
    prefixed = from_original("dit", {f"module.{name}": value for name, value in state.items()}, heads=3)
    assert torch.equal(prefixed(x, DIT_TIMES, y), from_original("dit", state, heads=3)(x, DIT_TIMES, y))


def test_what_is_no_original_is_a_clear_error():
    state = originals.random_state(originals.dit_shapes())
    with pytest.raises(OriginalError, match="width 24 is none of the published .* how many heads"):
        from_original("dit", state)
    with pytest.raises(OriginalError, match="kind 'vit' is not one of dit, sit, uvit"):
        from_original("vit", state)
    with pytest.raises(OriginalError, match="no uvit .*patch_embed.proj.weight"):
        from_original("uvit", state, heads=3)
    with pytest.raises(OriginalError, match=r"no dit .*blocks.1.attn.qkv.weight"):
        from_original("dit", {k: v for k, v in state.items() if k != "blocks.1.attn.qkv.weight"}, heads=3)
    odd = state | {"t_embedder.mlp.0.weight": random(24, 128)}
    with pytest.raises(OriginalError, match=r"no dit [\s\S]*embed_time.mlp.0.weight"):
        from_original("dit", odd, heads=3)
    text = originals.random_state(originals.uvit_shapes()) | {"context_embed.weight": random(24, 768)}
    with pytest.raises(OriginalError, match="U-ViT with text .* not supported"):
        from_original("uvit", text, heads=3)


# ---------------------------------------------------------------- run folders


def command(*words: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *map(str, words)], cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def vae(tmp_path_factory) -> str:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    model = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        latent_channels=4,
    )
    folder = tmp_path_factory.mktemp("vae")
    model.save_pretrained(folder)
    return str(folder)


def test_a_pixel_uvit_becomes_a_run_that_generates_its_classes(tmp_path):
    state = originals.random_state(originals.uvit_shapes(width=512, half=1))
    torch.save(state, tmp_path / "uvit.pth")
    run = tmp_path / "run"
    made = command("-m", "lite_sora.published.transformers", "uvit", tmp_path / "uvit.pth", "--out", run)
    assert made.returncode == 0, made.stderr
    drawn = command("generate.py", "3", "7", "--run", run, "--out", tmp_path / "out", "--steps", "2")
    assert drawn.returncode == 0, drawn.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["3-seed0.png", "7-seed0.png"]
    wrong = command("generate.py", "10", "--run", run, "--out", tmp_path / "out")
    assert wrong.returncode == 1 and "prompt '10' is no class id; this model knows 0 to 9" in wrong.stderr
    wrong = command("generate.py", "3", "--run", run, "--out", tmp_path / "out", "--guidance", "2")
    assert wrong.returncode == 1 and "--guidance must be 1" in wrong.stderr


@pytest.mark.parametrize("kind", ["dit", "sit"])
def test_a_latent_model_becomes_a_run(kind, vae, tmp_path):
    state = originals.random_state(originals.dit_shapes(width=384, depth=1))
    torch.save({"ema": state}, tmp_path / "model.pt")
    run = tmp_path / "run"
    made = command("-m", "lite_sora.published.transformers", kind, tmp_path / "model.pt", "--vae", vae, "--out", run)
    assert made.returncode == 0, made.stderr
    model = TextToVideo.from_pretrained(run)
    videos = model.generate(["3", "9", "3"], seeds=[0, 0, 0], steps=3)
    assert videos.shape == (3, 3, 1, 16, 16) and videos.isfinite().all()
    torch.testing.assert_close(videos[0], videos[2], rtol=0, atol=1e-4)
    assert (videos[0] - videos[1]).abs().max() > 1e-3
    # at our t the denoiser says what the original says at its own
    original, x, label = from_original(kind, state), random(1, 4, 1, 8, 8), torch.tensor([3])
    with torch.no_grad():
        if kind == "dit":
            alpha2 = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)[400]
            found = model._told(label)(x, torch.tensor([_time_on_vp(float(alpha2))]))
            noise, after = (original(x, torch.tensor([step]), label)[:, :4] for step in (400.0, 401.0))
            assert (found - noise).abs().max() < 0.01 * (after - noise).abs().max()
        else:
            found = model._told(label)(x, torch.tensor([0.25]))
            assert torch.equal(found, -original(x, torch.tensor([0.75]), label))


def _time_on_vp(alpha2: float) -> float:
    """Where alpha^2 = exp(-0.1 t - 19.9 t^2 / 2) has this value."""
    c = torch.tensor(alpha2, dtype=torch.float64).log()
    return float((-0.1 + (0.01 - 4 * 9.95 * c).sqrt()) / (2 * 9.95))


def test_a_checkpoint_is_never_executed(tmp_path):
    torch.save({"model": pytest.raises}, tmp_path / "odd.pt")
    with pytest.raises(OriginalError, match="odd.pt is no file of tensors alone"):
        load(tmp_path / "odd.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(OriginalError, match="text.pt is no file of tensors alone"):
        load(tmp_path / "text.pt")
    with pytest.raises(OriginalError, match="there is no such file"):
        load(tmp_path / "none.pt")


def test_latents_need_their_autoencoder(tmp_path):
    torch.save(originals.random_state(originals.dit_shapes(width=384, depth=1)), tmp_path / "model.pt")
    made = command("-m", "lite_sora.published.transformers", "dit", tmp_path / "model.pt", "--out", tmp_path / "run")
    assert made.returncode == 1 and "latents of 4 channels: name their --vae" in made.stderr


# ---------------------------------------------------------------- from images to videos


@pytest.mark.parametrize("patch_frames", [1, 2])
@pytest.mark.parametrize("kind", ["dit", "uvit"])
def test_a_video_of_one_repeated_frame_gives_that_frames_image(kind, patch_frames):
    shapes = originals.dit_shapes() if kind == "dit" else originals.uvit_shapes(channels=4)
    image_model = from_original(kind, originals.random_state(shapes), heads=3)
    model = inflate(image_model, frames=6, patch_frames=patch_frames)
    x, t, y = random(2, 4, 8, 8), torch.tensor([30.0, 700.0]), torch.tensor([1, 5])
    image = image_model(x, t, y)
    for frames in {patch_frames, 4, 6}:
        video = model(x[:, :, None].expand(-1, -1, frames, -1, -1), t, y)
        close(video, image[:, :, None].expand(-1, -1, frames, -1, -1))
    other = random(2, 4, 6, 8, 8)  # frames see one another
    changed = other.clone()
    changed[:, :, -1] += 1
    assert (model(changed, t, y) - model(other, t, y))[:, :, 0].abs().max() > 1e-3


def test_inflated_positions_and_all_weights_learn():
    model = inflate(from_original("dit", originals.random_state(originals.dit_shapes()), heads=3), frames=4)
    video = model(random(2, 4, 4, 8, 8), torch.tensor([30.0, 700.0]), torch.tensor([1, 5]))
    video.square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in model.parameters())


def test_what_cannot_be_inflated_is_a_clear_error():
    image_model = from_original("dit", originals.random_state(originals.dit_shapes()), heads=3)
    with pytest.raises(ValueError, match="only an image model can be inflated"):
        inflate(inflate(image_model, frames=4), frames=8)
    with pytest.raises(ValueError, match="5 frames do not divide into patches of 2"):
        inflate(image_model, frames=5, patch_frames=2)
    with pytest.raises(ValueError, match=r"positions for 1 × 4 × 4 patches .* not for 1 × 5 × 4"):
        image_model(random(1, 4, 10, 8), torch.tensor([1.0]), torch.tensor([1]))
