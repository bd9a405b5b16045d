"""A manifest in, a captioned one out: what is kept, what is skipped, killed, resumed, and on two ranks."""

import json
from dataclasses import replace
from pathlib import Path

import commands
import numpy as np
import pytest
from captioning.stand_in import Captioner, Writer
from PIL import Image

from lite_sora.captioning.answers import Answer
from lite_sora.captioning.caption import caption_manifest
from lite_sora.captioning.frames import FrameChoice
from lite_sora.captioning.request import TEMPERATURE, Request
from lite_sora.data.clip import ManifestError, read_manifest, write_manifest
from lite_sora.data.video import write_video
from lite_sora.storage.hub import ModelError

PROGRAM = Path(__file__).with_name("stand_in.py")
SHADES = {"dark": 40, "grey": 120, "light": 200}  # 1 s of 48×32 pixels each


@pytest.fixture
def manifest(tmp_path) -> Path:
    """Three good clips, half of one of them, a broken one and a missing one."""
    for name, shade in SHADES.items():
        write_video(tmp_path / f"{name}.mp4", np.full((8, 32, 48, 3), shade, np.uint8), 8)
    (tmp_path / "broken.mp4").write_text("404: not found", encoding="utf-8")
    rows = [{"id": name, "video": f"{name}.mp4", "caption": f"an old {name}"} for name in SHADES]
    rows[1] |= {"captions": ["an old grey", "grey, and old"], "language": "en", "split": "test", "stats": {"motion": 1}}
    rows.insert(1, {"id": "half", "video": "light.mp4", "start": 0.5, "end": 1.0, "stats": {"crop": [0, 0, 0.5, 1]}})
    rows.insert(3, {"id": "broken", "video": "broken.mp4", "caption": "x"})
    rows.insert(4, {"id": "missing", "video": "missing.mp4", "caption": "x"})
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return tmp_path / "in.jsonl"


def run(manifest: Path, captioner, prompt="What?", frames=2, name="out", summariser=None, sampling="uniform", **more):
    """Captions `manifest`; returns the outcome and the clips by id."""
    out, settings = manifest.with_name(f"{name}.jsonl"), {"batch": 2, "workers": 0}
    flags = {key: more.pop(key) for key in ("batch", "workers", "allow_outside") if key in more}
    request = Request(captioner, prompt, summariser=summariser, **more)
    outcome = caption_manifest(request, FrameChoice(frames, sampling), manifest, out, **settings | flags)
    return outcome, {clip.id: clip for clip in read_manifest(out)}


def test_every_clip_gets_its_caption_and_keeps_what_it_had(manifest):
    before = manifest.read_bytes()
    outcome, clips = run(manifest, Captioner())
    assert list(clips) == ["dark", "half", "grey", "light"]
    assert clips["dark"].caption == "2 frames of 48 by 32 pixels, as bright as 4 then 4."
    assert clips["half"].caption == "2 frames of 24 by 32 pixels, as bright as 20 then 20."  # of the crop
    grey = clips["grey"]
    assert (grey.captions, grey.language, grey.split, grey.stats["motion"]) == ([], "en", "test", 1)
    old, new = grey.stats["captioning"]
    assert old == {
        "model": None,
        "caption": "an old grey",
        "captions": ["an old grey", "grey, and old"],
        "language": "en",
    }
    assert new == {"caption": grey.caption, "model": "eye", "prompt": "What?", "frames": [0.25, 0.75], "marks": []}
    assert [entry["frames"] for entry in clips["half"].stats["captioning"]] == [[0.625, 0.875]]  # it had no caption
    assert (outcome.captioned, outcome.skipped, outcome.kept_old, outcome.marked) == (4, 2, 0, {})
    assert [after.id for _, after in outcome.examples] == ["dark", "half", "grey", "light"]
    assert manifest.read_bytes() == before


def test_what_cannot_be_read_is_left_out_and_listed(manifest):
    outcome, _ = run(manifest, Captioner())
    listed = (manifest.parent / "out-captions/skipped.txt").read_text(encoding="utf-8").splitlines()
    assert [line.split(": ")[:2] for line in listed] == [["broken", "broken.mp4"], ["missing", "missing.mp4"]]
    assert "not a video" in listed[0] and "no such file" in listed[1] and outcome.reasons == listed


def test_a_picture_shows_what_was_seen(manifest):
    run(manifest, Captioner())
    colours = np.asarray(Image.open(manifest.parent / "out-captions/examples.png")).reshape(-1, 3)
    for shade in SHADES.values():  # two frames, enlarged, of each clip
        assert (np.abs(colours.astype(int) - shade).max(1) < 4).sum() > 5000


def test_what_is_shown_is_spread_over_the_manifest(manifest):
    clip = next(read_manifest(manifest))
    write_manifest(manifest, [replace(clip, id=str(number)) for number in range(40)])
    outcome, _ = run(manifest, Captioner())
    assert [after.id for _, after in outcome.examples] == ["0", "5", "10", "15", "20", "25", "30", "35"]


def test_captioning_again_adds_to_the_history(manifest):
    run(manifest, Captioner())
    _, clips = run(
        manifest.with_name("out.jsonl"), Captioner(lambda *_: Answer("A grey clip."), name="ear"), name="more"
    )
    models = [entry["model"] for entry in clips["grey"].stats["captioning"]]
    assert models == [None, "eye", "ear"] and clips["grey"].caption == "A grey clip."
    assert clips["grey"].stats["captioning"][1]["caption"].startswith("2 frames")


def test_a_caption_edited_by_hand_is_kept_too(manifest):
    run(manifest, Captioner())
    out = manifest.with_name("out.jsonl")
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    rows[0]["caption"] = "Better."
    out.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    _, clips = run(out, Captioner(name="ear"), name="more")
    entries = [(entry["model"], entry["caption"]) for entry in clips["dark"].stats["captioning"]]
    assert entries[0] == (None, "an old dark") and entries[2] == (None, "Better.") and len(entries) == 4


# ---------------------------------------------------------------- batches, going on, processes


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_full(manifest, workers):
    captioner = Captioner()
    _, clips = run(manifest, captioner, batch=3, workers=workers)
    assert captioner.batches == [3, 1] and captioner.asked == [("What?", 128, 0.0, 0)] * 2
    assert clips["light"].caption.endswith("as bright as 20 then 20.")


def test_the_same_command_again_asks_nothing_and_writes_the_same(manifest):
    _, expected = run(manifest, Captioner())
    again = Captioner()
    outcome, clips = run(manifest, again)
    assert clips == expected and again.batches == [] and outcome.captioned == 4


@pytest.mark.parametrize(
    "change",
    [{"prompt": "Why?"}, {"frames": 3}, {"sampling": "motion"}, {"max_tokens": 9}, {"retries": 0}, {"language": "zh"}],
)
def test_nothing_stale_is_taken(manifest, change):
    run(manifest, Captioner())
    again = Captioner(name="eye")
    run(manifest, again, **change)
    assert sum(again.batches) == 4
    other = Captioner(name="another")
    run(manifest, other)
    assert sum(other.batches) == 4


def test_only_a_file_that_changed_is_looked_at_again(manifest):
    run(manifest, Captioner())
    write_video(manifest.with_name("dark.mp4"), np.full((16, 32, 48, 3), 80, np.uint8), 8)
    (manifest.with_name("missing.mp4")).write_bytes(manifest.with_name("light.mp4").read_bytes())
    again = Captioner()
    _, clips = run(manifest, again)
    assert sum(again.batches) == 2 and clips["dark"].caption.endswith("as bright as 8 then 8.")
    assert clips["missing"].caption.endswith("as bright as 20 then 20.")


def test_a_run_that_is_killed_goes_on(manifest):
    """It dies with its second batch; what was said of the first is there."""
    _, expected = run(manifest, Captioner(), name="expected")
    out = manifest.with_name("out.jsonl")
    died = commands.run(PROGRAM, manifest, out, 2, fails=True)
    assert died.returncode == -9 and not out.exists()
    lines = manifest.parent / "out-captions/rank-0.jsonl"
    with lines.open("ab") as file:
        file.write(b'{"key": "12')  # and a line that was cut off
    again = Captioner()
    _, clips = run(manifest, again)
    assert again.batches == [2] and clips == expected


def test_two_ranks_share_the_clips(manifest):
    _, expected = run(manifest, Captioner(), name="expected")
    out = manifest.with_name("out.jsonl")
    done = commands.run(PROGRAM, manifest, out, ranks=2)
    assert {clip.id: clip for clip in read_manifest(out)} == expected
    assert sorted(done.stdout.split("\n")[:2]) == ["described 2 outcome 4", "described 2 outcome None"]
    shares = [
        {
            json.loads(line)["id"]
            for line in (manifest.parent / f"out-captions/rank-{rank}.jsonl").open(encoding="utf-8")
        }
        for rank in (0, 1)
    ]
    assert shares == [{"dark", "grey", "missing"}, {"half", "broken", "light"}]


# ---------------------------------------------------------------- bad answers


def test_a_bad_answer_is_asked_for_again_and_the_best_is_kept(manifest):
    """Of the dark clip the third answer is good; of the grey ones, each is worse than the first."""
    said = {4: ["", "I cannot see it.", "A dark clip."], 12: ["A grey clip. It is", "I cannot see it.", ""]}

    def say(clip, attempt):
        shade = round(clip.mean() / 10)
        text = said[shade][attempt] if shade in said else "A light clip."
        return Answer(text, finished=not text.endswith("is"))

    captioner = Captioner(say)
    outcome, clips = run(manifest, captioner, batch=9)
    assert [clips[name].caption for name in ("dark", "grey", "light")] == [
        "A dark clip.",
        "A grey clip.",
        "A light clip.",
    ]
    assert captioner.batches == [4, 2, 2]
    assert [(temperature, seed) for _, _, temperature, seed in captioner.asked] == [
        (0, 0),
        (TEMPERATURE, 1),
        (TEMPERATURE, 2),
    ]
    assert clips["grey"].stats["captioning"][1]["marks"] == ["truncated"] and outcome.marked == {"truncated": 1}
    assert (outcome.kept_old, outcome.captioned) == (0, 4)


def test_what_stays_bad_is_marked_and_the_old_caption_stays(manifest):
    outcome, clips = run(manifest, Captioner(lambda *_: Answer("I'm sorry, I cannot see a video.")), retries=1)
    assert clips["grey"].caption == "an old grey" and clips["grey"].captions == ["an old grey", "grey, and old"]
    assert clips["grey"].stats["captioning"][1]["marks"] == ["refusing"] and clips["half"].caption == ""
    assert outcome.marked == {"refusing": 4} and outcome.kept_old == 4 and not outcome.examples


def test_no_retries_means_one_attempt(manifest):
    captioner = Captioner(lambda *_: Answer(""))
    run(manifest, captioner, retries=0, batch=9)
    assert captioner.batches == [4]


def test_a_clip_that_the_model_cannot_take_is_skipped_and_the_others_are_not(manifest):
    def say(clip, attempt):
        if clip.shape[2] == 24:
            raise ValueError("too narrow for me")
        return Answer("A clip.")

    outcome, clips = run(manifest, Captioner(say), batch=4)
    assert list(clips) == ["dark", "grey", "light"] and outcome.reasons[0] == "half: light.mp4: too narrow for me"


# ---------------------------------------------------------------- single frames, and a summary


@pytest.mark.parametrize("takes", ["image", "images"])
def test_frames_are_described_one_by_one_and_summarised(manifest, takes):
    captioner, writer = Captioner(takes=takes), Writer()
    _, clips = run(manifest, captioner, summariser=writer, template="Sum up:\n{captions}", batch=9)
    assert captioner.batches == [2, 2, 2, 2]
    shade = "1 frames of {} by 32 pixels, as bright as {}."
    first, then = shade.format(48, 4), shade.format(24, 20)
    assert writer.requests[1] == f"Sum up:\n0.2 s: {first}\n0.8 s: {first}"  # after the trial
    assert writer.requests[2] == f"Sum up:\n0.1 s: {then}\n0.4 s: {then}"  # from the clip's start, not the file's
    assert clips["half"].caption == "In short, it is 20."
    assert clips["half"].stats["captioning"] == [
        {
            "caption": "In short, it is 20.",
            "model": "eye",
            "prompt": "What?",
            "frames": [0.625, 0.875],
            "frame_captions": [then, then],
            "summary": {"model": "pen", "prompt": "Sum up:\n{captions}"},
            "marks": [],
        }
    ]


def test_frames_whose_captions_are_unusable_are_left_out_of_the_summary(manifest):
    frames = iter([Answer("I cannot see it."), Answer("A dog. It", False), Answer(""), Answer("A cat.")])
    captioner = Captioner(lambda clip, attempt: next(frames) if clip.any() else Answer("black"), takes="image")
    writer = Writer(lambda request, attempt: "A dog and a cat.")
    request = Request(captioner, "What?", summariser=writer, template="{captions}")
    clips = [np.ones((4, 8, 8, 3), np.uint8)]
    assert request.captions(clips, [[0.0, 1.0, 2.0, 3.0]]) == [
        {
            "caption": "A dog and a cat.",
            "marks": [],
            "frame_captions": ["I cannot see it.", "A dog.", "", "A cat."],
        }
    ]
    assert writer.requests == ["1.0 s: A dog.\n3.0 s: A cat."]


def test_where_no_frame_can_be_described_no_summary_is_made_up(manifest):
    captioner = Captioner(lambda clip, attempt: Answer(""), takes="image")
    outcome, clips = run(manifest, captioner, summariser=Writer(), template="{captions}", retries=1)
    assert outcome.marked == {"empty": 4} and clips["grey"].caption == "an old grey"


def test_a_summary_that_is_none_is_asked_for_again(manifest):
    writer = Writer(lambda request, attempt: ["I'm sorry.", "A clip."][attempt])
    _, clips = run(manifest, Captioner(takes="image"), summariser=writer, template="{captions}")
    assert clips["grey"].caption == "A clip."


# ---------------------------------------------------------------- what cannot work is said at once


def test_models_that_do_not_fit(manifest):
    for captioner, frames, summariser, message in (
        (Captioner(takes="image"), 2, None, "add --summarise MODEL, or choose --frames 1"),
        (Captioner(takes="video"), 2, Writer(), "remove --summarise"),
    ):
        with pytest.raises(ModelError, match=message):
            run(manifest, captioner, frames=frames, summariser=summariser)
    _, clips = run(manifest, Captioner(takes="image"), frames=1)
    assert clips["grey"].caption.startswith("1 frames")

    def say(clip, attempt):
        raise ValueError("looks at exactly 4 frames")

    with pytest.raises(ModelError, match="exactly 4"):
        run(manifest, Captioner(say))
    with pytest.raises(ModelError, match="no {captions}"):
        run(manifest, Captioner(takes="image"), summariser=Writer(), template="Sum up.")


@pytest.mark.parametrize(
    "name, row, message",
    [
        ("elsewhere/out.jsonl", {}, "put it into"),
        ("in.jsonl", {}, "would overwrite"),
        ("out.jsonl", {"video": "../x.mp4"}, "line 7: .*outside"),
        ("out.jsonl", {"video": "x.mp4", "stats": {"captioning": "a dog"}}, "not a list of captions"),
        ("out.jsonl", {"caption": "x"}, 'line 7: no "video"'),
    ],
)
def test_manifests_that_cannot_be_used(manifest, name, row, message):
    with manifest.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row) + "\n" if row else "")
    captioner = Captioner()
    with pytest.raises(ManifestError, match=message):
        caption_manifest(Request(captioner, "What?"), FrameChoice(), manifest, manifest.parent / name)
    assert captioner.batches == [] and not manifest.with_name("out.jsonl").exists()


def test_an_empty_manifest_is_an_error(tmp_path):
    (tmp_path / "in.jsonl").write_text("\n", encoding="utf-8")
    with pytest.raises(ManifestError, match="contains no clips"):
        run(tmp_path / "in.jsonl", Captioner())
