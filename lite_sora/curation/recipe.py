"""A recipe says which clips are good enough: a YAML or JSON list of operators with their settings, in their order.

    - duration: {min: 2, max: 60}
    - split_by_scene: {detector: adaptive}
    - motion

Data-Juicer's recipes can be read too (version 1.6, https://github.com/datajuicer/data-juicer): their list is under
`process:`, operators with the same meaning are translated, and the others are an error, unless they are to be left out.
Data-Juicer keeps a sample if any of its videos passes; here each clip is judged alone.
"""

from dataclasses import dataclass, field
from difflib import get_close_matches
from fractions import Fraction
from math import inf
from pathlib import Path
from typing import Any

from lite_sora.curation.operators import OPERATORS, SPLITTERS
from lite_sora.errors import UserError

# Limits of some settings, the same for all operators.
DETECTORS = ("content", "adaptive")
LIMITS = {"seconds": (0.1, inf), "frames": (1, 64), "min_frames": (1, inf), "share": (0, 0.45)}

SHIPPED = Path(__file__).parent / "recipes"


class RecipeError(UserError):
    """A recipe that cannot be used; the message names the file and the line."""


@dataclass(frozen=True)
class Step:
    """One operator of a recipe, with all of its settings: those that change what is measured, and those that are
    applied to the value afterwards."""

    name: str
    measured: dict[str, Any]
    applied: dict[str, Any]

    def __str__(self) -> str:
        settings = [(key, value) for key, value in (self.measured | self.applied).items() if value not in (None, "")]
        words = [
            f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
            for key, value in settings
            if value is not False
        ]
        return f"{self.name}({', '.join(words)})" if words else self.name


Steps = list[tuple[int, Step]]  # with their indices in the recipe


@dataclass(frozen=True)
class Recipe:
    name: str
    steps: list[Step]
    left_out: list[str] = field(default_factory=list)  # operators of the file that are not done here, and why

    def levels(self) -> list["Steps"]:
        """All steps, in groups; each group but the last ends with a splitter."""
        groups: list[Steps] = [[]]
        for index, step in enumerate(self.steps):
            groups[-1].append((index, step))
            if step.name in SPLITTERS:
                groups.append([])
        return groups


def shipped() -> str:
    """The names of the recipes that ship with lite_sora."""
    return ", ".join(sorted(file.stem for file in SHIPPED.glob("*.yaml")))


def read_recipe(name: str, skip_unknown: bool = False) -> Recipe:
    """The recipe of that name that ships with lite_sora, or the file `name` (YAML or JSON).

    Raises RecipeError, with file and line, for an operator or a setting that is not known here. With
    `skip_unknown` such operators are left out and listed in `Recipe.left_out`; a wrong setting is always an error."""
    import yaml

    path = Path(name)
    if not path.is_file():
        path = SHIPPED / f"{name}.yaml"
    if not path.is_file():
        raise RecipeError(f"{name}: neither a file nor a recipe that ships with lite_sora ({shipped()})")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: not a text file in UTF-8") from None
    if path.suffix == ".json":
        text = text.replace("\t", " ")  # JSON may be indented with tabs, which YAML forbids
    try:
        root = yaml.compose(text, yaml.SafeLoader)  # a tree of nodes that know their lines
        whole = yaml.SafeLoader("").construct_document(root) if root else None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that does not exist
        raise RecipeError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    if isinstance(whole, dict) and "process" in whole:  # Data-Juicer's
        root = next(value for key, value in root.value if key.value == "process")
        whole = whole["process"]
    if not isinstance(whole, list) or not whole:
        raise RecipeError(f"{path}: a recipe is a list of operators, like `- duration: {{min: 2}}`")
    steps, left_out = [], []
    for item, node in zip(whole, root.value, strict=True):
        where = f"{path}, line {node.start_mark.line + 1}"
        operator, settings = _operator(item, where)
        if reason := _unknown(operator):
            if not skip_unknown:
                raise RecipeError(f"{where}: {reason}; --skip-unknown leaves such operators out")
            left_out.append(reason)
        elif operator in TRANSLATIONS:
            steps += _translated(operator, settings, where)
        else:
            steps.append(_step(operator, settings, where))
    return Recipe(path.stem, steps, left_out)


def _operator(item: Any, where: str) -> tuple[str, dict]:
    """(name, settings) of `name`, `{name: settings}` or `{name: null}`."""
    if isinstance(item, str):
        return item, {}
    if isinstance(item, dict) and len(item) == 1:
        ((name, settings),) = item.items()
        if isinstance(settings or {}, dict):
            return str(name), settings or {}
    raise RecipeError(f"{where}: an operator is written as `- name: {{setting: value, …}}`")


def _unknown(name: str) -> str | None:
    """Why an operator cannot be done here, or None."""
    if name in OPERATORS or name in TRANSLATIONS:
        return None
    if name in OTHERWISE:
        return f"{name} has another meaning here: Data-Juicer {OTHERWISE[name]}"
    close = get_close_matches(name, [*OPERATORS, *TRANSLATIONS], 1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    ours, theirs = ", ".join(OPERATORS), ", ".join(TRANSLATIONS)
    return f"there is no operator {name!r}{hint}; there are {ours}, and Data-Juicer's {theirs}"


def _step(name: str, settings: dict, where: str) -> Step:
    operator = OPERATORS[name]
    defaults = operator.measured | operator.applied
    if unknown := [str(key) for key in settings if key not in defaults]:
        known = ", ".join(defaults) or "none"
        raise RecipeError(f"{where}: {name} has no setting {', '.join(unknown)}; it has {known}")
    values = {
        key: _value(key, settings.get(key, default), default, f"{where}: {name}: {key}")
        for key, default in defaults.items()
    }
    return Step(name, {key: values[key] for key in operator.measured}, {key: values[key] for key in operator.applied})


def _value(key: str, value: Any, default: Any, where: str) -> Any:
    """The value, checked against the type of the default. "9/21" is a number; `min`, `max` and settings that are null
    by default may be null."""
    if isinstance(default, (bool, str)):
        if type(value) is not type(default):
            raise RecipeError(f"{where} is {value!r}, not {'true or false' if isinstance(default, bool) else 'a text'}")
        if key == "detector" and value not in DETECTORS:
            raise RecipeError(f"{where} is {value!r}, not one of {', '.join(DETECTORS)}")
        return value
    if value is None and (default is None or key in ("min", "max")):
        return None
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(Fraction(value.replace(":", "/")) if isinstance(value, str) else value)
    except (ValueError, TypeError, ZeroDivisionError, OverflowError):
        raise RecipeError(f"{where} is {value!r}, not a number") from None
    low, high = LIMITS.get(key, (-inf, inf))
    if not low <= number <= high:
        raise RecipeError(f"{where} is {value}, not from {low} to {high}")
    return int(number) if number.is_integer() else number


# ---------------------------------------------------------------- Data-Juicer's operators


@dataclass(frozen=True)
class Translation:
    """An operator of ours, {Data-Juicer's setting: our setting}, and Data-Juicer's defaults where ours differ."""

    name: str
    settings: dict[str, str]
    defaults: dict[str, Any] = field(default_factory=dict)
    factor: float = 1.0  # their numbers times this are ours


SCENE = {"detector": "detector", "threshold": "threshold", "min_scene_len": "min_frames"}
SCORE = {"min_score": "min", "max_score": "max", "frame_num": "frames"}
SPLIT = {"split_duration": "seconds", "min_last_split_duration": "min_last"}
KEEP = {"keep_original_sample": "keep_original"}

TRANSLATIONS = {
    "video_duration_filter": [Translation("duration", {"min_duration": "min", "max_duration": "max"}, {"min": 0})],
    "video_resolution_filter": [
        Translation("width", {"min_width": "min", "max_width": "max"}, {"min": 1}),
        Translation("height", {"min_height": "min", "max_height": "max"}, {"min": 1}),
    ],
    "video_aspect_ratio_filter": [
        Translation("aspect_ratio", {"min_ratio": "min", "max_ratio": "max"}, {"min": "9/21", "max": "21/9"})
    ],
    "video_deduplicator": [Translation("exact_duplicates", {"consider_text": "with_caption"})],
    "video_split_by_scene_mapper": [Translation("split_by_scene", SCENE)],
    "video_split_by_duration_mapper": [Translation("split_by_duration", SPLIT | KEEP, {"keep_original": True})],
    "video_split_by_key_frame_mapper": [Translation("split_by_keyframe", KEEP, {"keep_original": True})],
    "video_frames_text_similarity_filter": [Translation("text_similarity", SCORE | {"hf_clip": "model"})],
    "video_aesthetics_filter": [Translation("aesthetics", SCORE, {"min": 0.4}, factor=10)],
    "video_nsfw_filter": [Translation("nsfw", SCORE | {"hf_nsfw_model": "model", "score_threshold": "max"})],
}
TRANSLATIONS["ray_video_deduplicator"] = TRANSLATIONS["video_deduplicator"]

VALUES = {"ContentDetector": "content", "AdaptiveDetector": "adaptive"}

# Settings that say how Data-Juicer works, not what it measures: they can be ignored.
WITHOUT_EFFECT = {
    *("any_or_all", "video_backend", "show_progress", "save_dir", "save_field", "ffmpeg_extra_args", "output_format"),
    *("accelerator", "num_proc", "cpu_required", "gpu_required", "mem_required", "batch_size", "skip_op_error"),
}
# The only values with the same meaning here: frames are sampled evenly ("all_keyframes" is read as that), not flipped,
# and their scores averaged; and the head of our own default.
ONLY = {
    "frame_sampling_method": "uniform",
    "reduce_mode": "avg",
    "horizontal_flip": False,
    "vertical_flip": False,
    "trust_remote_code": False,
    "hf_scorer_model": "shunk031/aesthetics-predictor-v2-sac-logos-ava1-l14-linearMSE",
}

OTHERWISE = {
    "video_motion_score_filter": "measures optical flow in pixels of the full size between frames half a second apart; "
    "`motion` measures diagonals a second",
    "video_motion_score_raft_filter": "measures optical flow with a network; `motion` needs none",
    "video_motion_score_ptlflow_filter": "measures optical flow with a network; `motion` needs none",
    "video_ocr_area_ratio_filter": "needs a text detector; `text_area` is a heuristic with its own scale",
    "video_watermark_filter": "needs a classifier; `watermark` is a heuristic with its own scale",
}


def _translated(name: str, settings: dict, where: str) -> list[Step]:
    """The steps that translate an operator of Data-Juicer."""
    settings = {key: value for key, value in settings.items() if key not in WITHOUT_EFFECT}
    for key in settings.keys() & ONLY.keys():
        if (value := settings.pop(key)) not in (ONLY[key], "all_keyframes"):
            raise RecipeError(
                f"{where}: {name}: {key} is {value!r}, which is not supported here; only {ONLY[key]!r} is"
            )
    translations = TRANSLATIONS[name]
    known = [key for translation in translations for key in translation.settings]
    if unknown := [str(key) for key in settings if key not in known]:
        raise RecipeError(f"{where}: {name}: {', '.join(unknown)} is not supported here; {', '.join(known)} are")
    steps = []
    for translation in translations:
        names = translation.settings
        ours = translation.defaults | {names[key]: value for key, value in settings.items() if key in names}
        for key in ours.keys() & {"min", "max"} if translation.factor != 1 else ():
            if isinstance(ours[key], (int, float)):
                ours[key] *= translation.factor
        if isinstance(ours.get("detector"), str):
            if ours["detector"] not in VALUES:
                raise RecipeError(f"{where}: {name}: detector is {ours['detector']}, not one of {', '.join(VALUES)}")
            ours["detector"] = VALUES[ours["detector"]]
        steps.append(_step(translation.name, ours, where))
    return steps
