"""Names of models, and a network that is not there: one request, no retries."""

import socket
import time

import pytest

from lite_sora.autoencoders import load_autoencoder
from lite_sora.storage.hub import check_name, offline
from lite_sora.text.pretrained import PretrainedText, TextError


@pytest.fixture
def refused(monkeypatch) -> list:
    """A network that refuses every connection; the list of what was tried."""
    tried = []

    def refuse(*address, **_):
        tried.append(address)
        raise ConnectionRefusedError("connection refused")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    return tried


@pytest.mark.parametrize("name", ["a/b", "t5-small", "openai/clip-vit-base-patch32"])
def test_ids_of_the_hub_and_folders_are_names(name, tmp_path, refused):
    assert check_name(name) == name and check_name(str(tmp_path)) == str(tmp_path)
    assert offline(str(tmp_path)) and not refused


@pytest.mark.parametrize(
    "name", [None, 3, {"a": 1}, ["t5"], "", "  ", "a/b/c", "/no/such/folder", "~/t5", "a b", "a//b"]
)
def test_what_cannot_be_a_model_is_refused_before_anything_is_tried(name, refused):
    with pytest.raises(ValueError, match="neither a folder nor a hub id|cannot be a hub id"):
        check_name(name)
    with pytest.raises(TextError, match="Name a folder with a model's config.json"):
        PretrainedText(name)
    assert not refused


def test_a_folder_that_is_missing_beside_others_is_no_id_of_the_hub(tmp_path, refused, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(ValueError, match="runs/nothing: there is no such folder in runs"):
        check_name("runs/nothing")
    with pytest.raises(ValueError, match="runs/nothing: there is no such folder in runs"):
        load_autoencoder("runs/nothing")
    assert not refused and check_name("nothing") == "nothing"


def test_a_file_is_not_a_folder(tmp_path, refused):
    (tmp_path / "t5").write_text("", encoding="utf-8")
    with pytest.raises(TextError, match="t5 is a file, not the folder of a model"):
        PretrainedText(str(tmp_path / "t5"))
    assert not refused


def test_without_a_network_the_look_up_of_a_text_model_ends_at_once(refused, capfd):
    start = time.monotonic()
    with pytest.raises(TextError, match="somebody/t5: .*Name a folder .* or a hub id while there is a network"):
        PretrainedText("somebody/t5")
    assert time.monotonic() - start < 4 and len(refused) <= 4  # of one request: by the names and addresses of its host
    assert "Retry" not in "".join(capfd.readouterr())


def test_without_a_network_the_look_up_of_an_autoencoder_ends_at_once(refused, capfd):
    pytest.importorskip("diffusers")
    start = time.monotonic()
    with pytest.raises(
        ValueError, match="the autoencoder somebody/vae cannot be loaded .* without a network, name a folder"
    ):
        load_autoencoder("somebody/vae")
    assert time.monotonic() - start < 4 and len(refused) <= 4
    assert "Retry" not in "".join(capfd.readouterr())
