"""What catalogs stand on: cells, rows of files of any length in flat memory."""

import json
import tracemalloc
from pathlib import Path

import pytest

from lite_sora.catalogs import clips, rows, tables
from lite_sora.catalogs.convert import Source, Used, convert
from lite_sora.catalogs.rows import csv_rows, json_rows, jsonl_rows
from lite_sora.catalogs.values import (
    CatalogError,
    Unusable,
    find_video,
    literal_list,
    seconds,
    split_name,
    split_of_file,
    youtube_id,
)


@pytest.mark.parametrize(
    "value, expected",
    [
        (3, 3.0),
        (137.72, 137.72),
        ("12.5", 12.5),
        ("1:02", 62.0),
        ("0:00:16.300", 16.3),
        ("00:07:33.689", 453.689),
        ("0:00:02", 2.0),  # no fraction, which strptime's %f wants
        ("0:00:02.1234567", 2.1234567),  # seven digits, of which it takes six
        ("25:00:00", 90000.0),  # hours that it does not know
        ("1 day, 0:00:01.5", 86401.5),  # str(timedelta)
        ("2 days, 1:00:00", 176400.0),
        ("PT00H00M17S", 17.0),
        ("PT1H2M3.5S", 3723.5),
        (" 0:01 ", 1.0),
    ],
)
def test_times(value, expected):
    assert seconds(value) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    "value",
    ["", "PT", "x", "1:", "-1", -1, "1:2:3:4", "0:00:02,5", None, True, [], float("nan"), float("inf"), "1_0", "١:٢"],
)
def test_what_is_no_time(value):
    with pytest.raises(Unusable, match="a time that cannot be read"):
        seconds(value)


def test_lists():
    assert literal_list("['It is', \"It's\", 'a \\'b\\'']") == ["It is", "It's", "a 'b'"]
    assert literal_list("[('00:00:16.300', '00:00:32.566')]") == [("00:00:16.300", "00:00:32.566")]
    assert literal_list([1, 2]) == [1, 2]


@pytest.mark.parametrize(
    "value",
    [
        "__import__('os').getcwd()",
        "[open('/etc/passwd')]",
        "[x for x in (1,)]",
        "{'a': 1}",
        "'text'",
        "3",
        "",
        "[1, 2",
        "[" * 100_000,
        "-" * 100_000 + "1",
        "[" + "9" * 5000 + "]",
        "['a'," * 5000,
        "['" + "x" * 5 * 2**20 + "']",  # longer than any cell should be
        "\0",
        None,
        7,
    ],
)
def test_what_is_no_list_is_reported_and_never_run(value):
    with pytest.raises(Unusable, match="a list that cannot be read"):
        literal_list(value)


@pytest.mark.parametrize(
    "name, split",
    [
        ("results_10M_train.csv", "train"),
        ("results_2M_val.csv", "val"),
        ("panda70m_training_full.csv", "train"),
        ("panda70m_validation.csv", "val"),
        ("panda70m_testing.csv", "test"),
        ("pretrain.csv", "train"),
        ("43k_human_train.json", "train"),
        ("train_val_videodatainfo.json", None),  # both: the column tells
        ("InternVid-10M-flt.jsonl", None),
        ("trainspotting.csv", None),
    ],
)
def test_split_of_a_files_name(name, split):
    assert split_of_file(Path("test") / name) == split


def test_names():
    assert [split_name(name) for name in ("validate", "Train", "held-out", "", None)] == [
        "val",
        "train",
        "held-out",
        None,
        None,
    ]
    assert youtube_id("https://www.youtube.com/watch?v=9lZi22q_-Eo") == "9lZi22q_-Eo"
    assert youtube_id("https://www.youtube.com/watch?list=x&v=9lZi22q_-Eo&t=3") == "9lZi22q_-Eo"
    assert youtube_id("https://youtu.be/9lZi22q_-Eo") == "9lZi22q_-Eo"
    assert [youtube_id(url) for url in ("https://example.com", "", None, 3)] == [None] * 4


def test_find_video(tmp_path):
    for name in ("a/b/one.mp4", "two.webm", "v_k_ZX.1.mkv", "clip.gif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = {
        "a/b/one.mp4": "a/b/one.mp4",
        "videos/a/b/one.mp4": "a/b/one.mp4",  # the folder that was given is videos/ itself
        "two.mp4": "two.webm",
        "deep/er/two.mp4": "two.webm",
        "v_k_ZX.1.mp4": "v_k_ZX.1.mkv",
        "clip.gif": "clip.gif",
        "/two.mp4": "two.webm",
        "../two.mp4": "two.webm",  # from within the folder, never from beside it
        "b/one.mp4": None,
        "gone.mp4": None,
        "a": None,
        "x\0.mp4": None,
        "": None,
    }
    assert {video: find_video(tmp_path, video) for video in found} == found


# ---------------------------------------------------------------- rows


def test_a_json_array_does_not_depend_on_where_the_chunks_end(tmp_path, monkeypatch):
    items = [{"a": "x" * n, "b": [n, {"c": '"],[{,\\ 好'}], "d": None, "e": -1.5e-3} for n in range(20)]
    path = tmp_path / "a.json"
    for chunk in (1, 2, 3, 7, 50, 1000):
        monkeypatch.setattr(rows, "CHUNK", chunk)
        for text in (json.dumps(items), json.dumps(items, indent=2, ensure_ascii=False) + "\n"):
            path.write_text(text, encoding="utf-8")
            assert [row for _, row in json_rows(path)] == items
    path.write_text(" [ ] ", encoding="utf-8")
    assert list(json_rows(path)) == []


def test_a_quote_that_is_never_closed_does_not_swallow_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "LONGEST_FIELD", 1000)
    path = tmp_path / "a.csv"
    path.write_text('id,name\n1,fine\n2,"open\n' + "".join(f"{n},good\n" for n in range(3, 400)), encoding="utf-8")
    found = [(where, row) for where, row in csv_rows(path, ["id"])]
    assert found[0] == ("a.csv, line 2", {"id": "1", "name": "fine"})
    where, bad = found[1]
    assert where == "a.csv, line 3" and isinstance(bad, Unusable) and bad.reason == "not CSV"
    assert found[-1] == ("a.csv, line 400", {"id": "399", "name": "good"})


def test_a_line_without_an_end_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "LONGEST_FIELD", 1000)
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a": "' + "x" * 2000, encoding="utf-8")
    found = jsonl_rows(tmp_path / "a.jsonl")
    assert next(found)[1] == {"a": 1}
    with pytest.raises(CatalogError, match="line 2: longer than"):
        next(found)


# ---------------------------------------------------------------- memory


def webvid_file(path: Path, count: int) -> Path:
    with path.open("w", encoding="utf-8") as file:
        file.write("videoid,contentUrl,duration,page_dir,name\n")
        file.writelines(f"{n},https://x,PT00H00M17S,000001_000050,clip number {n} {'x' * 50}\n" for n in range(count))
    return path


def internvid_file(path: Path, count: int) -> Path:
    times = '"Start_timestamp": "00:00:00.000", "End_timestamp": "00:00:04.004"'
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f'{{"YoutubeID": "{n:011d}", {times}, "Caption": "{"x" * 80}"}}\n' for n in range(count))
    return path


def shot2story_file(path: Path, count: int) -> Path:
    """All on one line."""
    shots = {"video_names": ["s_0_1.mp4"], "captions": [""]}
    with path.open("w", encoding="utf-8") as file:
        item = (json.dumps({"video": f"{n}.1.mp4", "whole_caption": "x" * 150} | shots) for n in range(count))
        file.write("[" + next(item))
        file.writelines(f", {one}" for one in item)
        file.write("]")
    return path


@pytest.mark.parametrize(
    "write, read",
    [(webvid_file, tables.webvid), (internvid_file, tables.internvid), (shot2story_file, clips.shot2story)],
    ids=["csv", "jsonl", "json"],
)
def test_memory_does_not_grow_with_the_file(write, read, tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "CHUNK", 2**16)
    peaks = []
    for count in (1_000, 10_000):
        path = write(tmp_path / f"{count}.txt", count)
        tracemalloc.start()
        assert convert([Source(read(path))], tmp_path / "manifest.jsonl").clips == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert path.stat().st_size > 1e6
    assert peaks[1] < peaks[0] + 5e4  # six bytes a row


def test_used_ids_are_kept_on_disk():
    tracemalloc.start()
    used = Used()
    assert all(used.add(f"id-{n}") for n in range(50_000))
    assert not used.add("id-17") and not used.add("id-49999") and used.add("id-50000")
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()
