"""What a run tells about itself."""

import sys

import matplotlib.pyplot as pyplot
import pytest
import torch
from conftest import run_train, tiny_flags
from PIL import Image

from lite_sora.training.metrics import Metrics, loss_by_time, plot_curves, read_lines


def test_loss_by_time_averages_within_quarters():
    losses, t = torch.tensor([1.0, 3.0, 5.0, 7.0]), torch.tensor([0.0, 0.2, 0.5, 1.0])
    assert loss_by_time(losses, t) == [2.0, None, 5.0, 7.0]


def test_lines_past_the_checkpoint_and_a_torn_line_are_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"ste', encoding="utf-8")
    assert [line["step"] for line in read_lines(path)] == [1, 2, 3]
    metrics = Metrics(tmp_path, step=2, tensorboard=False)
    metrics.write({"step": 3, "loss": 0.5})
    metrics.close()
    assert read_lines(path) == [{"step": 1}, {"step": 2}, {"step": 3, "loss": 0.5}]


def test_curves_are_a_picture_even_with_steps_that_were_skipped(tmp_path):
    metrics = Metrics(tmp_path, step=0, tensorboard=False)
    for step in range(1, 4):
        value = None if step == 2 else 1.0 / step
        bins = [value, None, value, value]
        metrics.write({"step": step, "loss": value, "loss_by_time": bins, "grad_norm": value, "lr": 0.1})
    metrics.close()
    with Image.open(plot_curves(tmp_path)) as picture:
        assert picture.width > 500 and len(set(picture.convert("L").tobytes())) > 10


def test_a_rare_time_is_drawn_as_points_and_a_frequent_one_as_a_line_without_gaps(tmp_path, monkeypatch):
    monkeypatch.setattr("matplotlib.pyplot.close", lambda figure: None)
    metrics = Metrics(tmp_path, step=0, tensorboard=False)
    for step in range(1, 101):
        bins = [2.0 if step % 40 == 0 else None, None if step in range(30, 70) else float(step), None, 1.0]
        metrics.write({"step": step, "loss": 1.0, "loss_by_time": bins, "grad_norm": 1.0, "lr": 0.1})
    metrics.close()
    plot_curves(tmp_path)
    rare, some, never, always = pyplot.gcf().axes[1].lines
    assert rare.get_linestyle() == "None" and rare.get_xydata().tolist() == [[40, 2], [80, 2]]
    assert some.get_xdata().tolist() == [*range(1, 30), *range(70, 101)]  # each the mean of the last 25
    means = dict(some.get_xydata().tolist())
    assert means[3] == pytest.approx(2) and means[29] == pytest.approx(17) and means[100] == pytest.approx(88)
    assert len(never.get_xdata()) == 0 and len(always.get_xdata()) == 100
    assert all(axes.get_xlabel() == "step" for axes in pyplot.gcf().axes)


def test_tensorboard_gets_the_same_numbers(toy, tmp_path):
    pytest.importorskip("tensorboard", reason="optional: pip install tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    flags = ["--steps", "3", "--tensorboard", "--out", str(tmp_path / "run")]
    run_train(*tiny_flags(toy), *flags, "--sample-every", "3")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    written = [scalar.value for scalar in events.Scalars("loss")]
    assert written == pytest.approx([line["loss"] for line in read_lines(tmp_path / "run" / "metrics.jsonl")])
    assert {"samples/raw", "samples/ema"} <= set(events.Tags()["images"])


def test_without_tensorboard_the_flag_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(SystemExit, match="pip install tensorboard"):
        Metrics(tmp_path, step=0, tensorboard=True)
