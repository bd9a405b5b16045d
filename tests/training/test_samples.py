"""Grids of samples: which prompts, and real clips of them."""

import numpy as np
from conftest import run_train, tiny_flags
from PIL import Image

from lite_sora.data.clip import Clip, read_manifest
from lite_sora.data.windows import VideoDataset
from lite_sora.training.samples import sample_prompts


def test_prompts_are_spread_over_the_set():
    clips = [Clip(str(index), "x.mp4", f"caption {index:02d}") for index in range(15)]
    assert [prompt[-2:] for prompt in sample_prompts(clips, 8)] == ["00", "01", "03", "05", "07", "09", "11", "13"]
    assert len(sample_prompts(clips[:3], 8)) == 3 and sample_prompts([Clip("0", "x.mp4", " ")]) == []


def test_real_clips_of_the_same_prompts_are_drawn_once(toy, tmp_path):
    flags = [*tiny_flags(toy), "--steps", "2", "--sample-every", "1", "--frames", "4", "--height", "32"]
    folder = run_train(*flags, "--stop-after", "1", "--out", str(tmp_path / "run"))
    picture = np.array(Image.open(folder / "samples/real.png"))
    clips = [clip for clip in read_manifest(toy) if clip.for_training]
    prompts = sample_prompts(clips)
    assert picture.shape == (8 * (64 + 16 + 4) + 4, 4 * (64 + 4) + 4, 3)
    for row, prompt in enumerate(prompts):
        shown = picture[4 + 84 * row + 16 :][:64, 4:68]  # its first frame
        some = VideoDataset([clip for clip in clips if clip.caption == prompt], toy.parent, 4, 32, 32, 8.0)
        real = [some[index, 0].video[0].repeat(2, axis=0).repeat(2, axis=1) for index in range(len(some))]
        assert any((frame == shown).all() for frame in real)
    before = (folder / "samples/real.png").stat().st_mtime_ns
    run_train("--resume", str(folder))
    assert (folder / "samples/real.png").stat().st_mtime_ns == before
