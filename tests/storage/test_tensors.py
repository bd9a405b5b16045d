"""The cache of tensors: damaged shards are not used, and are made again."""

import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lite_sora.storage import tensors
from lite_sora.storage.tensors import Shards


@pytest.fixture(autouse=True)
def as_in_a_new_process():
    tensors._opened.cache_clear()


def fill(folder) -> None:
    with Shards(folder) as shards:
        for name in set("abc") - set(shards.files):
            shards.add(name, torch.arange(60).half() + ord(name))


def test_a_shard_with_another_byte_anywhere_in_its_data_is_made_again(tmp_path):
    fill(tmp_path)
    (path,) = tmp_path.iterdir()
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    header = 8 + int.from_bytes(whole[:8], "little")
    for place in (header, len(whole) - 1, *rng.integers(header, len(whole), size=30)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        tensors._opened.cache_clear()
        with pytest.warns(UserWarning, match="is not used, and what was in it is made again .*damaged"):
            assert Shards(tmp_path).files == {}
            fill(tmp_path)
        assert (Shards(tmp_path)["b"][:] == torch.arange(60) + ord("b")).all()  # at once, in the same process


def test_a_shard_with_any_other_byte_gives_what_was_written_or_nothing(tmp_path):
    fill(tmp_path)
    (path,) = tmp_path.iterdir()
    whole, rng = path.read_bytes(), np.random.default_rng(1)
    for place in rng.integers(len(whole), size=200):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        tensors._opened.cache_clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shards = Shards(tmp_path)
        for name in set("abc") & set(shards.files):
            assert torch.equal(shards[name][:], torch.arange(60).half() + ord(name))


def test_shards_of_earlier_versions_have_no_digest_and_stay_usable(tmp_path):
    fill(tmp_path)
    (path,) = tmp_path.iterdir()
    save_file(load_file(path), path)
    tensors._opened.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(Shards(tmp_path).files) == set("abc")


def test_each_shard_is_checked_once_in_a_process(tmp_path, monkeypatch):
    fill(tmp_path)
    tensors._opened.cache_clear()
    checked, check = [], tensors.digest_of_weights
    monkeypatch.setattr(tensors, "digest_of_weights", lambda state: checked.append(len(state)) or check(state))
    for _ in range(3):
        Shards(tmp_path)
    assert checked == [3]
