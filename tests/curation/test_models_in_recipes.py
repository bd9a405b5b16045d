"""Operators with models, through a recipe: a tiny CLIP is asked about real files."""

import json

import pytest
from films import write_films
from test_similarity import clip  # noqa: F401

from lite_sora.curation import similarity
from lite_sora.curation.recipe import read_recipe
from lite_sora.curation.run import curate
from lite_sora.data.clip import read_manifest


def test_frames_and_captions_are_compared(tmp_path, clip, monkeypatch):  # noqa: F811
    manifest, out = write_films(tmp_path), tmp_path / "out.jsonl"
    captions = {"a": "a red square", "copy": "a blue square", "b": "", "cut": "a red square"}
    asked = []

    class Watched(similarity.FrameTextSimilarity):
        def score(self, frames, text):
            asked.append((len(frames), text))
            return super().score(frames, text)

    monkeypatch.setattr(similarity, "FrameTextSimilarity", Watched)

    def scores() -> dict[str, float]:
        rows = [{"id": name, "video": f"{name}.mp4", "caption": text} for name, text in captions.items()]
        manifest.write_text("\n".join(map(json.dumps, rows)))
        (tmp_path / "recipe.yaml").write_text(f"[text_similarity: {{model: '{clip}', min: -1, frames: 2}}]")
        curate(read_recipe(str(tmp_path / "recipe.yaml")), manifest, out, 0, show=False)
        return {row.id: row.stats["text_similarity"] for row in read_manifest(out)}

    first = scores()
    assert first.keys() == {"a", "copy", "cut"}
    assert sorted(asked) == [(2, captions[name]) for name in ("copy", "a", "cut")]
    assert len(set(first.values())) == 3 and all(-1 <= score <= 1 for score in first.values())
    (dropped,) = read_manifest(tmp_path / "out.dropped.jsonl")
    assert (dropped.id, dropped.stats["dropped"]) == ("b", "text_similarity cannot be measured")
    asked.clear()
    captions["a"] = "a blue square"
    second = scores()
    assert asked == [(2, "a blue square")]  # the others' captions are what they were
    assert second["a"] == second["copy"] == first["copy"] and second["cut"] == first["cut"]


def test_a_model_that_is_not_there(tmp_path):
    manifest = write_films(tmp_path)
    (tmp_path / "recipe.yaml").write_text("[text_similarity: {model: /nowhere}]")
    with pytest.raises(similarity.ModelError, match="/nowhere"):
        curate(read_recipe(str(tmp_path / "recipe.yaml")), manifest, tmp_path / "out.jsonl", 0, show=False)
