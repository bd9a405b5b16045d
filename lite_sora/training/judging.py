"""The end of a run that makes videos: they are judged, where the judge can read them, and what to try next is said."""

from pathlib import Path

from lite_sora.evaluation.adherence import measure
from lite_sora.evaluation.adherence.questions import unreadable
from lite_sora.evaluation.adherence.report import report
from lite_sora.storage.runs import write_json
from lite_sora.training.loop import Stage
from lite_sora.training.samples import sample_prompts


def judge_and_suggest(stage: Stage, folder: Path, average) -> None:
    """Measures adherence where the judge can read the videos, or says why it cannot; and says what to try."""
    settings = stage.settings
    if reason := settings.adherence_clips and unreadable(average.config):
        print(f"adherence is not measured: {reason}")
    elif settings.adherence_clips:
        result = measure(average, settings.toy_corner, settings.adherence_clips)
        write_json(folder / "adherence.json", result)
        print(report(result))
    prompt = sample_prompts(stage.real.clips)[0] if settings.data else "a red circle moving right"
    print(f'try: python generate.py "{prompt}" --run {folder}')
