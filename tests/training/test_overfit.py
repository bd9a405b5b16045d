"""--overfit: the same few windows again and again, and a sheet that shows each beside what was made of its caption."""

import re

import numpy as np
import pytest
from conftest import run_train, tiny_flags
from PIL import Image

from lite_sora.data.clip import read_manifest
from lite_sora.training.denoiser import DenoiserSettings, DenoiserStage
from lite_sora.training.flags import parse
from lite_sora.training.samples import with_originals


def test_only_the_first_clips_are_learnt_and_nothing_is_left_to_chance(toy, tmp_path, monkeypatch, capsys):
    seen, loss = [], DenoiserStage.loss
    monkeypatch.setattr(
        DenoiserStage, "loss", lambda stage, model, batch: seen.append(batch) or loss(stage, model, batch)
    )
    flags = [*tiny_flags(toy), "--overfit", "2", "--steps", "3", "--frames", "4", "--sample-every", "3"]
    folder = run_train(*flags, "--out", str(tmp_path / "run"))
    first = [clip for clip in read_manifest(toy) if clip.split in (None, "train")][:2]
    assert {caption for batch in seen for caption in batch.captions} == {clip.all_captions[0] for clip in first}
    videos = {video.numpy().tobytes() for batch in seen for video in batch.video}
    assert len(videos) == 2
    with Image.open(folder / "samples" / "000003-ema.png") as picture:
        four_rows = 4 * (64 + 16 + 4) + 4  # of 64 pixels and a label: real and generated, twice
        assert picture.size == (4 * 68 + 4, four_rows)
    assert re.search(r"step 3: generated beside real, PSNR \d+\.\d dB, \d+\.\d dB\n", capsys.readouterr().out)
    assert not (folder / "samples" / "real.png").exists()  # they stand beside those that were generated


def test_real_clips_stand_above_what_was_made_of_them():
    real = [np.full((2, 8, 8, 3), 100, np.uint8), np.full((2, 8, 8, 3), 50, np.uint8)]
    made = [real[0] + np.uint8(5), real[1]]
    rows, labels = with_originals(real, made, ["one", "two"])
    assert [row is wanted for row, wanted in zip(rows, [real[0], made[0], real[1], made[1]], strict=True)] == [True] * 4
    assert labels[0] == "real: one" and labels[2] == "real: two"
    assert labels[1] == "generated, 34.2 dB: one"  # 20 log10(255 / 5)
    assert labels[3].startswith("generated, 1")  # equal: as high as it goes


def test_none_is_no_number_of_clips(capsys):
    with pytest.raises(SystemExit):
        parse(DenoiserSettings, ["--overfit", "0"], "test")
    assert "--overfit must be at least 1, not 0" in capsys.readouterr().err
