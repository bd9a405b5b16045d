"""Training on latents: they are those of the autoencoder, are made once, and never stale."""

import os
import shutil
from pathlib import Path

import commands
import numpy as np
import pytest
import torch
from conftest import ROOT, run_train
from test_training import assert_same_run

from lite_sora.autoencoders import load_autoencoder
from lite_sora.autoencoders.kl import KLAutoencoder, KLConfig
from lite_sora.autoencoders.saved import save_folder
from lite_sora.data.clip import Clip, read_manifest
from lite_sora.data.loading import to_model_range
from lite_sora.data.video import write_video
from lite_sora.data.windows import VideoDataset
from lite_sora.pipeline import TextToVideo
from lite_sora.processes import Processes
from lite_sora.storage import tensors
from lite_sora.storage.tensors import Shards, digest_of_weights
from lite_sora.training.flags import TrainingError
from lite_sora.training.latents import cached_latents, entry_names

ALONE = Processes(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory) -> Path:
    """The run folder of an autoencoder that has learnt nothing, with latents (4, 1 + k, H / 4, W / 4)."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("autoencoder")
    save_folder(KLAutoencoder(KLConfig(latent_channels=4, channels=8)), folder)
    return folder


@pytest.fixture
def world(toy, tmp_path) -> Path:
    """The manifest of a copy of the toy world: its cache is this test's."""
    shutil.copytree(toy.parent, tmp_path / "toy", ignore=shutil.ignore_patterns("cache"))
    return tmp_path / "toy" / "manifest.jsonl"


def flags(manifest: Path, autoencoder: Path, *more: str) -> list[str]:
    size = "--frames 7 --height 16 --width 16 --batch-size 4"
    usual = f"{size} --warmup 2 --sample-every 0 --adherence-clips 0 --precision fp32 --device cpu"
    return ["--data", str(manifest), "--autoencoder", str(autoencoder), *usual.split(), *more]


def dataset(manifest: Path, clips=None, frames: int = 7, **more) -> VideoDataset:
    return VideoDataset(clips or list(read_manifest(manifest)), manifest.parent, frames, 16, 16, 8.0, **more)


def test_latents_are_the_autoencoders(world, autoencoder, tmp_path):
    loaded = load_autoencoder(autoencoder)
    latents, broken = cached_latents(dataset(world), loaded, tmp_path / "cache", ALONE)
    assert len(latents) == 64 and broken == []
    videos = dataset(world)
    for index in (0, 20, 63):
        item = latents[index, 5]
        video = torch.from_numpy(videos.windows(index)[:1]).movedim(-1, 1)
        assert torch.allclose(item.video, loaded.encode(to_model_range(video))[0], atol=2e-3, rtol=2e-3)
        assert item.caption in videos.clips[index].all_captions and item.seed == 5


def test_windows_follow_one_another(autoencoder, tmp_path):
    brightness = np.arange(23, dtype=np.uint8) * 10
    write_video(tmp_path / "long.mp4", np.broadcast_to(brightness[:, None, None, None], (23, 16, 16, 3)).copy(), 8)
    videos = dataset(tmp_path / "manifest.jsonl", [Clip("a", "long.mp4", "brighter and brighter")])
    windows = videos.windows(0)
    assert windows.shape == (3, 7, 16, 16, 3)
    assert np.abs(windows[:, :, 8, 8, 0].astype(int).ravel() - brightness[:21]).max() <= 3
    latents, _ = cached_latents(videos, load_autoencoder(autoencoder), tmp_path / "cache", ALONE)
    assert len({tuple(latents[0, seed].video.flatten().tolist()) for seed in range(30)}) == 3
    by_heart = dataset(tmp_path / "manifest.jsonl", videos.clips, fixed=True)
    assert np.array_equal(by_heart.windows(0), windows[:1])


def test_each_clip_is_encoded_once(world, autoencoder, tmp_path, monkeypatch):
    loaded, encoded = load_autoencoder(autoencoder), []
    encode = loaded.encode
    monkeypatch.setattr(loaded, "encode", lambda video: encoded.append(len(video)) or encode(video))
    clips = list(read_manifest(world))
    cached_latents(dataset(world, clips[:40]), loaded, tmp_path / "cache", ALONE)
    assert sum(encoded) == 40
    latents, _ = cached_latents(dataset(world, clips), loaded, tmp_path / "cache", ALONE)
    assert sum(encoded) == 64 and len(latents) == 64
    cached_latents(dataset(world, clips, frames=5), loaded, tmp_path / "cache", ALONE)
    assert sum(encoded) == 128


def test_what_was_done_before_a_stop_stays(world, autoencoder, tmp_path, monkeypatch):
    loaded, encode = load_autoencoder(autoencoder), load_autoencoder(autoencoder).encode
    done = []

    def stopped(video):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(len(video))
        return encode(video)

    monkeypatch.setattr(loaded, "encode", stopped)
    with pytest.raises(KeyboardInterrupt):
        cached_latents(dataset(world), loaded, tmp_path / "cache", ALONE)
    assert len(Shards(tmp_path / "cache").files) == sum(done) == 32
    monkeypatch.undo()
    assert len(cached_latents(dataset(world), load_autoencoder(autoencoder), tmp_path / "cache", ALONE)[0]) == 64


def test_names_change_with_all_they_depend_on(world, autoencoder):
    loaded, clips = load_autoencoder(autoencoder), list(read_manifest(world))[:1]
    names = [entry_names(dataset(world, clips), loaded, "latents")[0]]
    assert names[0] == entry_names(dataset(world, clips), load_autoencoder(autoencoder), "latents")[0]
    names.append(entry_names(dataset(world, clips, frames=5), loaded, "latents")[0])
    names.append(entry_names(dataset(world, clips, fixed=True), loaded, "latents")[0])
    names.append(entry_names(dataset(world, [Clip("a", clips[0].video, "x", start=0.1)]), loaded, "latents")[0])
    names.append(
        entry_names(dataset(world, [Clip("a", clips[0].video, "x", stats={"crop": [0, 0, 8, 8]})]), loaded, "latents")[
            0
        ]
    )
    os.utime(world.parent / clips[0].video, (1, 1))
    names.append(entry_names(dataset(world, clips), loaded, "latents")[0])
    next(loaded.model.parameters()).data.view(-1)[0] += 1e-6
    names.append(entry_names(dataset(world, clips), loaded, "latents")[0])
    loaded.model.shift += 5
    names.append(entry_names(dataset(world, clips), loaded, "latents")[0])
    names.append(entry_names(dataset(world, clips), loaded, "codes")[0])
    loaded.model.scale *= 2
    names.append(entry_names(dataset(world, clips), loaded, "latents")[0])
    assert len(set(names)) == len(names)


def test_broken_clips_are_left_out_and_named(world, autoencoder, tmp_path):
    clips = list(read_manifest(world))[:8]
    (world.parent / clips[3].video).write_bytes(b"no video")
    latents, broken = cached_latents(dataset(world, clips), load_autoencoder(autoencoder), tmp_path / "cache", ALONE)
    assert [clip.id for clip in latents.clips] == [clip.id for clip in clips[:3] + clips[4:]]
    assert len(broken) == 1 and clips[3].video in broken[0]
    assert latents[3, 0].caption in clips[4].all_captions


def test_a_clip_without_a_caption_is_left_out_also_where_its_latents_are_there(world, autoencoder, tmp_path):
    clips = list(read_manifest(world))[:4]
    for _ in range(2):  # its latents are not there yet; they are
        silent = [*clips[:3], Clip("silent", clips[3].video, " ")]
        latents, broken = cached_latents(dataset(world, silent), load_autoencoder(autoencoder), tmp_path / "c", ALONE)
        assert len(latents) == 3 and "clip 'silent' has no caption" in broken[0]
        cached_latents(dataset(world, clips), load_autoencoder(autoencoder), tmp_path / "c", ALONE)


def test_shards_in_parts_and_a_broken_one(tmp_path, monkeypatch):
    monkeypatch.setattr(tensors, "SHARD_BYTES", 100)
    with Shards(tmp_path) as store:
        for number in range(10):
            store.add(f"n{number}", torch.full((10,), float(number)))
    files = sorted(tmp_path.iterdir())
    assert len(files) == 4 and not list(tmp_path.glob("*.part"))
    assert all((store[f"n{number}"][:] == number).all() for number in range(10))
    (tmp_path / "broken.safetensors").write_bytes(b"x" * 50)
    assert len(Shards(tmp_path).files) == 10


def test_a_digest_sees_names_values_and_shapes():
    tensor = torch.arange(6.0)
    states = [{"a": tensor}, {"b": tensor}, {"a": tensor.view(2, 3)}, {"a": tensor + 1}, {"a": tensor.bfloat16()}]
    assert len({digest_of_weights(state) for state in states}) == len(states)
    assert digest_of_weights({"a": tensor, "b": tensor}) == digest_of_weights({"b": tensor, "a": tensor})


def test_a_run_on_latents_resumes_and_is_complete(world, autoencoder, tmp_path):
    mine = tmp_path / "mine"  # an autoencoder that goes away later
    shutil.copytree(autoencoder, mine)
    run_train(*flags(world, mine, "--steps", "4", "--out", str(tmp_path / "whole")))
    run_train(*flags(world, mine, "--steps", "4", "--stop-after", "2", "--out", str(tmp_path / "parts")))
    shutil.rmtree(mine)
    run_train("--resume", str(tmp_path / "parts"))
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    moved = shutil.move(tmp_path / "whole", tmp_path / "elsewhere")
    model = TextToVideo.from_pretrained(moved)
    assert model.latent_shape() == (4, 4, 4, 4)
    video = model.generate(["a red circle moving right"], steps=2)
    assert video.shape == (1, 3, 7, 16, 16) and video.isfinite().all()
    model.save_pretrained(tmp_path / "again")
    assert torch.equal(
        TextToVideo.from_pretrained(tmp_path / "again").generate(["a red circle moving right"], steps=2), video
    )


def test_learning_a_clip_by_heart_shows_it_beside_what_was_made(world, autoencoder, tmp_path):
    more = ["--overfit", "1", "--steps", "2", "--sample-every", "2", "--out", str(tmp_path / "run")]
    assert (run_train(*flags(world, autoencoder, *more)) / "samples" / "000002-ema.png").exists()


def test_two_processes_share_the_encoding(world, autoencoder, tmp_path):
    run_train(*flags(world, autoencoder, "--steps", "2", "--out", str(tmp_path / "one")))
    shutil.rmtree(world.parent / "cache")
    commands.run(commands.TRAIN, *flags(world, autoencoder, "--steps", "2", "--out", tmp_path / "two"), ranks=2)
    assert len(Shards(world.parent / "cache").files) == 60  # the clips for training, 30 by each
    assert len(list((world.parent / "cache").iterdir())) == 2
    one, two = (TextToVideo.from_pretrained(tmp_path / name).state_dict() for name in ("one", "two"))
    assert all(torch.allclose(one[name], two[name], atol=1e-4) for name in one)


@pytest.mark.parametrize(
    "more, message",
    [
        (["--frames", "8"], "--frames 8 is not 1"),
        (["--height", "18"], "--height 18 does not divide by 4"),
        (["--patch", "2", "2", "2", "--frames", "9"], r"--frames 9 is 5 in the latents, which does not divide by 2"),
        (["--autoencoder", str(ROOT)], f"--autoencoder {ROOT}: .*config.json does not exist"),
    ],
)
def test_what_does_not_fit_is_said_before_training(world, autoencoder, tmp_path, more, message):
    with pytest.raises(TrainingError, match=message):
        run_train(*flags(world, autoencoder, "--out", str(tmp_path / "run"), *more))
    assert not (tmp_path / "run").exists()
