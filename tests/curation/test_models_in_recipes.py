"""Operators with models, through a recipe: a tiny CLIP is asked about real files."""

import json

import pytest
import torch
from films import write_films
from test_similarity import clip  # noqa: F401

from lite_sora.curation import similarity
from lite_sora.curation.curate import curate
from lite_sora.curation.recipe import read_recipe
from lite_sora.data.clip import read_manifest
from lite_sora.storage.hub import ModelError


@pytest.fixture
def asked(monkeypatch) -> list:
    """(frames, caption) of each clip that a model scores from now on in this process, one list a batch."""
    batches = []

    class Watched(similarity.FrameTextSimilarity):
        def score(self, clips, texts):
            batches.append([(len(frames), text) for frames, text in zip(clips, texts, strict=True)])
            return super().score(clips, texts)

    monkeypatch.setattr(similarity, "FrameTextSimilarity", Watched)
    return batches


@pytest.mark.parametrize("workers", [0, 2])
def test_frames_and_captions_are_compared(workers, tmp_path, clip, asked):  # noqa: F811
    """By a model in this process, however many processes decode."""
    manifest, out = write_films(tmp_path), tmp_path / "out.jsonl"
    captions = {"a": "a red square", "copy": "a blue square", "b": "", "cut": "a red square"}

    def scores() -> dict[str, float]:
        rows = [{"id": name, "video": f"{name}.mp4", "caption": text} for name, text in captions.items()]
        manifest.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        (tmp_path / "recipe.yaml").write_text(
            f"[text_similarity: {{model: '{clip}', min: -1, frames: 2}}]", encoding="utf-8"
        )
        curate(read_recipe(str(tmp_path / "recipe.yaml")), manifest, out, workers, show=False)
        return {row.id: row.stats["text_similarity"] for row in read_manifest(out)}

    first = scores()
    assert first.keys() == {"a", "copy", "cut"}
    assert sorted(sum(asked, [])) == [(2, captions[name]) for name in ("copy", "a", "cut")]
    assert len(set(first.values())) == 3 and all(-1 <= score <= 1 for score in first.values())
    (dropped,) = read_manifest(tmp_path / "out.dropped.jsonl")
    assert (dropped.id, dropped.stats["dropped"]) == ("b", "text_similarity cannot be measured")
    asked.clear()
    captions["a"] = "a blue square"
    second = scores()
    assert asked == [[(2, "a blue square")]]  # the others' captions are what they were
    assert second["a"] == second["copy"] == first["copy"] and second["cut"] == first["cut"]


def test_a_model_that_is_not_there(tmp_path):
    manifest = write_films(tmp_path)
    (tmp_path / "recipe.yaml").write_text("[text_similarity: {model: /nowhere}]", encoding="utf-8")
    with pytest.raises(ModelError, match="/nowhere"):
        curate(read_recipe(str(tmp_path / "recipe.yaml")), manifest, tmp_path / "out.jsonl", 0, show=False)


def recipe_with(folder, clip: str):  # noqa: F811
    steps = f"[split_by_duration: {{seconds: 1}}, text_similarity: {{model: '{clip}', min: -1, frames: 2}}]"
    (folder / "recipe.yaml").write_text(steps, encoding="utf-8")
    return read_recipe(str(folder / "recipe.yaml"))


def test_the_clips_of_a_file_are_one_batch(tmp_path, clip, asked):  # noqa: F811
    manifest = write_films(tmp_path)
    manifest.write_text(json.dumps({"id": "a", "video": "a.mp4", "caption": "a red square"}), encoding="utf-8")
    selection = curate(recipe_with(tmp_path, clip), manifest, tmp_path / "out.jsonl", 0, show=False)
    assert asked == [[(2, "a red square")] * 3] and len(list(selection.kept)) == 3


def test_a_model_that_does_not_fit_into_memory(tmp_path, clip, monkeypatch):  # noqa: F811
    class Large(similarity.FrameTextSimilarity):
        def score(self, clips, texts):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(similarity, "FrameTextSimilarity", Large)
    recipe = recipe_with(tmp_path, clip)
    with pytest.raises(ModelError, match="text_similarity: out of memory on cpu; .*--device"):
        curate(recipe, write_films(tmp_path), tmp_path / "out.jsonl", 0, show=False, device="cpu")
