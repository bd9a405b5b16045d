"""Published checkpoints as run folders: the command, the pipeline, and folders that earlier versions wrote."""

import json
import re
import sys
from pathlib import Path

import originals
import pytest
import torch
import transformers
from commands import Command
from conftest import ROOT
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from lite_sora.autoencoders import load_autoencoder
from lite_sora.diffusion.presets import PRESETS
from lite_sora.load import load_model, makes_videos
from lite_sora.pipeline import TextToVideo
from lite_sora.published import OriginalError, from_original
from lite_sora.published.__main__ import main
from lite_sora.published.pipeline import PublishedConfig, PublishedTextToVideo, text_of
from lite_sora.published.prompts import ClipTokens
from lite_sora.published.state_dicts import read
from lite_sora.storage.runs import CheckpointError
from lite_sora.text.pretrained import TextError


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def published(*words: object) -> None:
    """`python -m lite_sora.published` with these words, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["lite_sora.published", *map(str, words)])
        main()


def saved(path: Path, shapes: dict) -> Path:
    torch.save(originals.random_state(shapes), path)
    return path


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


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> str:
    """A tiny CLIP of 77 tokens, of width 16, whose padding is its end token, as in the published one."""
    torch.manual_seed(0)
    folder, words = tmp_path_factory.mktemp("clip"), ["<end>", "<start>", "a", "red", "blue", "bus"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<end>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 0)]
    )
    special = {"pad_token": "<end>", "bos_token": "<start>", "eos_token": "<end>", "unk_token": "<end>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    size = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.CLIPTextConfig(vocab_size=len(words), eos_token_id=0, bos_token_id=1, **size)
    transformers.CLIPTextModel(config).save_pretrained(folder)
    return str(folder)


# ---------------------------------------------------------------- of classes


def test_a_pixel_uvit_becomes_a_run_that_generates_its_classes(tmp_path):
    checkpoint, run = saved(tmp_path / "uvit.pth", originals.uvit_shapes(width=512, half=1)), tmp_path / "run"
    made = Command("-m", "lite_sora.published", "uvit", checkpoint, "--out", run).wait()
    assert made.returncode == 0 and made.stderr == ""
    assert made.stdout == f"try: python generate.py 7 --run {run}\n"  # it has ten classes
    drawn = Command("generate.py", "3", "7", "--run", run, "--out", tmp_path / "out", "--steps", "2").wait()
    assert drawn.returncode == 0, drawn.stderr
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["3-seed0.png", "7-seed0.png"]
    wrong = Command("generate.py", "10", "--run", run, "--out", tmp_path / "out").wait()
    why = "the prompt '10' is not a class id; this model knows 0 to 9; choose another run with --run\n"
    assert wrong.returncode == 1 and wrong.stderr.endswith(f"generate.py: {run}: {why}")
    assert wrong.stderr.startswith(f"{run}: a published model of one frame at 8×8 px\n")
    wrong = Command("generate.py", "3", "--run", run, "--out", tmp_path / "out", "--guidance", "2").wait()
    assert wrong.returncode == 1 and "--guidance must be 1" in wrong.stderr
    with pytest.raises(SystemExit, match="contains a run already; choose another --out"):
        published("uvit", checkpoint, "--out", run)


@pytest.mark.parametrize("kind", ["dit", "sit"])
def test_a_latent_model_becomes_a_run(kind, vae, tmp_path, capsys):
    state = originals.random_state(originals.dit_shapes(width=384, depth=1, classes=1001))
    torch.save({"ema": state}, tmp_path / "model.pt")
    run = tmp_path / "run"
    published(kind, tmp_path / "model.pt", "--vae", vae, "--out", run)
    assert capsys.readouterr().out == f"try: python generate.py 207 --run {run}\n"
    model = load_model(run)
    assert isinstance(model, PublishedTextToVideo) and makes_videos(run)
    videos = model.generate(["3", "9", "3"], seeds=[0, 0, 0], steps=3)
    assert videos.shape == (3, 3, 1, 16, 16) and videos.isfinite().all()
    torch.testing.assert_close(videos[0], videos[2], rtol=0, atol=1e-4)
    assert (videos[0] - videos[1]).abs().max() > 1e-3
    # at our t the network's output is the original's at its own
    original, x, label = from_original(kind, state), random(1, 4, 1, 8, 8), torch.tensor([3])
    with torch.no_grad():
        network = model.conditioned(label)
        if kind == "dit":
            alpha2 = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)[400]
            found = network(x, torch.tensor([_time_on_vp(float(alpha2))]))
            noise, after = (original(x, torch.tensor([step]), label)[:, :4] for step in (400.0, 401.0))
            assert (found - noise).abs().max() < 0.01 * (after - noise).abs().max()
        else:
            assert torch.equal(network(x, torch.tensor([0.25])), -original(x, torch.tensor([0.75]), label))


def _time_on_vp(alpha2: float) -> float:
    """Where alpha^2 = exp(-0.1 t - 19.9 t^2 / 2) has this value."""
    c = torch.tensor(alpha2, dtype=torch.float64).log()
    return float((-0.1 + (0.01 - 4 * 9.95 * c).sqrt()) / (2 * 9.95))


def test_uvits_in_latents_count_time_in_two_ways(vae, tmp_path):
    """U-ViT-L, with its convolution, in continuous time; U-ViT-H in Stable Diffusion's steps."""
    for convolution, convention in ((True, "vp"), (False, "latent-diffusion")):
        shapes = originals.uvit_shapes(width=512, half=1, channels=4, classes=11, conv=convolution)
        run = tmp_path / convention
        published("uvit", saved(tmp_path / "uvit.pth", shapes), "--vae", vae, "--out", run)
        assert load_model(run).config.convention == convention
    other = tmp_path / "other"
    published("uvit", tmp_path / "uvit.pth", "--vae", vae, "--out", other, "--convention", "vp")
    assert load_model(other).config.convention == "vp"


# ---------------------------------------------------------------- the pipeline


def pixel_model(
    convention: str = "vp", text: str = "classes", latent_scale: float | None = None, **shapes
) -> PublishedTextToVideo:
    state = originals.random_state(originals.uvit_shapes(**shapes))
    module = from_original("uvit", state, heads=3)
    config = PublishedConfig(
        denoiser="uvit",
        denoiser_config=vars(module.config),
        text=text,
        convention=convention,
        latent_scale=latent_scale,
        objective=PRESETS["ddpm"],
        frames=1,
        height=8,
        width=8,
        sampler="ddim",
        grid="uniform",
    )
    return PublishedTextToVideo(config, text_of(module, config), module, load_autoencoder("pixel"))


def test_a_network_is_never_evaluated_beyond_its_last_noise_level():
    """Stable Diffusion's steps end at log-SNR -5.4: from t = 1 of our path, a quarter of the steps would be beyond."""
    model, times = pixel_model("latent-diffusion"), []
    model.denoiser.register_forward_pre_hook(lambda _, inputs: times.append(float(inputs[1][0])))
    model.generate(["3"], steps=20, guidance=1)
    assert times[0] == pytest.approx(1000, abs=0.1) and len(times) == 20
    assert all(later < earlier - 1 for earlier, later in zip(times, times[1:], strict=False))


def test_saved_and_loaded_is_the_same_model(tmp_path):
    model = pixel_model(classes=11)
    model.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    assert isinstance(again, PublishedTextToVideo) and again.config.kind == "published"
    assert torch.equal(again.generate(["3"], steps=3), model.generate(["3"], steps=3))
    with pytest.raises(CheckpointError, match="of kind published, not a denoiser"):
        TextToVideo.from_pretrained(tmp_path)


def test_folders_of_earlier_versions_load(tmp_path):
    """They have no kind, name parts that published networks have not, and take their text for words."""
    model = pixel_model(classes=11)
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    del config["kind"], config["latent_scale"], config["denoiser_config"]["time_mlp"]
    config["text"], config["denoiser_config"]["out_channels"] = "words", None
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    again = load_model(tmp_path)
    assert isinstance(again, PublishedTextToVideo)
    assert torch.equal(again.generate(["3"], steps=3), model.generate(["3"], steps=3))
    with pytest.raises(CheckpointError, match="not a denoiser"):
        TextToVideo.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"convention": "magic"}, "convention 'magic' is not one of ddpm"),
        ({"convention": None}, "does not describe a published model"),
        ({"denoiser": "magic"}, "does not describe a published model of this version"),
        ({"denoiser_config": {"magic": 1}}, "unexpected keyword argument 'magic'"),
    ],
)
def test_folders_of_something_else_are_refused_with_a_reason(changes, message, tmp_path):
    pixel_model().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(config | changes), encoding="utf-8")
    with pytest.raises(CheckpointError, match=message):
        load_model(tmp_path)


# ---------------------------------------------------------------- of text


def test_clip_tokens_are_those_that_the_uvit_was_trained_on(clip):
    """As transformers gives them for padded captions without a mask, and not normalised."""
    captions = ["a red bus", "", " ".join(["a blue bus"] * 40)]
    text, tokenizer = ClipTokens(clip), transformers.AutoTokenizer.from_pretrained(clip)
    ids = tokenizer(captions, padding="max_length", truncation=True, max_length=77, return_tensors="pt").input_ids
    assert torch.equal(text.tokenize(captions), ids)
    with torch.no_grad():
        expected = text.model(input_ids=ids).last_hidden_state
    assert text(ids).shape == (3, 77, 16) and torch.equal(text(ids), expected)


def test_a_text_to_image_uvit_generates_what_its_caption_says(clip):
    model = pixel_model("latent-diffusion", text=clip, text_width=16)
    videos = model.generate(["a red bus", "a blue bus", "a red bus"], seeds=[0, 0, 0], steps=3)
    assert videos.shape == (3, 3, 1, 8, 8) and videos.isfinite().all()
    torch.testing.assert_close(videos[0], videos[2], rtol=0, atol=1e-4)
    assert (videos[0] - videos[1]).abs().max() > 1e-3
    guided = model.generate(["a red bus"], steps=3, guidance=4.0)
    assert (guided - videos[:1]).abs().max() > 1e-3


def test_a_text_to_image_uvit_becomes_a_run(vae, clip, tmp_path, capsys):
    shapes = originals.uvit_shapes(width=512, half=1, channels=4, text_width=16)
    checkpoint, run = saved(tmp_path / "uvit.pth", shapes), tmp_path / "run"
    published("uvit", checkpoint, "--vae", vae, "--text", clip, "--out", run)
    assert capsys.readouterr().out == f"try: python generate.py 'a red bus in a street' --run {run}\n"
    model = load_model(run)
    assert model.config.convention == "latent-diffusion" and model.config.guidance == 2
    assert model.autoencoder.scale.unique().tolist() == [pytest.approx(0.2301)]
    assert model.generate(["a red bus"], steps=2).shape == (1, 3, 1, 16, 16)


# ---------------------------------------------------------------- what does not fit


@pytest.mark.parametrize(
    ("kind", "shapes", "flags", "message"),
    [
        ("dit", originals.dit_shapes(width=384, depth=1), [], "a model of latents of 4 channels: name their --vae"),
        ("uvit", originals.uvit_shapes(width=512, half=1), ["--vae", "some/vae"], "of pixels: leave out --vae"),
        ("uvit", originals.uvit_shapes(width=512, half=1), ["--text", "clip"], "of classes: leave out --text"),
        ("uvit", originals.uvit_shapes(width=512, half=1, text_width=16), [], "of captions: name their CLIP, --text"),
        ("uvit", originals.uvit_shapes(width=512, half=1, classes=0), [], "is unconditional, so it takes no prompt"),
        ("uvit", originals.uvit_shapes(width=512, half=1), ["--guidance", "2"], "so --guidance must be 1"),
        ("uvit", originals.uvit_shapes(width=512, half=1), ["--convention", "sit"], "sit does not fit uvit"),
        ("dit", originals.uvit_shapes(width=512, half=1), [], "not a published DiT: tensor 'x_embedder.proj.weight'"),
    ],
)
def test_flags_that_do_not_fit_the_checkpoint_are_a_clear_error(kind, shapes, flags, message, tmp_path):
    with pytest.raises(SystemExit, match=message):
        published(kind, saved(tmp_path / "model.pt", shapes), "--out", tmp_path / "run", *flags)
    assert not (tmp_path / "run").exists()


def test_parts_that_do_not_fit_one_another_are_a_clear_error(clip, tmp_path):
    with pytest.raises(ValueError, match="the network is of 4 channels, but pixel makes latents of 3"):
        pixel_model(channels=4)
    with pytest.raises(ValueError, match="latent_scale is for autoencoders of diffusers, and pixel is another"):
        pixel_model(latent_scale=0.2)
    with pytest.raises(ValueError, match="the network reads tokens of width 24, not 16"):
        pixel_model(text=clip, text_width=24)
    size = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2, "vocab_size": 6}
    t5 = tmp_path / "t5"
    transformers.T5EncoderModel(transformers.T5Config(**size)).save_pretrained(t5)
    transformers.AutoTokenizer.from_pretrained(clip).save_pretrained(t5)
    with pytest.raises(TextError, match="t5 is not a CLIP of 77 tokens"):
        ClipTokens(str(t5))


def test_a_checkpoint_is_never_executed(tmp_path):
    torch.save({"model": pytest.raises}, tmp_path / "odd.pt")
    with pytest.raises(OriginalError, match="odd.pt contains more than tensors"):
        read(tmp_path / "odd.pt")
    (tmp_path / "text.pt").write_text("hello", encoding="utf-8")
    with pytest.raises(OriginalError, match="text.pt contains more than tensors, or is not a file of torch.save"):
        read(tmp_path / "text.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(OriginalError, match="list.pt does not contain a state dict"):
        read(tmp_path / "list.pt")


def test_a_checkpoint_that_is_missing_is_named_and_help_has_its_address(tmp_path, monkeypatch, capsys):
    """The guide's command, as printed, in a folder where nothing was downloaded."""
    monkeypatch.chdir(tmp_path)
    [line] = re.findall(r"^python -m lite_sora.published (.*)", (ROOT / "tutorials/guide.md").read_text("utf-8"), re.M)
    with pytest.raises(SystemExit, match=r"DiT-XL-2-256x256.pt: there is no such file; .*published --help"):
        published(*line.split())
    assert not list(tmp_path.iterdir())
    with pytest.raises(SystemExit):
        published("--help")
    printed = capsys.readouterr().out
    assert f"python -m lite_sora.published {line}" in printed and "pip install diffusers" in printed
    for address in ("dl.fbaipublicfiles.com/DiT/models/", "github.com/willisma/SiT", "github.com/baofff/U-ViT"):
        assert f"https://{address}" in printed
