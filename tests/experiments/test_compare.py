"""The comparison: equal compute, equal terms, a report, and going on after a stop."""

import csv
import json
import sys

import commands
import pytest
import torch
from conftest import tiny_flags

from lite_sora.autoencoders import load_autoencoder
from lite_sora.denoisers import DENOISERS
from lite_sora.diffusion.path import PATHS
from lite_sora.diffusion.presets import PRESETS
from lite_sora.evaluation.x0_error import LOG_SNRS, x0_error
from lite_sora.experiments import compare
from lite_sora.experiments.compare import CompareError, parse_variants, same_times
from lite_sora.experiments.report import plot, spread
from lite_sora.pipeline import TextToVideo, TextToVideoConfig, assemble
from lite_sora.text.encoder import build_tokenizer

FLAGS = "--patch 4 16 16 --batch_size 4 --toy_clips 32 --precision fp32 --device cpu --warmup 2"
TINY = FLAGS.split()


def tiny_model(objective: str) -> TextToVideo:
    config = TextToVideoConfig(denoiser_config={"patch": [4, 16, 16]}, objective=PRESETS[objective])
    return assemble(config, build_tokenizer(["a red circle"]), load_autoencoder(config.autoencoder)).eval()


# ---------------------------------------------------------------- variants


def test_variants_are_names_and_changes_to_them():
    variants = parse_variants("dit-ddpm,uvit:objective=v,rope=false,edm,dit:patch=4 8 8")
    assert variants == {
        "dit-ddpm": ["--denoiser", "dit", "--objective", "ddpm"],
        "uvit:objective=v,rope=false": ["--denoiser", "uvit", "--objective", "v", "--rope", "false"],
        "edm": ["--objective", "edm"],
        "dit:patch=4 8 8": ["--denoiser", "dit", "--patch", "4", "8", "8"],
    }


def test_a_denoiser_means_what_it_means_to_train():
    for name, flags in parse_variants(",".join(DENOISERS)).items():
        assert flags == ["--denoiser", name]
    assert set(compare.presets()) == {*DENOISERS, *PRESETS, "dit-ddpm", "uvit-ddpm", "sit-sit"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dit,vit", "'vit' is not one of toy, sit, sd3"),
        ("dit:speed=3", "'speed=3' in 'dit:speed=3' is not a flag=value"),
        ("dit,sit,dit", "'dit' is there twice"),
    ],
)
def test_variants_that_are_none(text, message):
    with pytest.raises(CompareError, match=message):
        parse_variants(text)


# ---------------------------------------------------------------- equal terms


@pytest.mark.parametrize("objective", list(PRESETS))
def test_all_paths_are_sampled_at_the_same_noise_levels(objective):
    model = tiny_model(objective)
    times = same_times(model)
    assert times[0] == 1 and times[-1] == 0 and (times.diff() < 0).all()
    levels = PATHS[model.objective.path].log_snr(times[1:-1])
    torch.testing.assert_close(levels, PATHS["linear"].log_snr(same_times(tiny_model("toy"))[1:-1]), rtol=0, atol=0.01)


@pytest.mark.parametrize("objective", list(PRESETS))
def test_the_error_of_the_clean_video_is_the_same_for_all_objectives(objective, toy):
    """A network that always believes in a grey video has the mean square of the clips as its error, whatever its
    path and prediction."""
    model = tiny_model(objective)
    path, prediction = PATHS[model.objective.path], model.objective.prediction

    def believes_in_grey(x_t, t, text):
        from lite_sora.diffusion import prediction as predictions

        scale = predictions.input_scale(path, prediction, t)
        x_t = x_t if scale is None else x_t / scale.view(-1, 1, 1, 1, 1)
        _, sigma = path.alpha_sigma(t)
        return predictions.target(path, prediction, torch.zeros_like(x_t), x_t / sigma.view(-1, 1, 1, 1, 1), t)

    model.denoiser.forward = believes_in_grey
    errors = x0_error(model, toy, clips=4)
    assert len(errors) == len(LOG_SNRS)
    assert errors == pytest.approx([errors[0]] * len(errors), rel=1e-3) and 0.5 < errors[0] < 1


def test_spread():
    assert spread([0.5, 0.7], "{:.1%}") == "60.0% ± 14.1"
    assert spread([2.0], "{:.2f}") == "2.00"
    assert spread([None, 2.0], "{:.2f}") == "2.00" and spread([None], "{:.2f}") == "–"


# ---------------------------------------------------------------- the whole


def run(monkeypatch, capsys, *words: str) -> str:
    monkeypatch.setattr(sys, "argv", ["compare", *words, *TINY])
    monkeypatch.setattr(compare, "CURVE_CLIPS", 2)
    compare.main()
    return capsys.readouterr().out


def test_a_comparison_goes_on_where_it_stopped(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = "--variants sit,uvit:objective=v --seeds 1 --steps 20 --points 2 --clips 2 --out cmp"
    flags = words.split()
    real, calls = compare.train, []

    def breaks_off(settings, observe):
        calls.append(settings.denoiser)
        if settings.denoiser == "uvit" and calls.count("uvit") == 1:
            settings.stop_after = 11  # as by Ctrl-C: train saves, and returns
        return real(settings, observe)

    monkeypatch.setattr(compare, "train", breaks_off)
    with pytest.raises(SystemExit, match="the same command continues"):
        run(monkeypatch, capsys, *flags)
    first = (tmp_path / "cmp/sit/seed-0/result.json").read_bytes()
    printed = run(monkeypatch, capsys, *flags)
    assert calls == ["sit", "uvit", "uvit"] and (tmp_path / "cmp/sit/seed-0/result.json").read_bytes() == first

    plan = json.loads((tmp_path / "cmp/plan.json").read_text(encoding="utf-8"))
    rows = plan["variants"]
    compute = [row["steps"] * row["flops"] for row in rows.values()]
    assert rows["sit"]["steps"] == 20 and rows["uvit:objective=v"]["steps"] != 20
    assert compute[1] == pytest.approx(compute[0], rel=0.1) and compute[1] <= compute[0]
    curve = [
        json.loads(line) for line in (tmp_path / "cmp/sit/seed-0/curve.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [point["step"] for point in curve] == [10, 20] and curve[1]["seconds"] > curve[0]["seconds"] > 0
    table = list(csv.DictReader((tmp_path / "cmp/results.csv").open(encoding="utf-8")))
    assert {row["variant"] for row in table} == {"sit", "uvit:objective=v"}
    assert all(float(row["x0 error"]) > 0 for row in table)
    assert "| sit |" in printed and "| uvit:objective=v |" in printed and "| TFLOPs |" in printed
    assert printed.count("uvit:objective=v: note: a patch of") == 2  # at the start of both
    assert printed.count("- uvit:objective=v: a patch of 3072 values") == 1 and "- sit:" not in printed  # at the end
    for name in ("curves.png", "samples.png", "README.md"):
        assert (tmp_path / "cmp" / name).stat().st_size > 100
    with pytest.raises(SystemExit, match="compares on other terms"):
        run(monkeypatch, capsys, *flags, "--steps", "30")
    rows["sit"]["flags"] = ["--denoiser", "dit"]  # as if the name had meant something else
    (tmp_path / "cmp/plan.json").write_text(json.dumps(plan), encoding="utf-8")
    with pytest.raises(SystemExit, match="cmp has another 'sit', with --denoiser dit"):
        run(monkeypatch, capsys, *flags)


def test_comparisons_on_other_terms_have_other_folders(monkeypatch):
    class Stop(Exception):
        pass

    def started(_, options):
        names.append(options.out.name)
        raise Stop

    names = []
    monkeypatch.setattr(compare, "compare", started)
    for words in ("", "--clips 256", "--steps 800", "--budget 5m", "--flops 5e12", "--height 16 --width 16"):
        monkeypatch.setattr(sys, "argv", ["compare", "--variants", "dit", *words.split()])
        with pytest.raises(Stop):
            compare.main()
    assert names == [
        "compare-400-steps-128-clips",
        "compare-400-steps-256-clips",
        "compare-800-steps-128-clips",
        "compare-300-seconds-128-clips",
        "compare-5e_12-flops-128-clips",
        "compare-400-steps-128-clips-height-16-width-16",
    ]


def test_a_picture_of_many_variants_has_room_for_all(tmp_path):
    names = [f"dit:objective=toy,prediction={number}" for number in range(24)]
    point = {"step": 1, "flops": 1.0, "seconds": 1.0, "seen": 0.0, "x0_error": 0.1}
    results = {name: [{"curve": [point], "x0_errors": [0.1] * len(LOG_SNRS)}] for name in names}
    plot(tmp_path / "curves.png", results)
    assert (tmp_path / "curves.png").stat().st_size > 100


def test_seconds_as_a_budget(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compare, "step_seconds", lambda *_: 0.25)
    words = "--variants sit --seeds 1 --budget 3s --points 1 --clips 2 --out cmp"
    run(monkeypatch, capsys, *words.split())
    assert json.loads((tmp_path / "cmp/plan.json").read_text(encoding="utf-8"))["variants"]["sit"]["steps"] == 12


def test_bad_input(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "films.jsonl").write_text('{"video": "film.mp4", "caption": "a film"}\n', encoding="utf-8")
    for words, message in {
        "--variants vit": "'vit' is not one of",
        "--variants dit:path=curved": "curved",
        "--variants toy:data=a+.jsonl,toy:data=a@.jsonl": "only a sign apart",
        "--variants uvit:conditioning=adaln": "--conditioning: --denoiser uvit has no such part",
        "--variants dit --steps 5": "budget is 5 steps",
        "--variants dit --data films.jsonl": "dit: adherence cannot be measured: the training clips are not",
        "--variants dit --height 64 --width 32": "squares of 16 pixels or more, not 8 × 64 × 32",
        "--variants dit:data=nowhere.jsonl": "nowhere.jsonl: there is no such manifest",
    }.items():
        with pytest.raises(SystemExit, match=message):
            run(monkeypatch, capsys, *words.split(), "--out", "cmp")
    monkeypatch.setattr(sys, "argv", ["compare", "--variants", "dit", "--device", "nonsense"])
    with pytest.raises(SystemExit, match="compare: --device nonsense: this machine has cpu"):
        compare.main()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--budget soon", "argument --budget: invalid seconds value: 'soon'"),
        ("--budget 90sm", "argument --budget: invalid seconds value: '90sm'"),
        ("--part 3/2", "argument --part: invalid part value: '3/2'"),
        ("--points 0", "--points must be at least 1, not 0"),
    ],
)
def test_bad_flags_end_with_a_usage_message(monkeypatch, capsys, words, message):
    with pytest.raises(SystemExit):
        run(monkeypatch, capsys, *words.split())
    assert message in capsys.readouterr().err


def test_budgets_have_units():
    assert [compare.seconds(text) for text in ("90", "90s", "1.5m", "2h")] == [90, 90, 90, 7200]


def test_step_seconds_times_a_real_step(toy):
    settings = compare.parse(compare.DenoiserSettings, tiny_flags(toy), "test")
    assert 0 < compare.step_seconds(tiny_model("toy"), settings, words=5, tries=2) < 60


def test_two_processes_compare(tmp_path):
    """One variant after the other in the same processes; the first judges, and both take the same decisions."""
    words = "-m lite_sora.experiments.compare --variants sit,uvit --seeds 1 --steps 16 --points 1 --clips 1 --out cmp"
    done = commands.run(*words.split(), *TINY, cwd=tmp_path, ranks=2)
    assert done.stdout.count("| sit |") == 1 and done.stdout.count("| uvit |") == 1  # said once
