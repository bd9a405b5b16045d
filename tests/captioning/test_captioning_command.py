"""python -m lite_sora.captioning, as a person types it, with tiny random models."""

import json
import shlex
import shutil
import sys
from pathlib import Path

import commands
import pytest
import transformers
from captioning import tiny

from lite_sora.captioning import __main__ as command_line
from lite_sora.captioning.request import read_prompt
from lite_sora.catalogs.__main__ import main as catalogs
from lite_sora.curation.__main__ import main as curation
from lite_sora.data.clip import read_manifest
from lite_sora.toy.dataset import write_toy_dataset


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A toy world of five clips, one more row without a video, and folders of models."""
    home = tmp_path_factory.mktemp("home")
    for build in (tiny.idefics3, tiny.git):
        (home / build.__name__).mkdir()
        build(home / build.__name__)
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**tiny.TEXT)).save_pretrained(home / "writer")
    tiny.tokens().save_pretrained(home / "writer")
    write_toy_dataset(home / "toy", clips=5)
    with (home / "toy/manifest.jsonl").open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"id": "gone", "video": "gone.mp4", "caption": "a ghost"}) + "\n")
    return home


def flags(home: Path, *more: str) -> list[str]:
    always = ["--device", "cpu", "--max-tokens", "6", "--frames", "3", "--batch", "2", "--workers", "0"]
    return [str(home / "toy/manifest.jsonl"), "--out", str(home / "toy/out.jsonl"), *always, *more]


def run(monkeypatch, capsys, *arguments: str) -> tuple[str, str]:
    """In this process; returns (stdout, the error)."""
    monkeypatch.setattr(sys, "argv", ["captioning", *arguments])
    capsys.readouterr()
    try:
        command_line.main()
        reason = ""
    except SystemExit as stop:
        reason = str(stop)
    captured = capsys.readouterr()
    return captured.out, captured.err.splitlines()[-1] if reason == "2" else reason


def test_the_whole_command(home):
    words = flags(home, "--model", str(home / "idefics3"), "--workers", "1")
    done = commands.run("-m", "lite_sora.captioning", *words)
    assert "5 clips captioned" in done.stdout and "1 skipped, listed in" in done.stdout
    assert "captioning: 100%" in done.stderr and done.stdout.count("\n    → ") == 5
    clips = list(read_manifest(home / "toy/out.jsonl"))
    assert len(clips) == 5 and (home / "toy/out-captions/examples.png").exists()
    old, new = clips[0].stats["captioning"]
    assert (
        old["model"] is None
        and len(old["captions"]) == 4
        and f"{old['caption']}\n    → {new['caption']}" in done.stdout
    )
    assert new["model"] == str(home / "idefics3") and new["prompt"] == read_prompt("video")
    assert new["caption"] == clips[0].caption and len(new["frames"]) == 3


def test_videos_without_captions_go_from_a_folder_through_curation_to_captions(home, tmp_path, monkeypatch, capsys):
    """Each command as a person types it, and the last as the first one prints it, but for the model."""
    for video in sorted((home / "toy/videos").glob("*.mp4"))[:3]:
        shutil.copy(video, tmp_path)
    manifest, clean = tmp_path / "manifest.jsonl", tmp_path / "clean.jsonl"
    words = ["catalogs", "folder", "--annotations", str(tmp_path), "--out", str(manifest)]
    monkeypatch.setattr(sys, "argv", words)
    catalogs()
    said = capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["curation", "toy", "--manifest", str(manifest), "--out", str(clean)])
    curation()
    assert [clip.caption for clip in read_manifest(clean)] == [""] * 3
    *command, _ = shlex.split(said.partition("describe them: ")[2].replace(str(manifest), str(clean)))
    assert command[:3] == ["python", "-m", "lite_sora.captioning"]
    small = ["--device", "cpu", "--max-tokens", "6", "--frames", "3", "--workers", "0"]
    out, reason = run(monkeypatch, capsys, *command[3:], str(home / "idefics3"), *small)
    assert not reason and "3 clips captioned" in out and "(no caption)" in out
    captioned = list(read_manifest(command[5]))
    assert len(captioned) == 3 and all(clip.caption for clip in captioned)
    assert [len(clip.stats["captioning"]) for clip in captioned] == [1] * 3  # there was none before


def test_single_frames_and_a_language_model_in_chinese(home, monkeypatch, capsys):
    models = ["--model", str(home / "git"), "--summarise", str(home / "writer")]
    out, reason = run(monkeypatch, capsys, *flags(home, *models, "--language", "zh"))
    assert not reason and "5 clips captioned" in out
    clip = next(read_manifest(home / "toy/out.jsonl"))
    entry = clip.stats["captioning"][-1]
    assert clip.language == "zh" and len(entry["frame_captions"]) == 3
    assert entry["prompt"] == read_prompt("image", "zh")
    assert entry["summary"] == {"model": str(home / "writer"), "prompt": read_prompt("summary", "zh")}


@pytest.mark.parametrize(
    "wrong, message",
    [
        (["--batch", "0"], "--batch must be 1 or more"),
        (["--retries", "-1"], "--retries must be 0 or more"),
        (["--sampling", "best"], "choose from 'uniform', 'keyframes', 'scenes', 'motion'"),
        (["--prompt", "nonsense"], "prompt nonsense: there is no such file"),
        (["--model", "nowhere/at/all"], "there is no folder nowhere/at/all"),
        (["--model", "{home}/git"], "add --summarise MODEL, or choose --frames 1"),
        (["--summarise", "{home}/idefics3"], "no causal language model"),
        (["--out", "{home}/elsewhere.jsonl"], "put it into"),
        (
            ["--out", "{home}/toy/manifest.json"],
            "--out {home}/toy/manifest.json: the folder {home}/toy/manifest-captions",
        ),
        (["--device", "nonsense"], "--device nonsense: this machine has cpu"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(home, monkeypatch, capsys, wrong, message):
    (home / "toy/manifest-captions").write_text("a file", encoding="utf-8")
    *wrong, message = (word.replace("{home}", str(home)) for word in (*wrong, message))
    out, reason = run(monkeypatch, capsys, *flags(home, "--model", str(home / "idefics3"), *wrong))
    assert message in reason and "\n" not in reason and not out
