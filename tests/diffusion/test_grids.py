"""Time grids: they fall from noise to data, and have the times of their papers."""

import pytest
import torch

from lite_sora.diffusion.choices import GRIDS
from lite_sora.diffusion.grids import SIGMA_MAX, SIGMA_MIN, karras_grid
from lite_sora.diffusion.path import PATHS
from lite_sora.diffusion.prediction import T_MAX, T_MIN
from lite_sora.diffusion.times import shift_time, time_grid

EVERY_PATH = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)


@EVERY_PATH
@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("steps", [1, 2, 100])
def test_times_fall_from_noise_to_data(name, path, steps):
    times = GRIDS[name](steps, path, 3.0)
    assert times.shape == (steps + 1,) and times.dtype == torch.float32
    assert times[0] == 1 and times[-1] == 0 and (times.diff() < 0).all()
    # but for the ends, none is outside the times at which networks are evaluated
    assert all(T_MIN * (1 - 1e-4) <= time < T_MAX for time in times[1:-1].tolist())


def test_even_and_shifted_times():
    assert time_grid(4).tolist() == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    assert time_grid(4, shift=3).tolist() == pytest.approx([1, 0.9, 0.75, 0.5, 0])
    assert torch.equal(GRIDS["uniform"](4, PATHS["vp"], 3.0), time_grid(4))
    assert torch.equal(GRIDS["shifted"](4, PATHS["vp"], 3.0), shift_time(time_grid(4), 3.0))


@EVERY_PATH
def test_karras_noise_levels(path):
    """2206.00364, eq. 5, but for the first and last time: the levels are even in their 7th root."""
    alpha, sigma = path.alpha_sigma(karras_grid(20, path)[1:-1].double())
    root = (sigma / alpha) ** (1 / 7)
    torch.testing.assert_close(root.diff(), root.diff().mean().expand(18), rtol=1e-3, atol=0)
    first, last = float(root[0] - root.diff()[0]) ** 7, float(root[-1]) ** 7
    assert first == pytest.approx(SIGMA_MAX, rel=0.01)
    lowest = float(torch.exp(-path.log_snr(torch.tensor(T_MIN, dtype=torch.float64)) / 2))
    assert last == pytest.approx(max(SIGMA_MIN, lowest), rel=1e-3)
    assert path.name in ("linear", "gvp") or lowest > SIGMA_MIN  # elsewhere no network is evaluated at so low a level
