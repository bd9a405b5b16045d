"""Recipes: ours and Data-Juicer's are read, and what cannot be done is named with its line."""

import json
import re

import pytest

from lite_sora.curation.operators import FILTERS, OPERATORS, SPLITTERS
from lite_sora.curation.recipe import SHIPPED, TRANSLATIONS, RecipeError, Step, read_recipe


def written(tmp_path, text: str, name: str = "recipe.yaml") -> str:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return str(tmp_path / name)


@pytest.mark.parametrize("name", ["toy", "dj-sora", "panda-70m", "stable-video-diffusion", "open-sora-2"])
def test_recipes_that_ship(name):
    recipe = read_recipe(name)
    assert recipe.name == name and len(recipe.steps) > 4 and not recipe.left_out
    assert (SHIPPED / f"{name}.yaml").is_file()


def test_published_numbers_of_panda_70m():
    steps = {step.name: step.measured | step.applied for step in read_recipe("panda-70m").steps}
    assert steps["split_by_scene"] == {
        "detector": "content",
        "threshold": 25,
        "min_frames": 15,
        "keep_original": False,
    }
    assert steps["duration"] == {"min": 2, "max": 60} and steps["trim"]["share"] == 0.1


def test_steps_have_all_their_settings(tmp_path):
    path = written(
        tmp_path, "- duration: {max: 60}\n- fps\n- text_similarity: {frames: 5}\n- aspect_ratio: {min: 9/21}"
    )
    duration, fps, similarity, ratio = read_recipe(path).steps
    assert duration == Step("duration", {}, {"min": 2, "max": 60})
    assert fps == Step("fps", {}, {"min": 16, "max": None})
    assert similarity.measured == {"model": "openai/clip-vit-base-patch32", "frames": 5}
    assert ratio.applied["min"] == pytest.approx(9 / 21)


def test_json_is_read_like_yaml(tmp_path):
    operators = [{"duration": {"min": 1.5}}, "motion", {"split_by_scene": {"detector": "adaptive"}}]
    as_json = written(tmp_path, json.dumps(operators, indent="\t"), "a.json")
    as_yaml = written(
        tmp_path, "- duration: {min: 1.5}\n- motion\n- split_by_scene:\n    detector: adaptive\n", "a.yaml"
    )
    assert read_recipe(as_json).steps == read_recipe(as_yaml).steps


def test_levels_end_with_splitters(tmp_path):
    path = written(tmp_path, "[duration, split_by_scene, motion, split_by_duration, blur, luminance]")
    names = [[step.name for _, step in level] for level in read_recipe(path).levels()]
    assert names == [["duration", "split_by_scene"], ["motion", "split_by_duration"], ["blur", "luminance"]]
    assert [place for level in read_recipe(path).levels() for place, _ in level] == list(range(6))


# ---------------------------------------------------------------- Data-Juicer's


def test_data_juicers_recipe(tmp_path):
    text = """
project_name: 'all'
dataset_path: 'data.jsonl'
np: 4
process:
  - video_duration_filter: {min_duration: 3, max_duration: 60, any_or_all: any}
  - video_resolution_filter:
      min_width: 640
      max_height: 1080
  - video_aspect_ratio_filter:
  - video_split_by_scene_mapper: {detector: AdaptiveDetector, threshold: 3.5, min_scene_len: 20, show_progress: false}
  - video_split_by_duration_mapper: {split_duration: 8}
  - video_aesthetics_filter: {min_score: 0.31767486, frame_sampling_method: 'uniform', frame_num: 5,
      hf_scorer_model: shunk031/aesthetics-predictor-v2-sac-logos-ava1-l14-linearMSE}
  - video_nsfw_filter: {score_threshold: 0.3}
  - video_deduplicator: {consider_text: true}
"""
    steps = read_recipe(written(tmp_path, text)).steps
    assert steps[0] == Step("duration", {}, {"min": 3, "max": 60})
    assert steps[1:3] == [Step("width", {}, {"min": 640, "max": None}), Step("height", {}, {"min": 1, "max": 1080})]
    assert steps[3].applied == pytest.approx({"min": 9 / 21, "max": 21 / 9})
    assert steps[4].measured == {"detector": "adaptive", "threshold": 3.5, "min_frames": 20}
    assert steps[5].applied == {"keep_original": True}  # Data-Juicer's default
    assert steps[6].applied == {"min": pytest.approx(3.1767486), "max": None}  # it divides by 10
    assert steps[6].measured["frames"] == 5
    assert steps[7].applied == {"min": None, "max": 0.3}
    assert steps[8].applied == {"with_caption": True} and len(steps) == 9


def test_translations_name_settings_that_there_are():
    for translations in TRANSLATIONS.values():
        for translation in translations:
            operator = OPERATORS[translation.name]
            settings = operator.measured | operator.applied
            assert {*translation.settings.values(), *translation.defaults} <= settings.keys()


@pytest.mark.parametrize("name", ["video_motion_score_filter", "video_watermark_filter", "video_ocr_area_ratio_filter"])
def test_what_means_something_else_is_refused(name, tmp_path):
    path = written(tmp_path, f"process:\n  - video_duration_filter\n  - {name}: {{}}\n")
    with pytest.raises(RecipeError, match=f"recipe.yaml, line 3: {name} has another meaning here"):
        read_recipe(path)
    recipe = read_recipe(path, skip_unknown=True)
    assert [step.name for step in recipe.steps] == ["duration"]
    assert len(recipe.left_out) == 1 and name in recipe.left_out[0]


# ---------------------------------------------------------------- what is wrong

WRONG = {
    "- duration\n- blurr: {min: 3}": r"line 2: there is no operator 'blurr' \(did you mean blur\?\); there are inte",
    "- duration: {minimum: 2}": "line 1: duration has no setting minimum; it has min, max",
    "- duration\n-\n    blur: {min: many}": "line 3: blur: min is 'many', not a number",
    "- blur: {min: true}": "blur: min is True, not a number",
    "- split_by_scene: {detector: magic}": "detector is 'magic', not one of content, adaptive",
    "- split_by_scene: {min_frames: null}": "min_frames is None, not a number",
    "- split_by_scene: {keep_original: 1}": "keep_original is 1, not true or false",
    "- split_by_duration: {seconds: 0}": "seconds is 0, not from 0.1",
    "- text_similarity: {model: 3}": "model is 3, not a text",
    "- video_duration_filter: {min: 2}": "video_duration_filter: min is not supported here; min_duration",
    "- video_nsfw_filter: {reduce_mode: max}": "reduce_mode is 'max', which is not supported here; only 'avg' is",
    "- video_split_by_scene_mapper: {detector: ThresholdDetector}": "detector is ThresholdDetector",
    "- {duration: {}, blur: {}}": "line 1: an operator is written as",
    "- duration: [2, 60]": "line 1: an operator is written as",
    "- 3": "line 1: an operator is written as",
    "duration: {min: 2}": "a recipe is a list of operators",
    "": "a recipe is a list of operators",
    "process: []": "a recipe is a list of operators",
    "- duration: {min: 2": "not YAML",
    "- !!python/object/apply:os.getcwd []": "not YAML",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_named(text, tmp_path):
    with pytest.raises(RecipeError, match=WRONG[text]) as caught:
        read_recipe(written(tmp_path, text))
    assert str(caught.value).startswith(str(tmp_path / "recipe.yaml"))


def test_a_wrong_setting_is_not_skipped(tmp_path):
    with pytest.raises(RecipeError, match="no setting"):
        read_recipe(written(tmp_path, "- duration: {minimum: 2}"), skip_unknown=True)


def test_a_recipe_that_is_not_there_names_those_that_are():
    with pytest.raises(RecipeError, match="panda: neither a file nor .*panda-70m"):
        read_recipe("panda")


# ---------------------------------------------------------------- the operators' words


@pytest.mark.parametrize("name", OPERATORS)
def test_docstrings_say_the_defaults(name):
    """A number that is changed in the table is changed in the text, too."""
    text = OPERATORS[name].measure.__doc__
    if name in FILTERS:
        numbers = {float(top) / float(bottom or 1) for top, bottom in re.findall(r"(\d+(?:\.\d+)?)(?:/(\d+))?", text)}
        limits = [limit for limit in OPERATORS[name].applied.values() if limit is not None]
        assert all(any(abs(limit - number) < 1e-9 for number in numbers) for limit in limits), text
        assert "Default" in text
    assert OPERATORS[name].measure.__name__ == name
    assert not (OPERATORS[name].measured.keys() & OPERATORS[name].applied.keys())
    assert name not in SPLITTERS or OPERATORS[name].applied == {"keep_original": False}


def test_a_recipe_that_is_not_text(tmp_path):
    (tmp_path / "latin.yaml").write_bytes("- duration # für kurze".encode("latin-1"))
    with pytest.raises(RecipeError, match="latin.yaml: not a text file in UTF-8"):
        read_recipe(str(tmp_path / "latin.yaml"))
    (tmp_path / "date.yaml").write_text("- duration: {min: 2024-13-45}", encoding="utf-8")
    with pytest.raises(RecipeError, match="date.yaml: not YAML"):
        read_recipe(str(tmp_path / "date.yaml"))
