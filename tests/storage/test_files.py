"""Files appear whole or not at all, and a folder that cannot be made names its flag."""

import pytest

from lite_sora.storage.files import FolderError, make_folder, version_of, write_whole


def test_an_error_leaves_the_old_file_and_no_part_of_the_new_one(tmp_path):
    path = tmp_path / "a.txt"
    write_whole(path, lambda part: part.write_text("old", encoding="utf-8"))

    def broken(part):
        part.write_text("ha", encoding="utf-8")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_whole(path, broken)
    assert path.read_text(encoding="utf-8") == "old" and list(tmp_path.iterdir()) == [path]


def test_a_file_in_the_way_of_a_folder(tmp_path):
    assert make_folder(tmp_path / "a/b", "--out").is_dir()
    (tmp_path / "file").write_text("", encoding="utf-8")
    for folder, reason in (("file", "File exists"), ("file/below", "Not a directory")):
        with pytest.raises(FolderError, match=rf"^--out: the folder {tmp_path}/{folder} cannot be made \({reason}\)$"):
            make_folder(tmp_path / folder, "--out")


def test_the_version_of_a_file_changes_with_it(tmp_path):
    path = tmp_path / "a"
    assert version_of(path) is None
    path.write_text("1", encoding="utf-8")
    before = version_of(path)
    path.write_text("22", encoding="utf-8")
    assert version_of(path) != before
