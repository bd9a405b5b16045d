"""What was measured survives a kill, and is read whoever wrote it."""

import json

import pytest

from lite_sora.storage.journal import Journal, digest


def test_digests_tell_apart():
    values = [("a", 1), ("a", 2), ("a", 1.5), ("a", None), ("a", {"x": 1}), ("a", {"x": 2}), ("b", 1)]
    assert len({digest(*value) for value in values}) == len(values)
    assert digest({"x": 1, "y": 2}) == digest({"y": 2, "x": 1})


def test_what_is_added_is_there_after_a_restart(tmp_path):
    journal = Journal(tmp_path)
    journal.add("a", {"k1": {"value": 1.5}, "k2": {"value": ["ö", None]}})
    journal.add("b", {"k1": {"value": 2}})
    again = Journal(tmp_path)
    for one in (journal, again):
        assert one.get("a", "k1") == {"value": 1.5} and one.get("a", "k2") == {"value": ["ö", None]}
        assert one.get("b", "k1") == {"value": 2} and one.get("b", "k2") is None


@pytest.mark.parametrize("lost", [1, 5, 20])
def test_a_line_that_was_cut_off_is_forgotten_and_harms_no_other(lost, tmp_path):
    journal = Journal(tmp_path)
    journal.add("a", {"k": {"value": 1}})
    journal.add("b", {"k": {"value": 2}})
    file = tmp_path / "rank-0.jsonl"
    file.write_bytes(file.read_bytes()[:-lost])
    journal = Journal(tmp_path)
    assert journal.get("a", "k") == {"value": 1}
    assert (journal.get("b", "k") is None) == (lost > 1)  # only the end of the line is missing: nothing is lost
    journal.add("c", {"k": {"value": 3}})
    journal.add("b", {"k": {"value": 4}})
    journal = Journal(tmp_path)
    assert [journal.get(name, "k")["value"] for name in "abc"] == [1, 4, 3]


def test_lines_that_are_none_of_ours_are_ignored(tmp_path):
    Journal(tmp_path).add("a", {"k": {"value": 1}})
    with (tmp_path / "rank-0.jsonl").open("ab") as lines:
        lines.write(
            b'\xff\xfe\n[1, 2]\nnull\n{"id": "a"}\n{"id": "a", "values": 3}\n{"id": [], "values": {"k": 9}}\n\n'
        )
    journal = Journal(tmp_path)
    assert journal.get("a", "k") == {"value": 1}
    assert [id for (id,) in journal.index.execute("SELECT id FROM lines")] == ["a"]


def test_processes_read_each_others_files(tmp_path):
    first, second = Journal(tmp_path, 0), Journal(tmp_path, 1)
    first.add("a", {"k": {"value": 1}})
    second.add("b", {"k": {"value": 2}})
    first.read()
    assert first.get("b", "k") == {"value": 2}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rank-0.jsonl", "rank-1.jsonl"]


def test_what_json_cannot_hold_is_refused_before_it_is_written(tmp_path):
    journal = Journal(tmp_path)
    with pytest.raises(ValueError):
        journal.add("a", {"k": {"value": float("nan")}})
    assert (tmp_path / "rank-0.jsonl").read_bytes() == b""


def test_the_last_of_many_counts(tmp_path):
    for rank in (1, 0):
        journal = Journal(tmp_path, rank)
        for number in range(300):
            journal.add(f"{rank}-{number}", {digest(rank, number): {"number": number}})
        journal.add(f"{rank}-7", {digest(rank, 7): {"number": -7}})
        journal.close()
    journal = Journal(tmp_path)
    assert len(journal) == 602
    for rank in (0, 1):
        assert [journal.get(f"{rank}-{number}", digest(rank, number))["number"] for number in range(300)] == [
            -7 if number == 7 else number for number in range(300)
        ]
    assert journal.get("0-7", digest("nobody")) is None and journal.get("nobody", digest(0, 7)) is None


def test_answers_that_captioning_wrote_before_are_found(tmp_path):
    """One value a line, with the key among the fields."""
    answer = {"key": digest("a"), "id": "a", "caption": "A dog.", "marks": []}
    (tmp_path / "rank-0.jsonl").write_text(
        json.dumps(answer) + "\n" + json.dumps({"key": [], "id": "b"}) + "\n", encoding="utf-8"
    )
    journal = Journal(tmp_path)
    assert len(journal) == 1 and journal.get("a", digest("a"))["caption"] == "A dog."
