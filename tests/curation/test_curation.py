"""The whole way: a recipe and a manifest in, a better manifest and a report out; killed, resumed, and on two ranks."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import commands
import pytest
from films import NAMES, write_films
from PIL import Image

from lite_sora.curation import annotate, footage, operators
from lite_sora.curation import curate as curate_module
from lite_sora.curation.curate import curate
from lite_sora.curation.recipe import read_recipe
from lite_sora.curation.selection import Sample
from lite_sora.data.clip import ManifestError, read_manifest

RECIPE = """
- integrity
- duration: {min: 1}
- exact_duplicates
- split_by_scene
- luminance
- motion
- near_duplicates
"""


@pytest.fixture
def manifest(tmp_path) -> Path:
    return write_films(tmp_path)


def run(manifest: Path, recipe: str = RECIPE, name: str = "out", workers: int = 0):
    """Curates `manifest` by a recipe; returns what was selected, and the clips that were written."""
    path = manifest.with_name(f"{name}.yaml")
    path.write_text(recipe, encoding="utf-8")
    out = manifest.with_name(f"{name}.jsonl")
    return curate(read_recipe(str(path)), manifest, out, workers, show=False), list(read_manifest(out))


def reasons(manifest: Path, name: str = "out") -> dict[str, str]:
    return {clip.id: clip.stats["dropped"] for clip in read_manifest(manifest.with_name(f"{name}.dropped.jsonl"))}


@pytest.fixture(autouse=True)
def no_pictures(request, monkeypatch):
    """Pictures take longer than all the rest; the report has tests of its own."""
    if not request.function.__name__.startswith(("test_the_report", "test_a_recipe_that_keeps_nothing")):
        monkeypatch.setattr(curate_module, "write_report", lambda *_: None)


@pytest.fixture
def measured(monkeypatch) -> list:
    """(clip id, operator) of everything that is measured from now on, in this process."""
    log = []
    for name, operator in operators.OPERATORS.items():

        def logged(footage, *, of=operator, name=name, **settings):
            log.append((footage.clip.id, name))
            return of.measure(footage, **settings)

        class Logged:
            measure = staticmethod(logged)
            measured, applied, reads_caption = operator.measured, operator.applied, operator.reads_caption

        monkeypatch.setitem(operators.OPERATORS, name, Logged)
    return log


def test_good_clips_are_kept_and_bad_ones_dropped_with_their_reason(manifest):
    selection, kept = run(manifest)
    assert [clip.id for clip in kept] == ["a", "b", "cut-000", "cut-001"]
    assert [(name.split("(")[0], before, after) for name, before, after in selection.counts] == [
        ("readable", 8, 6),
        ("integrity", 6, 6),
        ("duration", 6, 6),
        ("exact_duplicates", 6, 5),
        ("split_by_scene", 5, 6),
        ("luminance", 6, 5),
        ("motion", 5, 5),
        ("near_duplicates", 5, 4),
    ]
    dropped = reasons(manifest)
    assert dropped.keys() == {"small", "broken", "copy", "dark", "missing"}
    assert dropped["small"] == "the same as b"  # which is larger, though it comes later
    assert dropped["copy"] == "the same as a"
    assert "not a video that can be opened" in dropped["broken"]
    assert dropped["missing"] == "there is no such file"
    assert dropped["dark"].startswith("luminance 6.") and dropped["dark"].endswith("< 20")


def test_what_was_measured_is_in_the_manifest(manifest):
    _, kept = run(manifest)
    whole, piece = kept[0], kept[3]
    assert whole.stats.keys() >= {"width", "height", "fps", "duration", "integrity", "luminance", "motion"}
    assert (whole.stats["width"], whole.stats["height"], whole.stats["fps"]) == (128, 96, 16)
    assert whole.stats["motion"] == pytest.approx(2 * 16 / 160, rel=0.15)  # 2 pixels a frame, a diagonal of 160
    assert (piece.video, piece.source, piece.start, piece.end) == ("cut.mp4", "cut.mp4", 2.5, 5.0)
    assert piece.stats["duration"] == 2.5 and piece.caption == "film cut"
    assert "integrity" not in piece.stats  # was measured of the whole


def test_a_limit_changes_without_measuring_again(manifest, measured):
    run(manifest)
    assert len(measured) == len(set(measured)) > 30
    measured.clear()
    selection, kept = run(manifest, RECIPE.replace("- luminance", "- luminance: {min: 1}"), "looser")
    assert measured == [] and len(kept) == 5
    run(manifest, RECIPE + "- blur: {min: null}", "more")
    assert {name for _, name in measured} == {"blur"} and len(measured) == 7
    measured.clear()
    run(manifest, RECIPE.replace("- split_by_scene", "- split_by_scene: {threshold: 200}"), "other")
    assert {name for _, name in measured} == {"split_by_scene", "luminance", "motion", "near_duplicates"}
    assert {clip for clip, name in measured if name == "motion"} == {"cut"}  # the others are not cut either way


TWICE = "[near_duplicates, split_by_scene, split_by_duration: {seconds: 1}, motion]"


@pytest.mark.parametrize("recipe, most", [(RECIPE, 5), (TWICE, 9)])  # of 9 and 21 pieces
def test_a_manifest_is_taken_a_few_clips_at_a_time(recipe, most, manifest, monkeypatch):
    """And what comes out does not depend on how many."""
    at_once, _ = run(manifest, recipe)
    files = [manifest.with_name(name) for name in ("out.jsonl", "out.dropped.jsonl")]
    written = [path.read_bytes() for path in files]
    for path in manifest.with_name("in-stats").iterdir():
        path.unlink()
    sizes = []
    measure = annotate._measure
    monkeypatch.setattr(annotate, "_measure", lambda rows, *others: sizes.append(len(rows)) or measure(rows, *others))
    monkeypatch.setattr(annotate, "GROUP", 3)
    assert run(manifest, recipe)[0] == at_once
    assert [path.read_bytes() for path in files] == written
    assert max(sizes) <= most < sum(sizes) / 2


def test_a_file_that_changed_is_measured_again(manifest, measured):
    run(manifest)
    measured.clear()
    manifest.with_name("broken.mp4").write_bytes(manifest.with_name("b.mp4").read_bytes())
    _, kept = run(manifest)
    assert {clip for clip, _ in measured} == {"broken"}
    assert [clip.id for clip in kept] == ["a", "broken", "cut-000", "cut-001"]


def test_captions_matter_only_to_what_reads_them(manifest, measured):
    run(manifest)
    measured.clear()
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("film a", "another"), encoding="utf-8")
    run(manifest)
    assert measured == []


@pytest.mark.parametrize("clips", [1, 4])
def test_going_on_after_a_kill_measures_the_rest(clips, manifest, measured, monkeypatch):
    """The run ends after so many clips, and half of the last line is lost."""
    whole, clips_of_whole = run(manifest, name="whole")
    reasons_of_whole = reasons(manifest, "whole")
    lines = manifest.with_name("in-stats") / "rank-0.jsonl"
    kept = lines.read_bytes().splitlines(keepends=True)[: clips + 1]
    lines.write_bytes(b"".join(kept)[: -len(kept[-1]) // 2])
    there = {json.loads(line)["id"] for line in kept[:-1]}
    measured.clear()
    again, clips_of_again = run(manifest, name="whole")
    assert again == whole and clips_of_again == clips_of_whole and reasons(manifest, "whole") == reasons_of_whole
    assert not there & {clip for clip, name in measured if name == "integrity"}
    assert len(measured) == len(set(measured))


def test_neighbours_in_a_file_are_decoded_together_and_each_sampling_once(manifest, monkeypatch):
    """Pieces of one file share a pass over it."""
    passes = []
    monkeypatch.setattr(
        footage, "read_frames", lambda *some, read=footage.read_frames: passes.append(some[0]) or read(*some)
    )
    run(manifest, "[split_by_duration: {seconds: 0.5}, integrity, luminance, motion, near_duplicates]")
    assert sorted(path.stem for path in passes) == ["a", "b", "copy", "cut", "dark", "small"]


def test_several_rows_of_one_file(manifest):
    rows = [{"id": f"a{i}", "video": "a.mp4", "caption": text} for i, text in enumerate(["one", "two"])]
    rows += [{"id": "part", "video": "a.mp4", "caption": "one", "start": 0.5, "end": 2}]
    rows += [{"id": "late", "video": "a.mp4", "start": 9, "end": 10}]
    manifest.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert [clip.id for clip in run(manifest, "[exact_duplicates]")[1]] == ["a0", "part"]
    assert [clip.id for clip in run(manifest, "[exact_duplicates: {with_caption: true}]")[1]] == ["a0", "a1", "part"]
    assert reasons(manifest)["late"] == "starts at 9 s, but the file ends at 2.5 s"


def test_borders_are_cropped_for_what_follows(tmp_path):
    import numpy as np
    from films import FPS, film

    from lite_sora.data.video import write_video

    boxed = np.zeros((32, 96, 128, 3), np.uint8)
    boxed[:, 24:72] = film(1, 32)[:, 24:72]
    write_video(tmp_path / "boxed.mp4", boxed, FPS)
    (tmp_path / "in.jsonl").write_text('{"id": "x", "video": "boxed.mp4"}\n', encoding="utf-8")
    recipe = "[luminance: {min: null}, split_by_duration: {seconds: 1}, border_crop: {min: 0.4}, luminance: {min: 100}]"
    _, kept = run(tmp_path / "in.jsonl", recipe)
    assert [clip.id for clip in kept] == ["x-000", "x-001"]
    assert kept[0].stats["crop"] == pytest.approx([0, 0.25, 1, 0.75], abs=0.02)
    inside = kept[0].stats["luminance"]
    assert inside == pytest.approx(film(1, 16)[:, 24:72].mean(), rel=0.1)
    selection, kept = run(tmp_path / "in.jsonl", recipe.replace("0.4", "0.6"), "strict")
    assert kept == [] and reasons(tmp_path / "in.jsonl", "strict")["x-000"].startswith("border_crop 0.")
    run(tmp_path / "in.jsonl", "[luminance: {min: null}]", "uncropped")
    assert next(read_manifest(tmp_path / "uncropped.jsonl")).stats["luminance"] == pytest.approx(inside / 2, rel=0.1)


def test_a_process_that_dies_costs_one_clip(manifest, monkeypatch):
    monkeypatch.setattr(
        annotate,
        "in_processes",
        lambda measure, tasks, workers: ((i, [[{"broken": "died"}]], True) for i, _ in enumerate(tasks)),
    )
    selection, kept = run(manifest, "[duration]")
    assert kept == [] and set(reasons(manifest).values()) == {"died"}
    monkeypatch.undo()
    assert len(run(manifest, "[duration]")[1]) == 6  # was not kept for ever: perhaps there is more memory now


def test_the_report(manifest):
    run(manifest)
    report = manifest.with_name("out-report")
    assert {path.name for path in report.iterdir()} == {"report.md", "numbers.png", "frames.png"}
    text = (report / "report.md").read_text(encoding="utf-8")
    assert "8 clips came in, 4 clips" in text
    assert "| readable | 8 | 6 | 75.0% |" in text and "| luminance(min=20, max=200) | 6 | 5 | 83.3% |" in text
    assert "- `missing` (missing.mp4): there is no such file" in text
    assert "- `dark` (dark.mp4): luminance 6." in text
    with Image.open(report / "frames.png") as picture:  # rows: copy, dark, small, and four that were kept
        assert picture.height == 7 * (96 + 16 + 4) + 4 and picture.width == 6 * (128 + 4) + 4


def test_the_report_counts_what_was_dropped_earlier(manifest):
    """A histogram shows all clips, so that one sees where a limit would cut."""
    selection, _ = run(manifest, "[duration: {min: 4}, luminance, split_by_scene, motion]")
    assert [(step.name, len(values)) for step, values in selection.measured] == [
        ("duration", 6),
        ("luminance", 6),
        ("motion", 2),
    ]


def test_a_histogram_is_drawn_from_a_sample_of_many_clips():
    sample = Sample(most=500)
    for value in range(20_000):
        sample.add(value)
    assert len(sample) == 20_000 and len(set(sample.values)) == 500
    assert sum(sample.values) / 500 == pytest.approx(10_000, rel=0.1)


def test_a_recipe_that_keeps_nothing(manifest):
    selection, kept = run(manifest, "[duration: {min: 100}]")
    assert kept == [] and manifest.with_name("out.jsonl").read_bytes() == b""
    assert "0 clips (0.00 hours) were kept" in manifest.with_name("out-report").joinpath("report.md").read_text(
        encoding="utf-8"
    )


# ---------------------------------------------------------------- what is refused


def test_where_the_output_may_be(manifest, tmp_path):
    recipe = read_recipe("toy")
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(ManifestError, match="put it into"):
        curate(recipe, manifest, tmp_path / "elsewhere" / "out.jsonl", 0)
    with pytest.raises(ManifestError, match="would overwrite"):
        curate(recipe, manifest, manifest, 0)
    manifest.with_name("none.jsonl").write_text("\n", encoding="utf-8")
    with pytest.raises(ManifestError, match="contains no clips"):
        curate(recipe, manifest.with_name("none.jsonl"), manifest.with_name("out.jsonl"), 0)
    manifest.write_text('{"id": "x", "video": "../../x.mp4"}', encoding="utf-8")
    with pytest.raises(ManifestError, match="outside"):
        curate(recipe, manifest, manifest.with_name("out.jsonl"), 0)
    assert not manifest.with_name("out.jsonl").exists()


def command(manifest: Path, recipe: str = "out.yaml", workers: int = 1) -> list[str]:
    manifest.with_name("out.yaml").write_text(RECIPE, encoding="utf-8")
    path = str(manifest.with_name(recipe)) if recipe.endswith(".yaml") else recipe
    flags = ["--manifest", str(manifest), "--out", str(manifest.with_name("out.jsonl")), "--workers", str(workers)]
    return ["-m", "lite_sora.curation", path, *flags]


def test_the_command_names_what_is_wrong(manifest):
    def stopped(command: list[str]) -> str:
        done = commands.run(*command, fails=True)
        assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    assert stopped(command(manifest, recipe="pandas")).startswith("curation: pandas: neither a file nor a recipe")
    assert "--device nonsense: this machine has cpu" in stopped([*command(manifest), "--device", "nonsense"])
    for name, flag in (("in-stats", "--manifest"), ("out-report", "--out")):
        manifest.with_name(name).write_text("a file", encoding="utf-8")
        reason = stopped(command(manifest))
        assert flag in reason and f"{name} cannot be made (File exists)" in reason
        manifest.with_name(name).unlink()


# ---------------------------------------------------------------- many processes


def test_a_run_that_is_killed_goes_on_and_leaves_no_process_behind(manifest):
    expected, _ = run(manifest, name="expected")
    stats = manifest.with_name("in-stats") / "rank-0.jsonl"
    stats.unlink()
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    process = subprocess.Popen([sys.executable, *command(manifest)], **options)
    while not (stats.exists() and stats.read_bytes().count(b"\n") > 1):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    deadline = time.time() + 60
    while _alive_in_session(process.pid):
        assert time.time() < deadline
        time.sleep(0.05)
    before = stats.read_bytes()
    done = commands.run(*command(manifest))
    assert stats.read_bytes().startswith(before)
    lines = [json.loads(line) for line in stats.read_bytes().splitlines()]
    keys = [(line["id"], key) for line in lines for key in line["values"]]
    assert len(keys) == len(set(keys))  # nothing twice
    assert [clip.id for clip in read_manifest(manifest.with_name("out.jsonl"))] == [clip.id for clip in expected.kept]
    assert "out-report/report.md" in done.stdout


def _alive_in_session(session: int) -> bool:
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(path.name)) == session and "\nState:\tZ" not in (path / "status").read_text(
                encoding="utf-8"
            ):
                return True
        except OSError:
            continue
    return False


def test_ranks_share_the_work(manifest):
    """Each measures its own files, and the first one writes what a single process would have written."""
    _, expected = run(manifest, name="expected")
    for path in manifest.with_name("in-stats").iterdir():
        path.unlink()
    commands.run(*command(manifest), ranks=2)
    assert list(read_manifest(manifest.with_name("out.jsonl"))) == expected
    shares = [
        {json.loads(line)["id"].split("-")[0] for line in path.read_bytes().splitlines()}
        for path in sorted(manifest.with_name("in-stats").iterdir())
    ]
    assert len(shares) == 2 and not shares[0] & shares[1] and shares[0] | shares[1] == set(NAMES)
