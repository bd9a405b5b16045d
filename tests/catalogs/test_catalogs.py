"""Catalogs: small files of the exact published shapes become the clips that they describe, and the rest is reported."""

import json
import sys
from pathlib import Path

import commands
import numpy as np
import pytest

from lite_sora.catalogs import __main__ as command
from lite_sora.catalogs.captions import ABOUT_ALL
from lite_sora.data.clip import Clip, ManifestError, read_manifest
from lite_sora.data.video import write_video


def run(monkeypatch, name: str, *annotations: Path, out: Path, flags: str = "") -> list[Clip]:
    """The command, in this process; returns the manifest's clips."""
    flags = [name, "--annotations", *map(str, annotations), "--out", str(out), *flags.split()]
    monkeypatch.setattr(sys, "argv", ["catalogs", *flags])
    command.main()
    return list(read_manifest(out, allow_outside=True))


@pytest.fixture
def catalog(monkeypatch, tmp_path):
    """catalog(name, file name, content, flags) → the clips; `tmp_path` holds the manifest and the file."""

    def convert(name: str, file: str, content: str | bytes, flags: str = "") -> list[Clip]:
        path = tmp_path / file
        if path != tmp_path:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return run(monkeypatch, name, path, out=tmp_path / "manifest.jsonl", flags=flags)

    return convert


def rejected(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "manifest.rejected.jsonl").read_text(encoding="utf-8").splitlines()]


def reasons(folder: Path) -> list[str]:
    return [row["reason"] for row in rejected(folder)]


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


# ---------------------------------------------------------------- VideoInstruct-100K

VIDEO_INSTRUCT = [
    {"q": "What is the man doing in the video?", "a": "He is sharpening a knife.", "video_id": "v_JSYv9uYZP2o"},
    {"q": "Can you describe the video in detail?", "a": "The video opens with …", "video_id": "v_3qkNnr1_78I"},
    {"q": "Can you provide a summary of the video?", "a": "A man sharpens a knife.", "video_id": "v_JSYv9uYZP2o"},
    {"q": "What is happening in the video?", "a": "A knife is sharpened.", "video_id": "v_JSYv9uYZP2o"},
    {"q": "Could you briefly describe the video content?", "a": "  ", "video_id": "v_k_ZXmr8pmrs"},
]


def test_videoinstruct(catalog, tmp_path):
    clips = catalog("videoinstruct-100k", "VideoInstruct100K.json", json.dumps(VIDEO_INSTRUCT))
    assert clips == [
        Clip("v_3qkNnr1_78I", "v_3qkNnr1_78I.mp4", "The video opens with …", language="en", source="3qkNnr1_78I"),
        Clip(
            "v_JSYv9uYZP2o",
            "v_JSYv9uYZP2o.mp4",
            "A man sharpens a knife.",
            ["A man sharpens a knife.", "A knife is sharpened."],
            language="en",
            source="JSYv9uYZP2o",
        ),
    ]
    assert [row["where"] for row in rejected(tmp_path)] == [f"VideoInstruct100K.json, item {n}" for n in (1, 5)]
    clips = catalog("videoinstruct-100k", "VideoInstruct100K.json", json.dumps(VIDEO_INSTRUCT), "--all-questions")
    assert clips[0].captions[0] == "He is sharpening a knife." and len(clips[0].captions) == 3


@pytest.mark.parametrize(
    "question, whole",
    [
        ("Can you provide a summary of the video?", True),
        ("What are the main events in the video?", True),
        ("Could you briefly describe the video content?", True),
        ("What is happening in the video?", True),
        ("What's going on in this clip?", True),
        ("Give a description of what is happening in the video.", True),
        ("Can you describe the main activities in the video?", True),
        ("What is the man doing in the video?", False),
        ("Describe the appearance of the motorbike", False),
        ("Can you describe the man's clothing in the video?", False),
        ("Can you describe the man in the video?", False),
        ("Can you describe the video's background?", False),
        ("What is happening in the video after the man falls?", False),
        ("How does the person repair the car?", False),
    ],
)
def test_which_questions_ask_for_a_caption(question, whole):
    assert bool(ABOUT_ALL.search(question)) == whole


# ---------------------------------------------------------------- Panda-70M

PANDA = """\
videoID,url,timestamp,caption,matching_score,desirable_filtering,shot_boundary_detection
--0ABCdefGH,https://www.youtube.com/watch?v=--0ABCdefGH,"[['0:00:16.300', '0:00:32.566'], ['0:01:02.002', '0:01:10.100']]","['A person is kneading dough and putting jam on it.', ""It's a rally car driving on a dirt road.""]","[0.4523, 0.5121]","['desirable', '3_screen_in_screen']","[[['0:00:16.300', '0:00:32.566']], [['0:01:02.002', '0:01:06.000'], ['0:01:06.000', '0:01:10.100']]]"
aIPu1xGNbhc,https://www.youtube.com/watch?v=aIPu1xGNbhc,"[['0:00:19.227', '0:00:28.278']]","['A rhino and a lion.', 'one too many']",[0.5012],['desirable'],"[[['0:00:19.227', '0:00:28.278']]]"
bad--------,https://www.youtube.com/watch?v=bad--------,"[__import__('os').system('touch hacked')]",['a'],[0.5],['desirable'],[[[]]]
none-------,https://www.youtube.com/watch?v=none-------,,,,,
bIPu1xGNbhc,https://www.youtube.com/watch?v=bIPu1xGNbhc,"[['1 day, 0:00:01.000', '24:00:02'], ['0:00:05', '0:00:04'], ['x', '1']]","['late', 'backwards', 'no time']","[0.5, 0.5, 0.5]","['desirable', 'desirable', 'desirable']","[[[]], [[]], [[]]]"
"""  # noqa: E501


def test_panda70m(catalog, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clips = catalog("panda-70m", "panda70m_training_2m.csv", PANDA)
    assert clips[0] == Clip(
        "--0ABCdefGH_00000",
        "--0ABCdefGH.mp4",
        "A person is kneading dough and putting jam on it.",
        start=16.3,
        end=32.566,
        language="en",
        split="train",
        source="--0ABCdefGH",
        stats={"matching_score": 0.4523, "desirable_filtering": "desirable", "shots": 1},
    )
    assert (clips[1].caption, clips[1].start, clips[1].end) == (
        "It's a rally car driving on a dirt road.",
        62.002,
        70.1,
    )
    assert clips[1].stats["shots"] == 2 and clips[1].stats["desirable_filtering"] == "3_screen_in_screen"
    assert [(clip.id, clip.start, clip.end) for clip in clips[2:]] == [("bIPu1xGNbhc_00000", 86401, 86402)]
    assert reasons(tmp_path) == [
        "lists of different lengths",
        "a list that cannot be read",
        "a list that cannot be read",
        "ends before it starts",
        "a time that cannot be read",
    ]
    assert [row["where"].split()[-1] for row in rejected(tmp_path)] == ["3", "4", "5", "6", "6"]
    assert not (tmp_path / "hacked").exists()


def test_panda70m_of_five_columns_with_videos_elsewhere(catalog, tmp_path, capsys):
    rows = "videoID,url,timestamp,caption,matching_score\n" + "".join(
        f"{name},u,\"[['0:00:01.000', '0:00:02.000']]\",['a'],[0.5]\n" for name in ("here", "gone", "other")
    )
    touch(tmp_path / "disk", "here.mp4", "other.webm")
    (tmp_path / "work").mkdir()
    clips = catalog("panda-70m", "work/panda70m_testing.csv", rows, f"--videos {tmp_path}/disk")
    assert [clip.video for clip in clips] == ["disk/here.mp4", "disk/other.webm"]
    assert {clip.split for clip in clips} == {"test"}
    assert "no such video file" in capsys.readouterr().out
    assert rejected(tmp_path)[0]["row"] == {"id": "gone_00000", "video": "gone.mp4"}


def test_panda70m_cut_by_video2dataset(monkeypatch, tmp_path):
    v2d = touch(tmp_path / "v2d", "00000/0000000_00000.mp4", "00000/0000000_00001.mp4")
    row = {
        "videoID": "--0ABCdefGH",
        "url": "https://www.youtube.com/watch?v=--0ABCdefGH",
        "caption": "A person is kneading dough.",
        "matching_score": "0.4523",
        "desirable_filtering": "['desirable', '3_screen_in_screen']",
        "clips": "[('00:00:16.300', '00:00:32.566')]",
        "key": "0000000_00000",
        "status": "success",
        "error_message": None,
        "yt_meta_dict": None,
    }
    (v2d / "00000/0000000_00000.json").write_text(json.dumps(row), encoding="utf-8")
    (v2d / "00000/0000000_00001.json").write_text("{", encoding="utf-8")
    failed = row | {"key": "0000001", "status": "failed_to_download", "error_message": "gone"}
    (v2d / "00000/0000001.json").write_text(json.dumps(failed), encoding="utf-8")
    (v2d / "00000_stats.json").write_text('{"count": 3}', encoding="utf-8")
    clips = run(monkeypatch, "panda-70m", v2d, out=tmp_path / "manifest.jsonl", flags="--split val")
    assert clips == [
        Clip(
            "--0ABCdefGH_00000",
            "v2d/00000/0000000_00000.mp4",
            "A person is kneading dough.",
            language="en",
            split="val",
            source="--0ABCdefGH",
            stats={
                "matching_score": 0.4523,
                "desirable_filtering": "desirable",
                "source_start": 16.3,
                "source_end": 32.566,
            },
        )
    ]
    assert reasons(tmp_path) == ["not JSON", "video2dataset: failed_to_download"]


# ---------------------------------------------------------------- Youku-mPLUG


def test_youku(catalog, tmp_path):
    name = "videos/pretrain/14111Y1211b-1134b18bAE55bFE7Jbb7135YE3aY54EaB14ba7CbAa1AbACB24527A"
    title = "妈妈给宝宝听胎心，看看宝宝是怎么做的，太调皮了"
    (clip,) = catalog("youku-mplug", "pretrain.csv", f"video_id:FILE,title\n{name}.flv,{title}\n")
    assert clip == Clip(Path(name).name, f"{name}.flv", title, language="zh", split="train")
    assert title in (tmp_path / "manifest.jsonl").read_text(encoding="utf-8")  # readable for people

    (clip,) = catalog("youku-mplug", "classification_test.csv", "\ufeffvideo_id:FILE,title,label\na/b.mp4,[萌宠]兔,\n")
    assert (clip.caption, clip.split, clip.stats) == ("[萌宠]兔", "test", {})
    (clip,) = catalog("youku-mplug", "retrieval_train.csv", "clip_name:FILE,caption\nvideos/retrieval/x.mp4,女子\n")
    assert (clip.id, clip.video, clip.caption) == ("x", "videos/retrieval/x.mp4", "女子")


def test_youku_captioning(catalog, tmp_path):
    row = "videos/caption/x.mp4,\"['穿白色球服的女生高高跳起，接住了球。', '一排穿红色短袖的女生正在接受颁奖。']\"\n"
    (clip,) = catalog("youku-mplug", "captioning_val.csv", "video_id:FILE,golden_caption\n" + row)
    assert clip.split == "val" and clip.caption == clip.captions[0] == "穿白色球服的女生高高跳起，接住了球。"
    assert len(clip.captions) == 2
    rows = "videos/caption/x.mp4,球。\nvideos/caption/x.mp4,接住了。\nvideos/caption/x.mp4,球。\n"  # a caption each
    clips = catalog("youku-mplug", "captioning_train.csv", "video_id:FILE,golden_caption\n" + rows)
    assert [clip.caption for clip in clips] == ["球。", "接住了。"] and len({clip.id for clip in clips}) == 2
    with pytest.raises(SystemExit, match="nothing could be used"):  # the captions of the test set are hidden
        catalog("youku-mplug", "captioning_test.csv", "video_id:FILE,golden_caption\nvideos/caption/x.mp4,\n")
    assert reasons(tmp_path) == ['no "golden_caption"']


# ---------------------------------------------------------------- MSR-VTT

MSR_VTT = {
    "info": {"year": "2016", "version": "1.0", "description": "", "contributor": "", "data_created": ""},
    "videos": [
        {
            "category": 9,
            "url": "https://www.youtube.com/watch?v=9lZi22qLlEo",
            "video_id": "video0",
            "start time": 137.72,
            "end time": 149.44,
            "split": "train",
            "id": 0,
        },
        {
            "category": 14,
            "url": "https://www.youtube.com/watch?v=A9pM9iOuAzM",
            "video_id": "video6513",
            "start time": 116.03,
            "end time": 126.21,
            "split": "validate",
            "id": 6513,
        },
        {
            "category": 1,
            "url": "u",
            "video_id": "video7010",
            "start time": 0,
            "end time": 1,
            "split": "test",
            "id": 7010,
        },
    ],
    "sentences": [
        {"caption": "a car is shown", "video_id": "video0", "sen_id": 115},
        {"caption": "a family is having conversation", "video_id": "video6513", "sen_id": 130280},
        {"caption": "a group is dancing", "video_id": "video0", "sen_id": 116},
        {"caption": "a car is shown", "video_id": "video0", "sen_id": 117},
        {"caption": "of nothing", "video_id": "video9", "sen_id": 118},
    ],
}


def test_msrvtt(catalog, tmp_path):
    """The files are cut already: the times of the source are not those of the file."""
    clips = catalog("msr-vtt", "train_val_videodatainfo.json", json.dumps(MSR_VTT))
    assert clips == [
        Clip(
            "video0",
            "TrainValVideo/video0.mp4",
            "a car is shown",
            ["a car is shown", "a group is dancing"],
            language="en",
            split="train",
            source="9lZi22qLlEo",
            stats={"category": 9},
        ),
        Clip(
            "video6513",
            "TrainValVideo/video6513.mp4",
            "a family is having conversation",
            language="en",
            split="val",
            source="A9pM9iOuAzM",
            stats={"category": 14},
        ),
    ]
    assert reasons(tmp_path) == ["a sentence about a video that is not listed", "no caption"]


def test_msrvtt_with_videos(catalog, tmp_path):
    videos = touch(tmp_path / "all", "video0.mp4", "9lZi22qLlEo.mkv")  # a flat folder, unlike the official archives
    clips = catalog("msr-vtt", "MSRVTT_data.json", json.dumps(MSR_VTT), f"--videos {videos}")
    assert [(clip.video, clip.start) for clip in clips] == [("all/video0.mp4", None)]
    clips = catalog("msr-vtt", "MSRVTT_data.json", json.dumps(MSR_VTT), f"--videos {videos} --files sources")
    assert [(clip.video, clip.start, clip.end) for clip in clips] == [("all/9lZi22qLlEo.mkv", 137.72, 149.44)]


# ---------------------------------------------------------------- Shot2Story

SHOT2STORY = [
    {
        "video": "LEway_pIk20.78.mp4",
        "image_id": "LEway_pIk20.78.mp4",
        "id": 0,
        "whole_caption": "The video starts with …",
        "whole_ASR": "",
        "nvid": "LEway_pIk20.78.mp4",
        "video_names": ["LEway_pIk20.78_0_4.mp4", "LEway_pIk20.78_5_12.mp4", "LEway_pIk20.78_13_20.mp4"],
        "audio_captions": ["", "", ""],
        "captions": ["a man", "", "a woman"],
        "ASR": ["", "", ""],
    }
]


def test_shot2story(catalog):
    content = json.dumps(SHOT2STORY, indent=4)
    clips = catalog("shot2story", "43k_human_train.json", content)
    assert [(clip.id, clip.video, clip.caption) for clip in clips] == [
        ("LEway_pIk20.78", "LEway_pIk20.78.mp4", "The video starts with …"),
        ("LEway_pIk20.78_0_4", "LEway_pIk20.78_0_4.mp4", "a man"),
        ("LEway_pIk20.78_13_20", "LEway_pIk20.78_13_20.mp4", "a woman"),
    ]
    assert {(clip.source, clip.split, clip.start) for clip in clips} == {("LEway_pIk20", "train", None)}
    assert len(catalog("shot2story", "20k_val.json", content, "--parts whole")) == 1
    assert {clip.split for clip in catalog("shot2story", "20k_val.json", content, "--parts shots")} == {"val"}


def test_shots_are_windows_where_only_the_whole_is_there(catalog, tmp_path):
    videos = touch(tmp_path / "videos", "LEway_pIk20.78_0_4.mp4")
    write_video(videos / "LEway_pIk20.78.mp4", np.zeros((24, 16, 16, 3), np.uint8), fps=10)
    clips = catalog("shot2story", "20k_test.json", json.dumps(SHOT2STORY), f"--videos {videos} --parts shots")
    assert [(clip.video, clip.start, clip.end) for clip in clips] == [
        ("videos/LEway_pIk20.78_0_4.mp4", None, None),
        ("videos/LEway_pIk20.78.mp4", 1.3, 2.0),
    ]


# ---------------------------------------------------------------- InternVid

INTERNVID = (
    '{"YoutubeID": "qJrOyggIB-w", "Start_timestamp": "00:07:33.689", "End_timestamp": "00:07:51.085", "Caption": '
    '"a screen shot of heroes of the storm", "Aesthetic_Score": 4.29296875, "UMT_Score": 0.4501953125}\n'
    '{"YoutubeID": "-0a2vOUbe-M", "Start_timestamp": "00:00:00.000", "End_timestamp": "00:00:04.004", "Caption": '
    '"a man is talking in front of a car"}\n'
    "{broken\n"
    '"no object"\n'
    '{"YoutubeID": "-0a2vOUbe-M", "Start_timestamp": "00:00:00.000", "End_timestamp": "00:00:04.004", "Caption": "b"}\n'
)


def test_internvid(catalog, tmp_path):
    clips = catalog("internvid", "InternVid-10M-flt.jsonl", INTERNVID)
    assert clips == [
        Clip(
            "qJrOyggIB-w_00:07:33.689_00:07:51.085",
            "qJrOyggIB-w.mp4",
            "a screen shot of heroes of the storm",
            start=453.689,
            end=471.085,
            language="en",
            source="qJrOyggIB-w",
            stats={"aesthetic": 4.29296875, "umt_score": 0.4501953125},
        ),
        Clip(
            "-0a2vOUbe-M_00:00:00.000_00:00:04.004",
            "-0a2vOUbe-M.mp4",
            "a man is talking in front of a car",
            start=0.0,
            end=4.004,
            language="en",
            source="-0a2vOUbe-M",
        ),
    ]
    assert [row["where"].split()[-1] for row in rejected(tmp_path)] == ["3", "4", "5"]
    assert reasons(tmp_path) == ["not JSON", "not a JSON object", "a second clip of the same id"]
    cut = catalog("internvid", "InternVid-10M-flt.jsonl", INTERNVID, "--files clips --split test")
    assert (cut[0].video, cut[0].start, cut[0].split) == ("qJrOyggIB-w_00:07:33.689_00:07:51.085.mp4", None, "test")


# ---------------------------------------------------------------- WebVid-10M

WEBVID = """\
videoid,name,page_idx,page_dir,duration,contentUrl
1053841541,Travel blogger shoot a story. young man holds camera in forest.,27732,027701_027750,PT00H00M17S,https://x
5641526,Horse grazing - seperated on green screen,28620,054101_054150,PT00H01M24S,https://x
5641527,No folder,28620,,PT00H01M24S,https://x
5641528,Nor here,28620,nan,PT00H01M24S,https://x
5641526,The same with a newer title,28620,054101_054150,PT00H01M24S,https://x
5641529,"A quote, a comma
and a line break",1,000001_000050,,https://x
too,few
"""


def test_webvid(catalog, tmp_path):
    clips = catalog("webvid-10m", "results_10M_val.csv", WEBVID)
    assert clips[0] == Clip(
        "1053841541",
        "videos/027701_027750/1053841541.mp4",
        "Travel blogger shoot a story. young man holds camera in forest.",
        language="en",
        split="val",
        stats={"duration": 17.0},
    )
    assert [clip.id for clip in clips] == ["1053841541", "5641526", "5641529"]
    assert clips[1].stats == {"duration": 84.0} and clips[2].caption == "A quote, a comma\nand a line break"
    assert [(row["where"], row["reason"]) for row in rejected(tmp_path)] == [
        ("results_10M_val.csv, line 4", 'no "page_dir"'),
        ("results_10M_val.csv, line 5", 'no "page_dir"'),
        ("results_10M_val.csv, line 6", "a second clip of the same id"),
        ("results_10M_val.csv, line 9", "another number of cells than in the header"),
    ]


def test_webvid_of_other_columns_with_videos_and_a_limit(catalog, tmp_path):
    rows = "videoid,contentUrl,duration,page_dir,name\n" + "".join(
        f"{n},https://x,PT00H00M17S,000001_000050,clip {n}\n" for n in range(5)
    )
    touch(tmp_path, "videos/000001_000050/0.mp4", "videos/000001_000050/2.mp4", "videos/000001_000050/4.mp4")
    inside = f"{tmp_path}/videos"  # the dataset's videos/ itself, or the folder around it
    for videos in (inside, tmp_path):
        clips = catalog("webvid-10m", "results_10M_train.csv", rows, f"--videos {videos} --limit 2")
        assert [clip.video for clip in clips] == [f"videos/000001_000050/{n}.mp4" for n in (0, 2)]
        assert list(read_manifest(tmp_path / "manifest.jsonl")) == clips  # nothing outside


# ---------------------------------------------------------------- lite-sora's earlier layout


def test_lite_sora(catalog, tmp_path):
    rows = [
        {"path": "videos/dubrovnik_-_12866 (1080p).mp4", "text": "dubrovnik, sunset, sea, city"},
        {"path": "videos/gone.mp4", "text": "x"},
        {"path": "../secret.mp4", "text": "x"},
    ]
    touch(tmp_path, "old/videos/dubrovnik_-_12866 (1080p).mp4", "secret.mp4")
    clips = catalog("lite-sora", "old/metadata.json", json.dumps(rows, indent=4), "--language en")
    assert [clip.video for clip in clips] == ["old/videos/dubrovnik_-_12866 (1080p).mp4", "old/videos/gone.mp4"]
    assert clips[0].caption == "dubrovnik, sunset, sea, city" and clips[0].language == "en"
    clips = catalog("lite-sora", "old/metadata.json", json.dumps(rows), f"--videos {tmp_path}/old")
    assert [clip.video for clip in clips] == ["old/videos/dubrovnik_-_12866 (1080p).mp4"]
    assert reasons(tmp_path) == ["no such video file", "no such video file"]


# ---------------------------------------------------------------- what holds for all


def test_videos_outside_are_written_relatively_and_announced(catalog, tmp_path, capsys):
    videos = touch(tmp_path / "disk", "qJrOyggIB-w.mp4")
    (tmp_path / "work").mkdir()
    (tmp_path / "a.jsonl").write_text(INTERNVID, encoding="utf-8")
    flags = ["internvid", "--annotations", "a.jsonl", "--videos", videos, "--out", "work/manifest.jsonl"]
    done = commands.run("-m", "lite_sora.catalogs", *flags, cwd=tmp_path)
    assert "1 clips" in done.stdout and "--allow-outside" in done.stdout
    assert "a.jsonl, line 3: {broken" in done.stdout  # a rejected row in full
    (clip,) = read_manifest(tmp_path / "work/manifest.jsonl", allow_outside=True)
    assert clip.video == "../disk/qJrOyggIB-w.mp4"
    with pytest.raises(ManifestError, match="--allow-outside"):
        list(read_manifest(tmp_path / "work/manifest.jsonl"))


@pytest.mark.parametrize("path", ["../secret.mp4", "/etc/passwd", "a/../../secret.mp4"])
def test_annotations_cannot_name_files_outside(path, catalog, tmp_path):
    touch(tmp_path, "secret.mp4")
    rows = f"video_id:FILE,title\n{path},x\nfine.mp4,x\n"
    assert [clip.video for clip in catalog("youku-mplug", "pretrain.csv", rows)] == ["fine.mp4"]
    videos = touch(tmp_path / "disk", "fine.mp4")
    clips = catalog("youku-mplug", "pretrain.csv", rows, f"--videos {videos}")
    assert [clip.video for clip in clips] == ["disk/fine.mp4"]


def test_text_that_is_no_unicode_is_reported(catalog, tmp_path):
    rows = b"video_id:FILE,title\na.mp4,caf\xe9\nb.mp4,fine\n"
    assert [clip.id for clip in catalog("youku-mplug", "pretrain.csv", rows)] == ["b"]
    row = '{"YoutubeID": "%s", "Start_timestamp": "0:00", "End_timestamp": "0:01", "Caption": "%s"}\n'
    clips = catalog("internvid", "x.jsonl", row % ("a", "\\ud800") + row % ("b", "fine"))
    assert [clip.source for clip in clips] == ["b"]
    assert reasons(tmp_path) == ["text that is not valid Unicode"]


@pytest.mark.parametrize(
    "name, file, content, message",
    [
        ("webvid-10m", "a.csv", "id,caption\n1,x\n", "no column 'videoid'"),
        ("webvid-10m", "a.csv", "", "no column 'videoid'"),
        ("youku-mplug", "a.csv", "id,caption\n1,x\n", "no column …:FILE"),
        ("shot2story", "a.json", '{"a": 1}', "not a JSON array"),
        ("shot2story", "a.json", "", "not a JSON array"),
        ("shot2story", "a.json", "[1, 2]", "not a JSON object"),
        ("lite-sora", "a.json", '[{"path": "a.mp4", "text": "x"}, {"path": "b', "after item 1: .*download it again"),
        ("lite-sora", "a.json", '[{"path": "a.mp4", "text": "x"}', "after item 1: the array is not closed"),
        ("lite-sora", "a.json", '[{"path": "a.mp4", "text": "x"} {}]', "where a comma should be"),
        ("lite-sora", "a.json", "[" + '{"a":' * 100_000, "after item 0"),
        ("lite-sora", "a.json", "[]", "nothing could be used"),
        ("msr-vtt", "a.json", "[]", 'the lists "videos" and "sentences"'),
        ("msr-vtt", "a.json", "{", "not JSON"),
        ("internvid", "a.jsonl", "{}\n", "nothing could be used"),
        ("folder", "a.tar", "no tar", "not a tar file"),
        ("folder", "a.tar.gz", b"\x1f\x8b", "not a tar file without compression"),
        ("youku-mplug", "a.csv", b"x" * 200_000, "not a CSV file|no column …:FILE"),
        ("webvid-10m", "", "", "Is a directory"),
    ],
)
def test_a_file_of_another_kind_is_one_clear_error(name, file, content, message, catalog, tmp_path):
    with pytest.raises(SystemExit, match=message) as error:
        catalog(name, file, content)
    assert len(str(error.value)) < 1000 and not (tmp_path / "manifest.jsonl").exists()


def test_an_earlier_manifest_stays_where_the_new_one_fails(catalog, tmp_path):
    catalog("lite-sora", "a.json", '[{"path": "a.mp4", "text": "x"}]')
    before = (tmp_path / "manifest.jsonl").read_bytes()
    with pytest.raises(SystemExit):
        catalog("lite-sora", "a.json", '[{"path": "b.mp4", "text": "x"}, ')
    assert (tmp_path / "manifest.jsonl").read_bytes() == before
    assert not (tmp_path / "manifest.rejected.jsonl.part").exists()


@pytest.mark.parametrize(
    "flags, message",
    [
        ("--limit 0", "--limit"),
        ("--videos nowhere", "no such folder"),
        ("--all-questions", "--all-questions is for videoinstruct-100k"),
        ("--files clips", "--files is for msr-vtt and internvid"),
        ("--parts whole", "--parts is for shot2story"),
    ],
)
def test_flags_that_do_not_fit(flags, message, catalog, capsys):
    with pytest.raises(SystemExit):
        catalog("lite-sora", "a.json", "[]", flags)
    assert message in capsys.readouterr().err


def test_the_annotations_are_not_overwritten(monkeypatch, tmp_path):
    (tmp_path / "a.jsonl").write_text(INTERNVID, encoding="utf-8")
    with pytest.raises(SystemExit, match="would overwrite"):
        run(monkeypatch, "internvid", tmp_path / "a.jsonl", out=tmp_path / "a.jsonl")
    with pytest.raises(SystemExit, match=r"b\.jsonl: there is no such file"):
        run(monkeypatch, "internvid", tmp_path / "b.jsonl", out=tmp_path / "manifest.jsonl")
    with pytest.raises(SystemExit, match=r"^catalogs: --out .*: the folder .*/a\.jsonl cannot be made"):
        run(monkeypatch, "internvid", tmp_path / "a.jsonl", out=tmp_path / "a.jsonl/manifest.jsonl")


def test_several_files_make_one_manifest(monkeypatch, tmp_path):
    for split in ("train", "val"):
        (tmp_path / f"results_2M_{split}.csv").write_text(
            f"videoid,page_dir,name\n{split},000001_000050,a clip\n", encoding="utf-8"
        )
    clips = run(monkeypatch, "webvid-10m", *sorted(tmp_path.glob("*.csv")), out=tmp_path / "manifest.jsonl")
    assert [(clip.id, clip.split) for clip in clips] == [("train", "train"), ("val", "val")]
