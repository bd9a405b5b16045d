"""state.pt: whatever happened to the file, it loads or it is a CheckpointError; and it never executes anything."""

import os
import pickle

import numpy as np
import pytest
import torch

from lite_sora.storage.checkpoint import load_state, save_state
from lite_sora.storage.runs import CheckpointError, read_json

pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")
MUTANTS = 400


class Malicious:
    def __reduce__(self):
        return (os.system, ("touch executed",))


def mutate(whole: bytes, rng: np.random.Generator) -> bytes:
    """One of four kinds of damage: some bytes changed, some removed, some inserted, or the end cut off."""
    damaged, place = bytearray(whole), int(rng.integers(len(whole)))
    kind = rng.integers(4)
    if kind == 0:
        for at in rng.integers(len(whole), size=rng.integers(1, 5)):
            damaged[at] = rng.integers(256)
    elif kind == 1:
        del damaged[place : place + int(rng.integers(1, 20))]
    elif kind == 2:
        damaged[place:place] = rng.bytes(int(rng.integers(1, 20)))
    else:
        del damaged[place:]
    return bytes(damaged)


@pytest.mark.parametrize("new_zip", [True, False])  # torch's zip file, and the bare pickle that it wrote before
def test_every_damaged_file_loads_or_is_a_checkpoint_error(new_zip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    optimizer = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(2, 3)}}, "param_groups": [{"lr": 0.1}]}
    state = {"step": 3, "weights": {"a": torch.arange(6.0), "b": torch.zeros(2).bfloat16()}, "optimizers": [optimizer]}
    torch.save(state, tmp_path / "state.pt", _use_new_zipfile_serialization=new_zip)
    whole, rng, refused = (tmp_path / "state.pt").read_bytes(), np.random.default_rng(0), 0
    assert load_state(tmp_path)["step"] == 3
    for _ in range(MUTANTS):
        (tmp_path / "state.pt").write_bytes(mutate(whole, rng))
        try:
            assert isinstance(load_state(tmp_path), dict)
        except CheckpointError as error:
            assert str(tmp_path / "state.pt") in str(error)
            refused += 1
    assert refused > MUTANTS // 2
    assert os.listdir(tmp_path) == ["state.pt"]


def test_code_is_never_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"step": Malicious()}, tmp_path / "state.pt")
    zipped = (tmp_path / "state.pt").read_bytes()
    rng = np.random.default_rng(0)
    for whole in (zipped, pickle.dumps(Malicious(), protocol=2)):
        for damaged in (whole, *(mutate(whole, rng) for _ in range(100))):
            (tmp_path / "state.pt").write_bytes(damaged)
            with pytest.raises(CheckpointError, match="state.pt"):
                load_state(tmp_path)
    assert not (tmp_path / "executed").exists()


def test_what_is_not_a_state_is_a_checkpoint_error(tmp_path):
    with pytest.raises(CheckpointError, match="nothing to resume"):
        load_state(tmp_path)
    torch.save([1, 2], tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match="it contains list, not dict"):
        load_state(tmp_path)
    save_state(tmp_path, {"step": 1})
    assert load_state(tmp_path) == {"step": 1}


def test_settings_are_a_json_object(tmp_path):
    path = tmp_path / "config.json"
    with pytest.raises(CheckpointError, match="does not exist"):
        read_json(path)
    for text, message in (
        ("[1]", "does not contain settings, but a list"),
        ("{", "cannot be read"),
        ("\x80", "cannot be read"),
    ):
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(CheckpointError, match=message):
            read_json(path)
