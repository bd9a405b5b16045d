"""Checking a manifest: every kind of mistake is found, with its line, and nothing is found where nothing is wrong."""

import json

import commands
import numpy as np
import pytest
from PIL import Image

from lite_sora.data.check import LISTED, check, draw, summary
from lite_sora.data.clip import ManifestError
from lite_sora.data.video import write_video


@pytest.fixture
def folder(tmp_path):
    """Two videos of two seconds, a picture, and a file that is broken."""
    for name, width in (("a", 64), ("b", 48)):
        write_video(tmp_path / f"{name}.mp4", np.zeros((20, 48, width, 3), np.uint8), fps=10)
    Image.new("RGB", (40, 30)).save(tmp_path / "photo.png")
    (tmp_path / "broken.mp4").write_text("<html>404</html>", encoding="utf-8")
    return tmp_path


GOOD = [
    {"id": "1", "video": "a.mp4", "caption": "one", "split": "train"},
    {"id": "2", "video": "a.mp4", "caption": "one two", "start": 0.5, "end": 2.0, "split": "train"},
    {"id": "3", "video": "b.mp4", "captions": ["one", "one two three"], "end": 2.04, "split": "val"},
    {"id": "4", "video": "photo.png", "caption": "one two three four"},
]


def checked(folder, rows):
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "clips.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return check(folder / "clips.jsonl")


def test_a_good_manifest(folder):
    findings = checked(folder, GOOD)
    assert not findings.problems and not findings.listed
    assert findings.clips == 4 and findings.splits == {"train": 2, "val": 1, None: 1}
    assert findings.sizes == {(64, 48): 2, (48, 48): 1, (40, 30): 1}
    assert list(findings.durations) == pytest.approx([2, 1.5, 2, 0])
    assert list(findings.words) == [1, 2, 1, 3, 4]
    text = summary(findings)
    assert text.startswith("4 clips (train 2, val 1, no split 1), 0.00 hours\n")
    assert "seconds a clip: 0 to 2, median 1.75" in text and "words a caption: 1 to 4, median 2" in text
    assert "64×48 (2)" in text and text.endswith("nothing is wrong with it")


@pytest.mark.parametrize(
    "row, kind, text",
    [
        ("{", "not a clip", "not JSON"),
        ({"id": "5", "caption": "x"}, "not a clip", 'no "video"'),
        ({"id": "5", "video": "../a.mp4", "caption": "x"}, "not a clip", "is outside"),
        ({"id": "5", "video": "none.mp4", "caption": "x"}, "missing file", "none.mp4: there is no such file"),
        ({"id": "5", "video": "broken.mp4", "caption": "x"}, "broken file", "broken.mp4: not a video"),
        ({"id": "5", "video": "b.mp4", "caption": " ", "split": "val"}, "no caption", "clip '5' has no caption"),
        ({"id": "2", "video": "photo.png", "caption": "x"}, "one id twice", "id '2' is that of line 2 too"),
        (
            {"id": "5", "video": "b.mp4", "caption": "x", "split": "train"},
            "one source in two splits",
            "source 'b.mp4' is in split 'train' here, and in 'val' in line 3",
        ),
        (
            {"id": "5", "video": "b.mp4", "caption": "x", "split": "val", "start": 1.0, "end": 2.5},
            "wrong times",
            "clip '5' goes from 1.00 to 2.50 s, but b.mp4 lasts 2.00 s",
        ),
        (
            {"id": "5", "video": "b.mp4", "caption": "x", "split": "val", "start": 2.1},
            "wrong times",
            "from 2.10 to 2.00",
        ),
    ],
)
def test_every_mistake_is_found_with_its_line(row, kind, text, folder):
    findings = checked(folder, [*GOOD, "", row])
    assert findings.problems == {kind: 1}
    (listed,) = findings.listed
    assert listed.startswith("line 6: ") and text in listed
    assert text in summary(findings) and summary(findings).endswith(f"problems: 1 ({kind} 1)")


def test_a_source_is_what_clips_were_cut_from(folder):
    one, other = GOOD[0] | {"source": "film"}, GOOD[2] | {"source": "film"}
    assert checked(folder, [one, other]).problems == {"one source in two splits": 1}
    assert not checked(folder, [GOOD[0], GOOD[1] | {"split": "val", "source": "another"}]).problems


def test_only_the_first_problems_are_listed(folder):
    findings = checked(folder, [{"id": str(n), "video": "a.mp4", "caption": ""} for n in range(50)])
    assert findings.problems == {"no caption": 50} and len(findings.listed) == LISTED
    assert "line 20: " in summary(findings) and "line 21: " not in summary(findings)
    assert "… and 30 more" in summary(findings)


def test_an_empty_manifest_is_a_problem(folder):
    assert checked(folder, []).problems.total() == 1
    with pytest.raises(ManifestError, match="no such manifest"):
        check(folder / "nothing.jsonl")


def test_the_picture_shows_what_there_is(folder):
    draw(checked(folder, GOOD), folder / "full.png")
    draw(checked(folder, []), folder / "empty.png")  # of nothing, but no error
    with Image.open(folder / "full.png") as full, Image.open(folder / "empty.png") as empty:
        assert full.format == empty.format == "PNG"
        blue = [((np.array(image.convert("RGB")) == (31, 119, 180)).all(-1)).sum() for image in (full, empty)]
    assert blue[0] > 10_000 and blue[1] == 0
    assert not list(folder.glob("*.part"))


def test_the_command(folder):
    def run(*arguments):
        return commands.Command("-m", "lite_sora.data.check", *arguments).wait()

    checked(folder, GOOD)
    done = run(folder / "clips.jsonl")
    assert done.returncode == 0 and "nothing is wrong" in done.stdout
    assert (folder / "clips-check.png").is_file()
    checked(folder, [*GOOD, GOOD[0]])
    done = run(folder / "clips.jsonl", "--picture", folder / "other.png")
    assert done.returncode == 1 and "line 5: id '1' is that of line 1 too" in done.stdout
    assert (folder / "other.png").is_file()
    done = run(folder / "clips.jsonl", "--picture", folder / "a.mp4/picture.png")
    assert done.returncode == 1 and "check: --picture " in done.stderr and "cannot be made" in done.stderr
    done = run(folder / "nothing.jsonl")
    assert done.returncode == 1 and "there is no such manifest" in done.stderr and "Traceback" not in done.stderr
