"""Effective weighting: what a combination of path, prediction, weighting and time density comes to.

All that the four decide is how much a squared error at one noise level counts against another (Kingma & Gao,
2303.00848). So an objective is a curve over log-SNR, and two objectives with one curve are the same but for the
variance of their gradients and for what the network finds easy to put out.

    python -m lite_sora.diffusion.weighting --out weighting.png

draws the curves of all named presets.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from lite_sora.diffusion.objective import PRESETS, Objective
from lite_sora.diffusion.path import PATHS

EDGES = torch.linspace(-15, 15, 601, dtype=torch.float64)  # of cells of log-SNR


def effective_weighting(objective: Objective, edges: Tensor = EDGES) -> tuple[Tensor, Tensor]:
    """The log-SNR (N,) in the middle of each cell between `edges` (N + 1,), which rise, and the weight W (N,) that the
    objective gives there to the squared error of the clean video, so that

        expected loss = integral of W(log_snr) * |error of the clean video at log_snr|^2 over log_snr

    W is the weight that the loss gives to that error (`Objective.effective_weight`), times the density of log-SNR that
    comes of drawing t and following the path. 2303.00848 writes the loss with the error of the noise instead, whose
    square is SNR times as large: its w(log_snr) is W / SNR, up to a constant factor. Constant w is the ELBO, and w that
    nowhere rises with log-SNR is an ELBO of data with noise added.

    W is 0 beyond the clamps of t and of u, on which t depends; what is clamped counts in the cell that it falls into.
    """
    edges = edges.double()
    middles = (edges[:-1] + edges[1:]) / 2
    density = _share_below(objective, edges).diff() / edges.diff()
    return middles, density * objective.effective_weight(PATHS[objective.path].time_at(middles))


def _share_below(objective: Objective, log_snr: Tensor) -> Tensor:
    """The share (N,) of drawn times whose log-SNR is below log_snr (N,). Log-SNR rises or falls with the u that a time
    is drawn from, all the way from 0 to 1, so bisection finds the u where it crosses."""
    rises = bool(_drawn_log_snr(objective, torch.ones(1)) > _drawn_log_snr(objective, torch.zeros(1)))
    low, high = torch.zeros_like(log_snr), torch.ones_like(log_snr)
    for _ in range(60):
        middle = (low + high) / 2
        before = (_drawn_log_snr(objective, middle) < log_snr) == rises
        low, high = torch.where(before, middle, low), torch.where(before, high, middle)
    return high if rises else 1 - high


def _drawn_log_snr(objective: Objective, u: Tensor) -> Tensor:
    return PATHS[objective.path].log_snr(objective.draw_times(u.double()))


def plot(file: Path | str, objectives: dict[str, Objective] = PRESETS) -> None:
    """Writes a picture (PNG, or what the name ends in) of W and of 2303.00848's w = W / SNR for named objectives."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5), layout="constrained")
    of_video, of_noise = figure.subplots(1, 2)
    for index, (name, objective) in enumerate(objectives.items()):
        log_snr, weight = effective_weighting(objective)
        # not the cells where clamped times pile up
        ends = _drawn_log_snr(objective, torch.tensor([2e-6, 1 - 2e-6], dtype=torch.float64))
        inside = (EDGES[:-1] > ends.min()) & (EDGES[1:] < ends.max())
        log_snr, weight = log_snr[inside], weight[inside]
        for axes, curve in ((of_video, weight), (of_noise, weight / log_snr.exp())):
            axes.plot(log_snr, curve / curve.max(), label=name, linestyle=("-", "--", ":")[index % 3])
    of_video.set(title="W, of the clean video's squared error", ylim=(1e-5, 2))
    of_noise.set(title="w = W / SNR, of the noise's squared error", ylim=(1e-3, 2))
    for axes in (of_video, of_noise):
        axes.set(yscale="log", xlabel="log-SNR (left: noise; right: data)", ylabel="weight, the largest set to 1")
        axes.grid(alpha=0.3)
    of_noise.legend()
    figure.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(description="Draws the effective weighting of all named objectives.")
    parser.add_argument("--out", type=Path, default=Path("weighting.png"), help="the picture (default: weighting.png)")
    plot(parser.parse_args().out)


if __name__ == "__main__":
    main()
