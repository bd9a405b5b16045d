"""Batches: the order depends on nothing but the seed, and broken clips are replaced and reported."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lite_sora.data import windows
from lite_sora.data.clip import Clip, read_manifest
from lite_sora.data.loading import Sample, TrainingOrder, batches, to_frames, to_model_range
from lite_sora.data.video import ClipError, probe, write_video
from lite_sora.data.windows import VideoDataset

SIZE = {"frames": 4, "height": 32, "width": 32, "fps": 8}
PLENTY = 2**30


def toy_dataset(toy, clips=12, **changes) -> VideoDataset:
    return VideoDataset(list(read_manifest(toy))[:clips], toy.parent, **(SIZE | changes))


@pytest.fixture
def mixed(tmp_path):
    """Three good clips of three seconds, each of its own brightness; between them, clips that cannot be used."""
    clips = []
    for index, name in enumerate(["good0", "empty", "good1", "missing", "short", "late", "mute", "good2"]):
        seconds = 0.25 if name == "short" else 3
        if name == "empty":
            (tmp_path / "empty.mp4").touch()
        elif name != "missing":
            frames = np.full((int(8 * seconds), 32, 32, 3), 30 * index, np.uint8)
            frames[..., 0] = 8 * np.arange(len(frames))[:, None, None]  # red says which frame it is
            write_video(tmp_path / f"{name}.mp4", frames, fps=8)
        clips.append(Clip(name, f"{name}.mp4", "" if name == "mute" else f"caption of {name}"))
    clips[5] = replace(clips[5], start=2.75)  # the file goes on for a quarter of a second from there
    return VideoDataset(clips, tmp_path, **SIZE)


# ---------------------------------------------------------------- the order


def keys(**settings) -> list[list[tuple[int, int]]]:
    return list(TrainingOrder(**({"clips": 12, "batch": 5, "seed": 0, "start": 0, "stop": 24} | settings)))


def test_each_epoch_is_a_fresh_permutation():
    flat = [key for batch in keys() for key in batch]
    assert len(flat) == 120
    epochs = [[index for index, _ in flat[i : i + 12]] for i in range(0, 120, 12)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 10
    assert len({seed for _, seed in flat}) == 120  # each sample has its own noise


def test_order_depends_on_the_seed_and_on_nothing_else():
    assert keys() == keys()
    np.random.seed(7)
    assert keys(seed=1) != keys() == keys()


@pytest.mark.parametrize("k", [1, 2, 7, 23])
def test_starting_at_step_k_is_skipping_k(k):
    assert keys(start=k) == keys()[k:]


@pytest.mark.parametrize("world", [2, 3, 6])
def test_the_processes_shares_are_the_batch_of_one(world):
    shares = [keys(batch=6, rank=rank, world=world) for rank in range(world)]
    assert [sum(parts, []) for parts in zip(*shares, strict=True)] == keys(batch=6)
    assert {len(batch) for share in shares for batch in share} == {6 // world}


def test_length_of_the_order_and_batches_larger_than_the_data():
    assert len(TrainingOrder(12, 5, 0, 3, 24)) == 21 == len(keys(start=3))
    (batch,) = keys(clips=2, batch=7, stop=1)
    assert sorted(index for index, _ in batch[:6]) == [0, 0, 0, 1, 1, 1]


# ---------------------------------------------------------------- ranges


def test_model_range_and_back():
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 1, 16, 16).expand(2, 3, 2, 16, 16)
    video = to_model_range(every)
    assert video.dtype == torch.float32 and video.min() == -1 and video.max() == 1
    frames = to_frames(video)
    assert frames.shape == (2, 2, 16, 16, 3) and frames.dtype == np.uint8
    assert (frames == every.movedim(1, -1).numpy()).all()
    assert to_frames(torch.tensor([-7.0, 7.0, 0.0]).reshape(3, 1, 1, 1)).tolist() == [[[[0, 255, 128]]]]


# ---------------------------------------------------------------- items


def same(one: Sample, other: Sample) -> bool:
    return (one.video == other.video).all() and replace(one, video=None) == replace(other, video=None)


def test_cached_and_uncached_items_are_the_same(toy, mixed):
    for dataset in (toy_dataset(toy), mixed):
        cached = VideoDataset(dataset.clips, dataset.folder, **SIZE)
        if dataset is mixed:
            dataset.clips = cached.clips = [clip for clip in mixed.clips if clip.id.startswith("good")]
        assert cached.preload(PLENTY, show=False) == []
        assert len(cached.cache) == len(cached) and not dataset.cache
        for index in range(len(dataset)):
            for seed in range(6):
                assert same(dataset[index, seed], cached[index, seed])


def test_the_seed_chooses_window_and_caption(toy):
    dataset = toy_dataset(toy)
    dataset.preload(PLENTY, show=False)
    whole = dataset.cache[3]
    assert whole.shape == (8, 32, 32, 3)
    windows, captions = set(), set()
    for seed in range(100):
        item = dataset[3, seed]
        assert item.video.shape == (4, 32, 32, 3) and item.seed == seed and not item.skipped
        (first,) = (i for i in range(5) if (whole[i : i + 4] == item.video).all())
        windows.add(first)
        captions.add(item.caption)
        assert same(dataset[3, seed], dataset[3, seed])
    assert windows == set(range(5))
    assert captions == set(dataset.clips[3].all_captions)


def test_nothing_is_left_to_chance_where_items_are_fixed(toy):
    dataset = toy_dataset(toy, fixed=True)
    for preloaded in (False, True):
        if preloaded:
            dataset.preload(PLENTY, show=False)
        items = [dataset[3, seed] for seed in range(20)]
        assert all((item.video == items[0].video).all() for item in items)
        assert {item.caption for item in items} == {dataset.clips[3].all_captions[0]}
    assert (items[0].video == dataset.cache[3][:4]).all()


def test_a_crop_that_curation_found_is_taken(mixed):
    frames = np.zeros((8, 48, 64, 3), np.uint8)
    frames[:, 12:36, 16:48] = 200  # a picture with borders all around
    write_video(mixed.folder / "bordered.mp4", frames, fps=8)
    clip = Clip("bordered", "bordered.mp4", "x")
    shares = {"crop": [16 / 64, 12 / 48, 48 / 64, 36 / 48]}
    mixed.clips = [clip, replace(clip, stats=shares), replace(clip, stats={"crop": [0, 0, 0, 2]}), clip]
    borders, none = mixed[0, 0].video, mixed[1, 0].video
    assert borders.min() < 30 and borders.max() > 180
    assert none.min() > 150 and none[:, 1:-1, 1:-1].min() > 180  # edges are soft
    (reason,) = mixed[2, 0].skipped  # a crop that is none is a clip that cannot be used
    assert "its crop [0, 0, 0, 2] is not" in reason


def test_a_file_is_looked_into_once(mixed, monkeypatch):
    probed = []
    monkeypatch.setattr(windows, "probe", lambda path: probed.append(path.name) or probe(path))
    for seed in range(5):
        mixed[0, seed]
        mixed[2, seed]
    assert probed == ["good0.mp4", "good1.mp4"]


def test_start_and_end_of_a_clip_are_kept(mixed):
    clip = replace(mixed.clips[0], start=1.0, end=2.0)
    dataset = VideoDataset([clip], mixed.folder, **SIZE)
    assert dataset.length(0) == 8
    shown = {tuple(np.round(dataset[0, seed].video[:, 8, 8, 0] / 8).astype(int).tolist()) for seed in range(60)}
    assert shown == {(n, n + 1, n + 2, n + 3) for n in range(8, 13)}


@pytest.mark.parametrize("fps, length", [(4, 12), (8, 24), (16, 48), (24, 72), (7, 21)])
def test_length_in_frames_at_another_rate(fps, length, mixed):
    dataset = VideoDataset(mixed.clips, mixed.folder, **(SIZE | {"fps": fps}))
    assert dataset.length(0) == length
    dataset.clips = dataset.clips[:1]
    assert dataset.preload(PLENTY, show=False) == [] and dataset.cache[0].shape[0] == length


def test_pictures_are_clips_where_one_frame_is_asked_for(mixed):
    dataset = VideoDataset(mixed.clips, mixed.folder, **(SIZE | {"frames": 1}))
    dropped = dataset.preload(PLENTY, show=False)
    assert [clip.id for clip in dataset.clips] == ["good0", "good1", "short", "late", "good2"]
    assert len(dropped) == 3
    assert dataset[2, 0].video.shape == (1, 32, 32, 3)


# ---------------------------------------------------------------- broken clips

REASONS = {
    "empty": "the file is empty",
    "missing": "there is no such file",
    "short": r"'short' lasts 0\.25 s, too short for 4 frames at 8 a second",
    "late": r"'late' lasts 0\.25 s, too short",
    "mute": "'mute' has no caption",
}


def test_preload_forgets_what_cannot_be_used_and_says_why(mixed):
    dropped = mixed.preload(PLENTY, show=False)
    assert [clip.id for clip in mixed.clips] == ["good0", "good1", "good2"]
    assert len(dropped) == len(REASONS) and len(mixed.cache) == len(mixed) == 3
    for reason, (name, words) in zip(dropped, REASONS.items(), strict=True):
        with pytest.raises(ClipError, match=words):
            raise ClipError("", reason)
        assert reason.startswith(f"{mixed.folder / name}.mp4: ")
    for index, name in enumerate(["good0", "good1", "good2"]):
        item = mixed[index, 5]
        assert item.caption == f"caption of {name}" and not item.skipped
        assert item.video[..., 1:].mean() == pytest.approx(30 * [0, 2, 7][index], abs=3)


@pytest.mark.parametrize("index, name, reasons", [(0, "good0", []), (1, "good1", ["empty"]), (3, "good2", None)])
def test_a_broken_clip_is_replaced_and_reported(index, name, reasons, mixed):
    item = mixed[index, 11]
    skipped = item.skipped
    assert item.video.shape == (4, 32, 32, 3) and item.caption == f"caption of {name}" and item.seed == 11
    expected = ["missing", "short", "late", "mute"] if reasons is None else reasons
    assert len(skipped) == len(expected)
    for reason, broken in zip(skipped, expected, strict=True):
        assert reason.startswith(f"{mixed.folder / broken}.mp4: ")


def test_the_last_clips_place_is_taken_by_the_first(mixed):
    mixed.clips = [mixed.clips[0], mixed.clips[1]]
    assert mixed[1, 0].caption == "caption of good0"


def test_no_clip_is_left(mixed):
    mixed.clips = [clip for clip in mixed.clips if clip.id in REASONS]
    with pytest.raises(ClipError, match="none of the 5 clips can be used; the last: .*mute"):
        mixed[0, 0]


def test_a_clip_that_breaks_later_is_reported_in_its_batch(mixed):
    order = TrainingOrder(len(mixed), batch=8, seed=0, start=0, stop=1)
    (batch,) = batches(mixed, order, workers=0)
    assert len(batch) == 8 and len(batch.seeds) == 8
    assert {caption for caption in batch.captions} == {"caption of good0", "caption of good1", "caption of good2"}
    assert {reason.split(": ")[0] for reason in batch.skipped} == {f"{mixed.folder / name}.mp4" for name in REASONS}


def test_a_small_cache_changes_nothing_but_the_time(toy):
    """Which clips fit, and whether broken ones were met, may not change what comes when."""
    full, half, none = (toy_dataset(toy, clips=24) for _ in range(3))
    missing = Clip("missing", "missing.mp4", "x")
    for dataset in (full, half, none):
        dataset.clips = dataset.clips[:20] + [missing] + dataset.clips[20:]
    one_clip = 8 * 32 * 32 * 3
    assert len(full.preload(PLENTY, show=False)) == 1 and len(full) == 24
    half.preload(10 * one_clip, show=False)
    none.preload(one_clip - 1, show=False)  # not one of them is even decoded
    assert 7 <= len(half.cache) <= 10 and not none.cache  # four are decoded at a time
    assert len(half) == len(none) == 25
    for index in range(25):
        assert same(half[index, index], none[index, index])
        assert len(half[index, index].skipped) == (index == 20)


# ---------------------------------------------------------------- batches


def test_batches_are_the_same_with_workers(toy):
    dataset = toy_dataset(toy)
    order = TrainingOrder(len(dataset), batch=4, seed=2, start=1, stop=5)
    here, elsewhere = (list(batches(dataset, order, workers)) for workers in (0, 2))
    assert len(here) == len(elsewhere) == 4
    for one, other, wanted in zip(here, elsewhere, order, strict=True):
        assert one.video.shape == (4, 3, 4, 32, 32) and one.video.dtype == torch.uint8
        assert torch.equal(one.video, other.video)
        assert one.captions == other.captions and one.seeds == other.seeds == [seed for _, seed in wanted]
        for video, (index, seed) in zip(one.video, wanted, strict=True):
            assert (video.permute(1, 2, 3, 0).numpy() == dataset[index, seed].video).all()


def test_a_share_of_captions_is_from_before_the_clips_were_captioned_anew(toy):
    history = [{"caption": "IMG 42", "model": None}, {"caption": "a circle", "model": "m"}]
    clips = [
        replace(clip, caption="a circle", captions=[], stats={"captioning": history}) for clip in read_manifest(toy)
    ]
    captions = [VideoDataset(clips, toy.parent, 8, 16, 16, 8.0, original=0.25)[0, seed].caption for seed in range(100)]
    assert 10 < captions.count("IMG 42") < 40 and set(captions) == {"IMG 42", "a circle"}
    assert VideoDataset(clips, toy.parent, 8, 16, 16, 8.0)[0, 0].caption == "a circle"


@pytest.mark.parametrize(
    "history, found",
    [
        ([{"caption": "old", "model": None}], ["old"]),
        ([{"caption": "old", "captions": ["old", "older", " "], "model": None}], ["old", "older"]),
        ([{"caption": "first of a model", "model": "m"}], []),
        ([{"caption": "", "model": None}], []),
        ("nonsense", []),
        ([{"caption": "old", "captions": 5, "model": None}], ["old"]),
        ([["nonsense"]], []),
        (None, []),
    ],
)
def test_captions_of_before(history, found):
    assert Clip("a", "a.mp4", "new", stats={"captioning": history}).original_captions == found
