"""What was measured survives a kill, and is read whoever wrote it."""

import pytest

from lite_sora.curation.store import Store, digest


def test_digests_tell_apart():
    values = [("a", 1), ("a", 2), ("a", 1.5), ("a", None), ("a", {"x": 1}), ("a", {"x": 2}), ("b", 1)]
    assert len({digest(*value) for value in values}) == len(values)
    assert digest({"x": 1, "y": 2}) == digest({"y": 2, "x": 1})


def test_what_is_added_is_there_after_a_restart(tmp_path):
    store = Store(tmp_path / "stats")
    store.add("a", {"k1": {"value": 1.5}, "k2": {"value": ["ö", None]}})
    store.add("b", {"k1": {"value": 2}})
    again = Store(tmp_path / "stats")
    for one in (store, again):
        assert one.get("a", "k1") == {"value": 1.5} and one.get("a", "k2") == {"value": ["ö", None]}
        assert one.get("b", "k1") == {"value": 2} and one.get("b", "k2") is None


@pytest.mark.parametrize("lost", [1, 5, 20])
def test_a_line_that_was_cut_off_is_forgotten_and_harms_no_other(lost, tmp_path):
    store = Store(tmp_path)
    store.add("a", {"k": {"value": 1}})
    store.add("b", {"k": {"value": 2}})
    file = tmp_path / "rank-0.jsonl"
    file.write_bytes(file.read_bytes()[:-lost])
    store = Store(tmp_path)
    assert store.get("a", "k") == {"value": 1}
    assert (store.get("b", "k") is None) == (lost > 1)  # only the end of the line is missing: nothing is lost
    store.add("c", {"k": {"value": 3}})
    store.add("b", {"k": {"value": 4}})
    store = Store(tmp_path)
    assert [store.get(name, "k")["value"] for name in "abc"] == [1, 4, 3]


def test_lines_that_are_none_of_ours_are_ignored(tmp_path):
    Store(tmp_path).add("a", {"k": {"value": 1}})
    with (tmp_path / "rank-0.jsonl").open("ab") as lines:
        lines.write(
            b'\xff\xfe\n[1, 2]\nnull\n{"id": "a"}\n{"id": "a", "values": 3}\n{"id": [], "values": {"k": 9}}\n\n'
        )
    store = Store(tmp_path)
    assert store.get("a", "k") == {"value": 1}
    assert [id for (id,) in store.index.execute("SELECT id FROM lines")] == ["a"]


def test_processes_read_each_others_files(tmp_path):
    first, second = Store(tmp_path, 0), Store(tmp_path, 1)
    first.add("a", {"k": {"value": 1}})
    second.add("b", {"k": {"value": 2}})
    first.read()
    assert first.get("b", "k") == {"value": 2}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rank-0.jsonl", "rank-1.jsonl"]


def test_what_json_cannot_hold_is_refused_before_it_is_written(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(ValueError):
        store.add("a", {"k": {"value": float("nan")}})
    assert (tmp_path / "rank-0.jsonl").read_bytes() == b""
