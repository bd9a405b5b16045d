"""Catalogs of one's own files: folders, WebDataset shards, Data-Juicer's JSONL in both directions."""

import io
import json
import shlex
import tarfile

import pytest
from test_catalogs import reasons, rejected, run, touch

from lite_sora.data.clip import Clip, read_manifest, write_manifest


def member(
    tar: tarfile.TarFile, name: str, content: bytes = b"x", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(content) if kind == tarfile.REGTYPE else 0, kind, link
    tar.addfile(info, io.BytesIO(content))


# ---------------------------------------------------------------- a folder


def test_folder(monkeypatch, tmp_path):
    videos = touch(tmp_path / "my", "b/dog.MKV", "a.mp4", "c.mp4", "d.mp4", "e.mp4", "notes.pdf")
    (videos / "a.txt").write_text("\ufeff a cat\n jumps\n", encoding="utf-8")
    row = {"text": "ein Hund", "captions": ["a dog"], "start": "0:01", "end": 2.5, "split": "validate", "fps": 30}
    (videos / "b/dog.json").write_text(json.dumps(row | {"source": "film", "language": "de"}), encoding="utf-8")
    (videos / "d.json").write_text("{", encoding="utf-8")
    (videos / "e.txt").write_text(" \n", encoding="utf-8")
    clips = run(monkeypatch, "folder", videos, out=tmp_path / "manifest.jsonl", flags="--language en")
    assert clips == [
        Clip("a", "my/a.mp4", "a cat jumps", language="en"),
        Clip("c", "my/c.mp4", "", language="en"),
        Clip("e", "my/e.mp4", "", language="en"),
        Clip("b/dog", "my/b/dog.MKV", "ein Hund", ["ein Hund", "a dog"], 1.0, 2.5, "en", "val", "film"),
    ]
    assert [(row["where"], row["reason"]) for row in rejected(tmp_path)] == [
        ("d.mp4", "a .txt or .json that cannot be read"),
    ]


def test_videos_without_captions_are_kept_and_counted_and_the_next_command_is_said(monkeypatch, tmp_path, capsys):
    videos = touch(tmp_path / "my clips", "a.mp4", "b.mp4", "c.mp4")
    (videos / "a.txt").write_text("a cat jumps", encoding="utf-8")
    (videos / "b.txt").write_text("", encoding="utf-8")
    out = videos / "manifest.jsonl"
    clips = run(monkeypatch, "folder", videos, out=out)
    assert [(clip.id, clip.caption) for clip in clips] == [("a", "a cat jumps"), ("b", ""), ("c", "")]
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"{out}: 3 clips"
    said, _, command = second.partition(": ")
    assert said == "2 of them have no caption; describe them"
    captioned, model = str(videos / "manifest-captioned.jsonl"), "HuggingFaceTB/SmolVLM2-256M-Video-Instruct"
    words = ["-m", "lite_sora.captioning", str(out), "--out", captioned, "--model", model]
    assert shlex.split(command) == ["python", *words]
    (videos / "b.mp4").unlink()
    (videos / "c.mp4").unlink()
    run(monkeypatch, "folder", videos, out=out)
    assert capsys.readouterr().out == f"{out}: 1 clips\n"


def test_a_folder_is_its_own_place_of_videos(monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, "folder", tmp_path, out=tmp_path / "manifest.jsonl", flags=f"--videos {tmp_path}")
    assert "leave --videos out" in capsys.readouterr().err


# ---------------------------------------------------------------- shards


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "shards" / "00000.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as tar:
        member(tar, "one.mp4", b"video one")
        member(tar, "one.txt", b"ein rotes Auto")
        member(tar, "one.json", b'{"split": "train", "caption": "a red car"}')
        member(tar, "sub/two.json", b'{"caption": "two"}')  # the order within a sample is free
        member(tar, "sub/two.mp4", b"video two")
        member(tar, "three.mp4", b"no caption")
        member(tar, "four.txt", b"no video")
    return path


def test_shards(shard, monkeypatch, tmp_path):
    out = tmp_path / "work" / "manifest.jsonl"
    clips = run(monkeypatch, "folder", shard, out=out)
    assert clips == [
        Clip("00000/one", "00000/one.mp4", "ein rotes Auto", ["ein rotes Auto", "a red car"], split="train"),
        Clip("00000/sub/two", "00000/sub/two.mp4", "two"),
        Clip("00000/three", "00000/three.mp4", ""),
    ]
    assert list(read_manifest(out)) == clips  # nothing lies outside
    assert (out.parent / "00000/one.mp4").read_bytes() == b"video one"
    assert sorted(path.name for path in (out.parent / "00000").rglob("*")) == ["one.mp4", "sub", "three.mp4", "two.mp4"]
    assert reasons(out.parent) == ["a sample without a video"]


def test_shards_resume(shard, monkeypatch, tmp_path):
    """A video of the right size is left alone; another is written again."""
    out = tmp_path / "manifest.jsonl"
    run(monkeypatch, "folder", shard, out=out)
    one, two = tmp_path / "00000/one.mp4", tmp_path / "00000/sub/two.mp4"
    one.write_bytes(b"VIDEO ONE")  # of the same size
    two.write_bytes(b"vid")
    run(monkeypatch, "folder", shard, out=out)
    assert (one.read_bytes(), two.read_bytes()) == (b"VIDEO ONE", b"video two")


def test_shards_of_one_name_do_not_overwrite_each_other(shard, monkeypatch, tmp_path):
    other = tmp_path / "others" / shard.name
    other.parent.mkdir()
    other.write_bytes(shard.read_bytes())
    with pytest.raises(SystemExit, match="2 shards called 00000"):
        run(monkeypatch, "folder", shard, other, out=tmp_path / "manifest.jsonl")


def test_a_second_sample_of_one_key_does_not_replace_the_first(monkeypatch, tmp_path):
    path = tmp_path / "twice.tar"
    with tarfile.open(path, "w") as tar:
        for name, content in (("one", b"first"), ("two", b"x"), ("one", b"the second")):
            member(tar, f"{name}.mp4", content)
            member(tar, f"{name}.txt", content)
    clips = run(monkeypatch, "folder", path, out=tmp_path / "manifest.jsonl")
    assert [clip.caption for clip in clips] == ["first", "x"]
    assert (tmp_path / "twice/one.mp4").read_bytes() == b"first"
    assert reasons(tmp_path) == ["a second sample of the same key"]


def test_hostile_shards_write_nothing_outside(monkeypatch, tmp_path):
    path = tmp_path / "evil.tar"
    secret = touch(tmp_path, "secret.mp4") / "secret.mp4"
    home = tmp_path / "a" / "b"
    with tarfile.open(path, "w") as tar:
        for name in ("../up.mp4", f"{tmp_path}/absolute.mp4", "x/../../up.mp4"):
            member(tar, name)
            member(tar, name.replace(".mp4", ".txt"), b"caption")
        for name, kind in (("soft", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE), ("pipe", tarfile.FIFOTYPE)):
            member(tar, f"{name}.mp4", kind=kind, link=str(secret))
            member(tar, f"{name}.txt", b"caption")
        member(tar, "long.mp4")
        member(tar, "long.txt", b"a" * 2**21)
        member(tar, "good.mp4")
        member(tar, "good.txt", b"caption")
    before = {item for item in tmp_path.rglob("*")}
    clips = run(monkeypatch, "folder", path, out=home / "manifest.jsonl")
    assert [clip.video for clip in clips] == ["evil/good.mp4"]
    new = {str(item.relative_to(tmp_path)) for item in set(tmp_path.rglob("*")) - before}
    below = {"a/b/evil", "a/b/evil/good.mp4", "a/b/manifest.jsonl", "a/b/manifest.rejected.jsonl"}
    assert new == {"a", "a/b"} | below
    counted = reasons(home)
    assert counted.count("a member that is not a plain file") == 3 and counted.count("a .txt that is too long") == 1
    assert counted.count("a member whose name leads out of the folder") == 3


@pytest.mark.parametrize("last", ["mp4", "txt"])
def test_a_shard_that_breaks_off_gives_what_came_before(last, monkeypatch, tmp_path):
    path = tmp_path / "cut.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("one", "two"):
            for kind in ("txt", "mp4") if last == "mp4" else ("mp4", "txt"):
                member(tar, f"{name}.{kind}", b"caption " * 5000)
    path.write_bytes(path.read_bytes()[: path.read_bytes().rindex(b"caption") - 9999])
    clips = run(monkeypatch, "folder", path, out=tmp_path / "manifest.jsonl")
    assert [clip.video for clip in clips] == ["cut/one.mp4"]
    assert "a shard that breaks off: download it again" in reasons(tmp_path)
    assert not list(tmp_path.rglob("*.part")) and not (tmp_path / "cut/two.mp4").exists()


def test_a_sample_that_cannot_be_written_is_reported(monkeypatch, tmp_path):
    path = tmp_path / "odd.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("a", "a.mp4/b", "x" * 250, "c"):  # a file where a folder should be; too long with .part
            member(tar, f"{name}.mp4")
            member(tar, f"{name}.txt", b"caption")
    clips = run(monkeypatch, "folder", path, out=tmp_path / "manifest.jsonl")
    assert [clip.video for clip in clips] == ["odd/a.mp4", "odd/c.mp4"]
    assert reasons(tmp_path) == ["a member that cannot be extracted"] * 2


# ---------------------------------------------------------------- Data-Juicer

SAMPLES = [
    {
        "text": "<__dj__video> a family is having conversation <|__dj__eoc|>",
        "videos": ["videos/video6513.mp4"],
        "meta": {"src": "msrvtt"},
        "id": 6513,
        "__dj__stats__": {
            "video_duration": [10],
            "video_aspect_ratios": ["4/3"],
            "video_frames_aesthetics_score": [0.45],
            "video_motion_score": [1.5],
        },
    },
    {
        "text": "<__dj__video> <__dj__audio> one <|__dj__eoc|> <__dj__video> <__dj__video> two <|__dj__eoc|>",
        "videos": ["a.mp4", "b.mp4", "c.mp4"],
        "id": "x",
        "__dj__stats__": {"video_duration": [1, 2, 3]},
    },
    {"text": "no token at all", "videos": ["d.mp4"]},
    {"text": "<__dj__video> too few <|__dj__eoc|>", "videos": ["a.mp4", "b.mp4"]},
    {"text": "<__dj__video> <|__dj__eoc|>", "videos": ["e.mp4"]},
    {"text": "no video", "videos": []},
]


def test_from_data_juicer(monkeypatch, tmp_path):
    (tmp_path / "dj").mkdir()
    path = tmp_path / "dj" / "dataset.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in SAMPLES), encoding="utf-8")
    clips = run(monkeypatch, "data-juicer", path, out=tmp_path / "manifest.jsonl", flags="--language en")
    assert clips[0] == Clip(
        "6513",
        "dj/videos/video6513.mp4",
        "a family is having conversation",
        language="en",
        stats={"duration": 10, "aesthetic": 4.5, "video_motion_score": 1.5},
    )
    assert [(clip.id, clip.video, clip.caption, clip.stats) for clip in clips[1:4]] == [
        ("x-0", "dj/a.mp4", "one", {"duration": 1}),
        ("x-1", "dj/b.mp4", "two", {"duration": 2}),
        ("x-2", "dj/c.mp4", "two", {"duration": 3}),
    ]
    assert clips[4].caption == "no token at all" and clips[4].id.startswith("d-")
    assert reasons(tmp_path) == ["another number of video tokens than of videos", "no caption", 'no "videos"']
    again = run(monkeypatch, "data-juicer", path, out=tmp_path / "again.jsonl", flags="--language en")
    assert [clip.id for clip in again] == [clip.id for clip in clips]  # stable


def test_to_data_juicer_and_back(monkeypatch, tmp_path, capsys):
    clips = [
        Clip(
            "1",
            "videos/a.mp4",
            "一只猫",
            ["一只猫", "a cat"],
            language="zh",
            split="train",
            source="film",
            stats={
                "duration": 2.5,
                "width": 640,
                "height": 480,
                "aesthetic": 5.3,
                "motion": 0.1,
                "toy": {"things": []},
            },
        ),
        Clip("2", "videos/b.mp4", "a dog", start=1.0, end=2.0, stats={"duration": 1.0}),
    ]
    (tmp_path / "ours").mkdir()
    write_manifest(tmp_path / "ours/manifest.jsonl", clips)
    monkeypatch.setattr(
        "sys.argv",
        [
            "catalogs",
            "to-data-juicer",
            "--annotations",
            f"{tmp_path}/ours/manifest.jsonl",
            "--out",
            f"{tmp_path}/dj.jsonl",
        ],
    )
    from lite_sora.catalogs.__main__ import main

    main()
    assert "2 samples" in (said := capsys.readouterr().out) and "1 are windows" in said
    samples = [json.loads(line) for line in (tmp_path / "dj.jsonl").read_text(encoding="utf-8").splitlines()]
    assert samples[0]["text"] == "<__dj__video> 一只猫 <|__dj__eoc|>" and samples[0]["videos"] == ["ours/videos/a.mp4"]
    assert samples[0]["__dj__stats__"] == {
        "video_duration": [2.5],
        "video_width": [640],
        "video_height": [480],
        "video_frames_aesthetics_score": [pytest.approx(0.53)],
        "video_aspect_ratios": ["4/3"],
    }
    assert "__dj__stats__" not in samples[1]  # what was measured of a window is not true of the file
    back = run(monkeypatch, "data-juicer", tmp_path / "dj.jsonl", out=tmp_path / "ours/back.jsonl")
    assert back == clips
