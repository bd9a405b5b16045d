"""Captions are measured: length, repetition, diversity, fit to the frames, and facts of the toy world."""

import json
import sys
from dataclasses import replace

import commands
import numpy as np
import pytest
from curation.test_similarity import clip as tiny_clip  # noqa: F401
from PIL import Image

from lite_sora.captioning.score import main, read_truth, repetition, results, score, table, words_of
from lite_sora.curation.footage import Footage, Reader
from lite_sora.curation.similarity import FrameTextSimilarity
from lite_sora.data.clip import Clip, ManifestError, read_manifest, write_manifest


def of(tmp_path, *captions: str) -> dict:
    """The numbers of a manifest with these captions, whose videos are not there."""
    write_manifest(tmp_path / "m.jsonl", [Clip(f"{n}", f"{n}.mp4", caption) for n, caption in enumerate(captions)])
    return results(score(tmp_path / "m.jsonl"))


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    "caption, words",
    [
        ("A red circle, moving up-right!", ["a", "red", "circle", "moving", "up", "right"]),
        ("the dog’s ball isn't 2 m high", ["the", "dog’s", "ball", "isn't", "2", "m", "high"]),
        ("一只red狗。", ["一", "只", "red", "狗"]),
        ("…", []),
    ],
)
def test_words(caption, words):
    assert words_of(caption) == words


def test_lengths(tmp_path):
    found = of(tmp_path, "a dog", "a dog runs on the grass", "一只狗", "")
    assert found["words"] == {"mean": pytest.approx(11 / 3), "median": 3, "min": 2, "max": 6}
    assert (found["clips"], found["captions"], found["empty"], found["problems"]) == (4, 3, 1, 1)
    assert "similarity" not in found and "facts" not in found


def test_repetition_is_the_share_of_4_grams_that_were_there_before():
    assert repetition(list("abcdefg")) == 0
    assert repetition(list("abcdabcd")) == pytest.approx(1 / 5)  # abcd bcda cdab dabc abcd
    assert repetition(["very"] * 12) == pytest.approx(8 / 9)
    assert repetition(["too", "short"]) == 0


def test_diversity_by_hand(tmp_path):
    found = of(tmp_path, "a red dog", "a red cat", "a red cat")["diversity"]
    assert found["vocabulary"] == 4
    assert found["distinct-1"] == pytest.approx(4 / 9)
    assert found["distinct-2"] == pytest.approx(3 / 6)  # a-red, red-dog, red-cat; none across captions
    assert found["different captions"] == pytest.approx(2 / 3)


def test_every_caption_of_a_clip_counts(tmp_path):
    clips = [Clip("x", "x.mp4", "a dog", captions=["a dog", "one dog runs"])]
    write_manifest(tmp_path / "m.jsonl", clips)
    assert results(score(tmp_path / "m.jsonl"))["captions"] == 2


# ---------------------------------------------------------------- facts of the toy world


def altered(toy, path, change):
    """The toy world's manifest with other captions; its videos are not looked at."""
    write_manifest(path, (change(index, clip) for index, clip in enumerate(read_manifest(toy))))
    return path


def facts(manifest, truth) -> dict:
    return results(score(manifest, truth=read_truth(truth)))["facts"]


def test_the_toy_worlds_own_captions_are_right(toy):
    assert facts(toy, toy) == {"right": 1.0, "wrong": 0.0, "missing": 0.0, "all right": 1.0, "captions": 4 * 64}


def test_facts_that_are_wrong_or_missing(toy, tmp_path):
    def change(index, clip):
        shape = clip.stats["toy"]["things"][0]["shape"]
        colour = clip.stats["toy"]["things"][0]["colour"]
        wrong = "green" if colour == "red" else "red"
        caption = [clip.caption, f"a {wrong} {shape}", "a cat", ""][index % 4]  # of three facts: 3, 1, 0, 0 are right
        return replace(clip, caption=caption, captions=[])

    manifest = altered(toy, tmp_path / "m.jsonl", change)
    expected = {"right": 4 / 12, "wrong": 1 / 12, "missing": 7 / 12, "all right": 1 / 4, "captions": 64}
    assert facts(manifest, manifest) == pytest.approx(expected)
    # the facts can also be another manifest's, by the clips' ids
    lost = altered(manifest, tmp_path / "lost.jsonl", lambda _, clip: replace(clip, stats={}))
    assert read_truth(lost) == {}
    assert facts(lost, toy) == pytest.approx(expected)


def test_a_clip_that_nobody_knows_is_a_problem(toy, tmp_path):
    manifest = altered(toy, tmp_path / "m.jsonl", lambda n, clip: replace(clip, id="mine") if n == 5 else clip)
    scores = score(manifest, truth=read_truth(toy))
    assert scores.problems == 1 and "'mine': it is unknown" in scores.listed[0] and scores.marked == 4 * 63


# ---------------------------------------------------------------- fit to the frames


class Brightness:
    """Stands in for CLIP: how bright the frames are, plus the number of words."""

    def score(self, clips, texts):
        assert all(frames.shape[0] == 3 and frames.dtype == np.uint8 for frames in clips)
        return [frames.mean() / 255 + len(text.split()) for frames, text in zip(clips, texts, strict=True)]


def absolute(toy, path, change=lambda index, clip: clip):
    """The toy world's manifest elsewhere, with the same videos."""
    return altered(toy, path, lambda n, clip: change(n, replace(clip, video=str(toy.parent / clip.video))))


def test_similarity_is_that_of_the_clips_frames_and_each_caption(toy, tmp_path):
    expected = []
    for clip in read_manifest(toy):
        path = toy.parent / clip.video
        expected += Brightness().score([Footage(clip, path, Reader(path)).pick(3)], [clip.caption])
    one = absolute(toy, tmp_path / "one.jsonl", lambda _, clip: replace(clip, captions=[]))
    found = results(score(one, Brightness(), allow_outside=True))["similarity"]
    assert found["mean"] == pytest.approx(np.mean(expected), abs=1e-5)
    assert found["max"] == pytest.approx(max(expected), abs=1e-5)
    assert len(score(toy, Brightness()).similarity) == 4 * 64


def test_a_broken_video_is_a_problem_and_its_caption_still_counts(toy, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    manifest = absolute(
        toy, tmp_path / "m.jsonl", lambda n, clip: replace(clip, video="broken.mp4") if n == 3 else clip
    )
    scores = score(manifest, Brightness(), allow_outside=True)
    assert len(scores.words) == 4 * 64 and len(scores.similarity) == 4 * 63
    assert scores.problems == 1 and "broken.mp4" in scores.listed[0]


# ---------------------------------------------------------------- the command


def call(monkeypatch, *arguments) -> None:
    monkeypatch.setattr(sys, "argv", ["score", *map(str, arguments)])
    main()


def test_the_command_prints_writes_and_draws(toy, tmp_path):
    (tmp_path / "m.jsonl").write_text(toy.read_text(encoding="utf-8") + "no row\n", encoding="utf-8")
    words = ["-m", "lite_sora.captioning.score", "m.jsonl", "--toy", "--out", "s.json", "--picture", "s.png"]
    text = commands.run(*words, cwd=tmp_path).stdout
    assert "256 captions of 64 clips" in text and "all right in 100.0% of 256 captions" in text
    assert "problems: 1\nm.jsonl, line 65: not JSON" in text
    found = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    assert found["facts"]["right"] == 1 and found["words"]["max"] == 7 and found["problems"] == 1
    with Image.open(tmp_path / "s.png") as picture:
        assert picture.size[0] > 1000 and len(picture.convert("RGB").getcolors(100_000)) > 10
    assert not list(tmp_path.glob("*.part"))


def test_the_command_with_a_clip(toy, tmp_path, tiny_clip, monkeypatch, capsys):  # noqa: F811
    two = absolute(toy, tmp_path / "two.jsonl")
    two.write_text("".join(two.read_text(encoding="utf-8").splitlines(keepends=True)[:2]), encoding="utf-8")
    call(monkeypatch, two, "--allow-outside", "--clip", tiny_clip, "--device", "cpu", "--out", tmp_path / "s.json")
    assert "similarity" in capsys.readouterr().out
    model, expected = FrameTextSimilarity(tiny_clip), []
    for clip in read_manifest(two, allow_outside=True):
        frames = Footage(clip, clip.video, Reader(clip.video)).pick(3)
        expected += model.score([frames] * len(clip.captions), clip.captions)
    found = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    assert found["clip"] == tiny_clip and found["similarity"]["mean"] == pytest.approx(np.mean(expected), abs=1e-5)


def test_a_table_without_captions_is_a_table(tmp_path):
    assert "0 captions of 1 clips, 1 of them without one" in table(of(tmp_path, ""))


def test_the_command_says_what_is_wrong(toy, tmp_path, monkeypatch, capsys):
    lost = altered(toy, tmp_path / "lost.jsonl", lambda _, clip: replace(clip, stats={}))
    with pytest.raises(SystemExit, match="lost.jsonl: does not say what the clips show .*--truth"):
        call(monkeypatch, lost, "--toy")
    with pytest.raises(SystemExit, match="nowhere.jsonl: there is no such manifest"):
        call(monkeypatch, tmp_path / "nowhere.jsonl")
    with pytest.raises(SystemExit, match="no CLIP can be loaded from there"):
        call(monkeypatch, toy, "--clip", tmp_path)
    with pytest.raises(SystemExit, match="--device nonsense: this machine has cpu"):
        call(monkeypatch, toy, "--device", "nonsense")
    (tmp_path / "file").write_text("", encoding="utf-8")
    for flag in ("--out", "--picture"):
        with pytest.raises(SystemExit, match=f"{flag} .*: the folder .* cannot be made"):
            call(monkeypatch, toy, flag, tmp_path / "file/below/s.json")
    with pytest.raises(SystemExit):
        call(monkeypatch, toy, "--truth", toy)
    assert "--truth is for --toy" in capsys.readouterr().err
    with pytest.raises(ManifestError):
        score(tmp_path / "nowhere.jsonl")
