"""Devices are checked before anything is loaded onto them."""

import pytest
import torch

from lite_sora.processes import DeviceError, check_device, default_device


def test_devices_that_are_there():
    assert check_device("cpu") == "cpu" and check_device(None) == check_device(default_device())


@pytest.mark.parametrize("name", ["nonsense", "cuda:99", "gpu", "cpu:-1"])
def test_a_device_that_is_not_there(name):
    with pytest.raises(DeviceError, match=f"^--device {name}: this machine has cpu"):
        check_device(name)


def test_cuda_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(DeviceError, match="--device cuda: this machine has cpu"):
        check_device("cuda")


def test_each_process_of_a_machine_has_its_own_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert check_device("cuda") == "cuda" and check_device("cuda:1") == "cuda:1"
    for rank, gpu in ((0, "cuda:0"), (1, "cuda:1"), (2, "cuda:0")):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        assert check_device("cuda") == gpu
