"""Data-Juicer's operators as steps of our recipes (Data-Juicer 1.6, https://github.com/datajuicer/data-juicer), if they
have the same meaning. Data-Juicer keeps a sample if any of its videos passes; here each clip is judged alone."""

from dataclasses import dataclass, field
from typing import Any


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
