"""Conditioning signals: read from stats, carried by name from the manifest to the generated video."""

import json
import math

import pytest
import torch
from conftest import run_train, tiny_flags

from lite_sora.data.clip import Clip, read_manifest, write_manifest
from lite_sora.evaluation.x0_error import x0_error
from lite_sora.load import load_model
from lite_sora.text.encoder import Text
from lite_sora.text.signals import SignalEncoder, SignalError, describe, drop, parse_signals

CLIPS = [Clip(str(i), "x.mp4", "x", stats={"speed": 0.1 * i, "camera": i % 3, "note": "far"}) for i in range(6)]
CLIPS.append(Clip("none", "x.mp4", "x"))


def text(batch: int = 2) -> Text:
    return Text(torch.randn(batch, 5, 8), torch.ones(batch, 5, dtype=torch.bool), torch.randn(batch, 8))


def test_a_number_is_described_by_its_mean_and_spread_and_a_class_by_their_count():
    found = describe(["speed", "camera:3"], CLIPS)
    assert found["speed"] == {"mean": pytest.approx(0.25), "std": pytest.approx(math.sqrt(0.35 / 12))}
    assert found["camera"] == {"classes": 3}


@pytest.mark.parametrize(
    "asked, words",
    [
        ("camera:2", "2 is not one of its classes, 0 to 1"),
        ("speed:3", "0.1 is not one of its classes"),
        ("note", "no training clip has a number 'note' in its stats"),
        ("sped", "no training clip has a number 'sped'"),
        ("camera:", "name:classes"),
        ("camera:one", "name:classes"),
    ],
)
def test_a_signal_that_the_clips_have_not_is_refused(asked, words):
    with pytest.raises(SignalError, match=words):
        describe([asked], CLIPS)


def test_every_sample_sees_its_own_signals_and_unknown_ones_are_alike():
    encoder = SignalEncoder(describe(["speed", "camera:3"], CLIPS), 8)
    words = text(3)
    out = encoder(words, {"speed": torch.tensor([0.1, 0.4, math.nan]), "camera": torch.tensor([2.0, 2.0, math.nan])})
    assert out.tokens.shape == (3, 7, 8) and out.mask.all() and out.mask.shape == (3, 7)
    assert torch.equal(out.tokens[:, :5], words.tokens)
    speed, camera = out.tokens[:, 5], out.tokens[:, 6]
    assert not torch.allclose(speed[0], speed[1]) and torch.equal(camera[0], camera[1])
    assert torch.equal(speed[2], encoder.unknown["speed"]) and torch.equal(camera[2], encoder.unknown["camera"])
    torch.testing.assert_close(out.pooled, words.pooled + speed + camera)
    left_out = encoder(words, {})
    assert torch.equal(left_out.tokens[2], out.tokens[2])


def test_signals_are_dropped_with_their_caption_and_now_and_then_alone():
    seeds, captions = list(range(4000)), ["", *["a"] * 3999]
    values = {"speed": torch.ones(4000), "camera": torch.ones(4000)}
    kept = drop(values, captions, seeds, 0.1)
    unknown = {name: kept[name].isnan() for name in values}
    assert unknown["speed"][0] and unknown["camera"][0]
    for name in values:
        assert 0.08 < unknown[name].float().mean() < 0.12
    assert 0.004 < (unknown["speed"] & unknown["camera"]).float().mean() < 0.018  # each has chances of its own
    again = drop({"speed": values["speed"][5:9]}, captions[5:9], seeds[5:9], 0.1)["speed"]
    torch.testing.assert_close(again, kept["speed"][5:9], equal_nan=True)


def test_a_trained_signal_is_saved_resumed_measured_and_asked_for(toy, tmp_path):
    clips = [clip for clip in read_manifest(toy)]
    rows = [Clip(**vars(clip) | {"stats": clip.stats | {"camera": n % 4}}) for n, clip in enumerate(clips)]
    manifest = toy.parent / "signals.jsonl"
    write_manifest(manifest, rows)
    flags = [*tiny_flags(manifest), "--signals", "speed", "camera:4", "--accumulate", "2"]
    whole = run_train(*flags, "--steps", "4", "--out", str(tmp_path / "whole"))
    half = run_train(*flags, "--steps", "4", "--stop-after", "2", "--out", str(tmp_path / "half"))
    run_train("--resume", str(half))
    model, resumed = load_model(whole), load_model(half)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), resumed.parameters(), strict=True))
    assert json.loads((whole / "config.json").read_text(encoding="utf-8"))["signals"]["camera"] == {"classes": 4}
    assert all(math.isfinite(error) for error in x0_error(model, manifest, clips=4))
    videos = [model.generate(["a circle"], steps=2, signals=asked) for asked in ({"speed": 0.3}, {"speed": 0.5}, {})]
    assert not torch.equal(videos[0], videos[1]) and not torch.equal(videos[0], videos[2])
    for asked, words in (({"colour": 1}, "conditioned on speed, camera"), ({"camera": 4}, "0 to 3")):
        with pytest.raises(SignalError, match=words):
            model.generate(["a circle"], signals=asked)


def test_flags_become_signals():
    assert parse_signals(["speed=0.5", "camera=2"]) == {"speed": 0.5, "camera": 2.0}
    with pytest.raises(SignalError, match="speed=0.5"):
        parse_signals(["speed"])
