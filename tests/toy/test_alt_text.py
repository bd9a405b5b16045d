"""Alt-text says less than a caption, now and then something wrong, and the same each time."""

import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from lite_sora.data.clip import Clip, ManifestError, read_manifest
from lite_sora.toy import alt_text
from lite_sora.toy.alt_text import KINDS, with_alt_text
from lite_sora.toy.sentences import mark_caption
from lite_sora.toy.world import COLOURS, SHAPES


def test_what_alt_text_says():
    rng, marks, whole = np.random.default_rng(0), Counter(), 0
    for _ in range(4000):
        text = alt_text.alt_text("circle", "red", "a red circle moving up", rng)
        whole += text == "a red circle moving up"
        marks += Counter(mark_caption(text, [("circle", "red", "up")]))
    share = {name: count / 12000 for name, count in marks.items()}
    # of three facts: "shape or colour" has one, "shape and colour" two, "wrong" one and one wrong, "true" three
    right = (KINDS["shape or colour"] + 2 * KINDS["shape and colour"] + KINDS["wrong"] + 3 * KINDS["true"]) / 3
    assert share["right"] == pytest.approx(right, abs=0.02)
    assert share["wrong"] == pytest.approx(KINDS["wrong"] / 3, abs=0.01)
    assert whole / 4000 == pytest.approx(KINDS["true"], abs=0.02)


def test_a_manifest_with_alt_text(toy, monkeypatch, capsys):
    clips = list(read_manifest(toy))
    changed = list(with_alt_text(clips))
    assert changed == list(with_alt_text(clips)) != list(with_alt_text(clips, seed=1))
    assert len({clip.caption for clip in changed}) > 15 and all(clip.caption and not clip.captions for clip in changed)
    assert [replace(clip, caption="", captions=[]) for clip in changed] == [
        replace(clip, caption="", captions=[]) for clip in clips
    ]
    out = toy.with_name("plain.jsonl")
    monkeypatch.setattr(sys, "argv", ["alt_text", str(toy), "--out", str(out), "--plain"])
    alt_text.main()
    assert "64 clips" in capsys.readouterr().out
    plain = list(read_manifest(out))
    out.unlink()
    assert [clip.all_captions for clip in plain] == [[clip.caption] for clip in clips]
    assert all(clip.caption.split()[1] in COLOURS and clip.caption.split()[2] in SHAPES for clip in plain)


def test_bad_input(toy, tmp_path, monkeypatch):
    with pytest.raises(ManifestError, match="clip 'a' is not of the toy world"):
        list(with_alt_text([Clip("a", "a.mp4", "a cat")]))
    for out, message in (
        (tmp_path / "a.jsonl", "put it into"),
        (toy, "would overwrite"),
        (toy.parent / "videos", "is a"),
    ):
        monkeypatch.setattr(sys, "argv", ["alt_text", str(toy), "--out", str(out)])
        with pytest.raises(SystemExit, match=message):
            alt_text.main()
