"""Manifests: what is written is read, what is wrong is named with its file and line, nothing outside is opened."""

import json
import os
import re

import pytest

from lite_sora.data.clip import Clip, ManifestError, check_out, read_manifest, read_rows, write_manifest


def manifest(folder, *rows) -> str:
    """A manifest of these rows, objects or bytes as they are."""
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    (folder / "clips.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return folder / "clips.jsonl"


GOOD = {"id": "a", "video": "a.mp4", "caption": "a red circle"}


def test_round_trip(tmp_path):
    clips = [
        Clip("1", "one.mp4", "a red circle"),
        Clip("2", "sub/two.mkv", "kırmızı daire 红色圆圈 ●", ["kırmızı daire 红色圆圈 ●", "another"], language="tr"),
        Clip(
            "3", "three.mp4", "", start=0.0, end=2.5, split="train", source="film", stats={"motion": [1, 2.5], "ok": {}}
        ),
        Clip("4", 'a "name" with\nodd\tsigns.mp4', "x", start=1, end=2),
    ]
    assert write_manifest(tmp_path / "clips.jsonl", iter(clips)) == len(clips)
    assert list(read_manifest(tmp_path / "clips.jsonl")) == clips
    lines = (tmp_path / "clips.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[0]) == {"id": "1", "video": "one.mp4", "caption": "a red circle"}  # no empty keys
    assert "红色圆圈" in lines[1]  # readable for people
    assert write_manifest(tmp_path / "none.jsonl", []) == 0
    assert list(read_manifest(tmp_path / "none.jsonl")) == []


def test_rows_of_others(tmp_path):
    """Missing ids, keys that are not ours, nulls, empty lines, Windows' line ends and byte order mark."""
    rows = [
        b'\xef\xbb\xbf{"video": "clips/first.mp4", "caption": "x", "fps": 30}\r',
        b"   ",
        {"id": "second", "video": "b.mp4", "caption": None, "start": None, "captions": None, "stats": None},
    ]
    assert list(read_manifest(manifest(tmp_path, *rows))) == [
        Clip("first", "clips/first.mp4", "x"),
        Clip("second", "b.mp4", ""),
    ]


def test_all_captions():
    assert Clip("1", "a.mp4", "one").all_captions == ["one"]
    assert Clip("1", "a.mp4", "one", ["one", "two"]).all_captions == ["one", "two"]


def test_rows_come_one_by_one(tmp_path):
    """A broken row does not hide those before it, and nothing is read ahead."""
    rows = read_manifest(manifest(tmp_path, GOOD, GOOD, b"{"))
    assert [next(rows).id, next(rows).id] == ["a", "a"]
    with pytest.raises(ManifestError, match="line 3"):
        next(rows)


def test_all_rows_with_their_lines(tmp_path):
    """For who wants to know of every mistake, a broken row is not the end."""
    rows = list(read_rows(manifest(tmp_path, GOOD, b"", b"{", GOOD | {"video": "../a.mp4"}, GOOD)))
    assert [(number, type(row)) for number, row in rows] == [
        (1, Clip),
        (3, ManifestError),
        (4, ManifestError),
        (5, Clip),
    ]
    assert "line 3: not JSON" in str(rows[1][1])


@pytest.mark.parametrize(
    "row, reason",
    [
        (b"{not json", "not JSON"),
        (b'{"video": "a.mp4", "caption": "caf\xe9"}', "not JSON"),  # Latin-1
        (b"[" * 100_000, "not JSON"),
        (b'["a.mp4"]', "a row is a JSON object"),
        (b'"a.mp4"', "a row is a JSON object"),
        ({"caption": "x"}, 'no "video"'),
        ({"video": "", "caption": "x"}, 'no "video"'),
        ({"video": 3, "caption": "x"}, 'no "video"'),
        (GOOD | {"caption": ["x"]}, '"caption"'),
        (GOOD | {"captions": "x"}, '"captions"'),
        (GOOD | {"captions": ["x", 3]}, '"captions"'),
        (GOOD | {"start": "1"}, '"start"'),
        (GOOD | {"start": True}, '"start"'),
        (GOOD | {"end": "1"}, '"end"'),
        (GOOD | {"id": 7}, '"id"'),
        (GOOD | {"split": ["train"]}, '"split"'),
        (GOOD | {"stats": []}, '"stats"'),
        (GOOD | {"start": -1.0}, '"start" and "end"'),
        (GOOD | {"start": 2.0, "end": 2.0}, '"start" and "end"'),
        (GOOD | {"start": 3.0, "end": 2.0}, '"start" and "end"'),
        (GOOD | {"start": float("nan")}, '"start" and "end"'),
        (GOOD | {"end": float("nan")}, '"start" and "end"'),
        (GOOD | {"start": float("inf")}, '"start" and "end"'),
    ],
)
def test_errors_name_the_file_and_the_line(row, reason, tmp_path):
    path = manifest(tmp_path, GOOD, b"", row, GOOD)
    with pytest.raises(ManifestError, match=reason) as error:
        list(read_manifest(path))
    assert str(error.value).startswith(f"{path}, line 3: ")


def test_no_manifest(tmp_path):
    with pytest.raises(ManifestError, match=r"nothing\.jsonl: there is no such manifest"):
        next(read_manifest(tmp_path / "nothing.jsonl"))


def test_a_folder_in_the_place_of_its_manifest(tmp_path):
    inside = tmp_path / "manifest.jsonl"
    make = f"make a manifest of it: python -m lite_sora.catalogs folder --annotations {tmp_path} --out {inside}"
    for use in (lambda: next(read_manifest(tmp_path)), lambda: check_out(tmp_path, tmp_path / "out.jsonl")):
        inside.unlink(missing_ok=True)
        with pytest.raises(ManifestError, match=re.escape(f"{tmp_path} is a folder; {make}")):
            use()
        manifest(tmp_path, GOOD).rename(inside)
        with pytest.raises(
            ManifestError, match=re.escape(f"{tmp_path} is a folder; name the manifest in it, {inside}")
        ):
            use()


@pytest.fixture
def data(tmp_path):
    """A folder of data, beside it something that is nobody's business, and links to it."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "film.mp4").write_bytes(b"x")
    folder = tmp_path / "data"
    (folder / "videos").mkdir(parents=True)
    (folder / "link.mp4").symlink_to(tmp_path / "secret" / "film.mp4")
    (folder / "linked").symlink_to(tmp_path / "secret")
    (folder / "inside.mp4").symlink_to(folder / "videos" / "a.mp4")
    (folder / "circle.mp4").symlink_to(folder / "circle.mp4")
    return folder


OUTSIDE = ["../secret/film.mp4", "videos/../../secret/film.mp4", "/etc/passwd", "link.mp4", "linked/film.mp4", ".."]


@pytest.mark.parametrize("video", [*OUTSIDE, "circle.mp4", "zero\0byte.mp4"])
def test_paths_outside_are_refused(video, data):
    path = manifest(data, GOOD, GOOD | {"video": video})
    with pytest.raises(ManifestError) as error:
        list(read_manifest(path))
    assert str(error.value).startswith(f"{path}, line 2: ")
    assert repr(video) in str(error.value) and "--allow-outside" in str(error.value)


def test_paths_outside_are_read_where_they_are_allowed(data):
    rows = [GOOD | {"video": video} for video in OUTSIDE]
    assert [clip.video for clip in read_manifest(manifest(data, *rows), allow_outside=True)] == OUTSIDE


def test_paths_inside_are_read(data, monkeypatch):
    inside = ["a.mp4", "videos/a.mp4", "./videos/a.mp4", "inside.mp4", "..a.mp4"]
    path = manifest(data, *(GOOD | {"video": video} for video in inside))
    assert [clip.video for clip in read_manifest(path)] == inside
    monkeypatch.chdir(data)  # a manifest that is named without its folder
    assert [clip.video for clip in read_manifest("clips.jsonl")] == inside


def test_a_manifest_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "clips.jsonl"
    write_manifest(path, [Clip("old", "a.mp4", "x")])

    def clips():
        yield Clip("new", "b.mp4", "x")
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        write_manifest(path, clips())
    assert [clip.id for clip in read_manifest(path)] == ["old"]
    with pytest.raises(RuntimeError):
        write_manifest(tmp_path / "fresh.jsonl", clips())
    assert not (tmp_path / "fresh.jsonl").exists()

    written = []  # and everything is on the disk before the new name takes the old one's place
    monkeypatch.setattr(os, "fsync", lambda file: written.append(os.fstat(file).st_size))
    write_manifest(path, [Clip("new", "b.mp4", "x")])
    assert written == [path.stat().st_size]
    assert [clip.id for clip in read_manifest(path)] == ["new"]


def test_a_row_with_captions_but_no_caption_takes_the_first(tmp_path):
    path = tmp_path / "manifest.jsonl"
    path.write_text(
        json.dumps({"video": "a.mp4", "caption": " ", "captions": ["", "a cat", "a dog"]}) + "\n", encoding="utf-8"
    )
    assert next(read_manifest(path)).caption == "a cat"


def test_half_a_character_is_no_caption(tmp_path):
    path = tmp_path / "manifest.jsonl"
    path.write_text(
        '{"video": "a.mp4", "caption": "a cat \\ud83d\\ude00"}\n{"video": "a.mp4", "caption": "a cat \\ud83d"}\n',
        encoding="utf-8",
    )
    clips = read_manifest(path)
    assert next(clips).caption == "a cat \U0001f600"
    with pytest.raises(ManifestError, match="line 2: contains half of a character"):
        next(clips)


def test_a_manifest_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    def clips():
        yield Clip("a", "a.mp4", "a cat")
        raise ValueError

    with pytest.raises(ValueError):
        write_manifest(tmp_path / "manifest.jsonl", clips())
    assert list(tmp_path.iterdir()) == []
