"""Effective weighting: the one curve that path, prediction, weighting and time density amount to.

The four choices only decide how much a squared error at one noise level counts against another (Kingma & Gao,
2303.00848). So an objective is a curve over log-SNR. Two objectives with the same curve differ only in the variance of
their gradients, and in how easy their output is for the network.

    python -m lite_sora.diffusion.weighting

draws the curves of all named presets, into out/weighting.png.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from lite_sora.commands import command
from lite_sora.diffusion.bisection import bisect
from lite_sora.diffusion.objective import Objective
from lite_sora.diffusion.path import PATHS
from lite_sora.diffusion.prediction import error_ratio
from lite_sora.diffusion.presets import PRESETS
from lite_sora.storage.files import FolderError, make_folder

EDGES = torch.linspace(-15, 15, 601, dtype=torch.float64)  # of cells of log-SNR


def effective_weighting(objective: Objective, edges: Tensor = EDGES) -> tuple[Tensor, Tensor]:
    """The log-SNR (N,) in the middle of each cell between `edges` (N + 1,), which rise, and the weight W (N,) that the
    objective gives there to the squared error of the clean video, so that

        expected loss = integral of W(log_snr) * |error of the clean video at log_snr|^2 over log_snr

    W is the weight that the loss gives to that error (`effective_weight`), times the density of log-SNR that results
    from drawing t and following the path. 2303.00848 writes the loss with the error of the noise instead, whose square
    is SNR times as large: its w(log_snr) is W / SNR, up to a constant factor. Constant w is the ELBO, and w that
    nowhere rises with log-SNR is an ELBO of data with noise added.

    W is 0 beyond the clamps of t and of u, from which t is computed; a clamped time counts in the cell it falls into.
    """
    edges = edges.double()
    middles = (edges[:-1] + edges[1:]) / 2
    density = _fraction_below(objective, edges).diff() / edges.diff()
    return middles, density * effective_weight(objective, PATHS[objective.path].time_at(middles))


def effective_weight(objective: Objective, t: Tensor) -> Tensor:
    """The weight (B,) that the loss gives at t (B,) to the squared error of the clean video."""
    return objective.weight(t) * error_ratio(PATHS[objective.path], objective.prediction, t)


def _fraction_below(objective: Objective, log_snr: Tensor) -> Tensor:
    """The fraction (N,) of drawn times whose log-SNR is below log_snr (N,). Log-SNR rises or falls monotonically with
    the u that a time is drawn from, so it is the u where log-SNR has this value, or 1 - u."""
    rises = bool(_drawn_log_snr(objective, torch.ones(1)) > _drawn_log_snr(objective, torch.zeros(1)))
    if rises:
        return bisect(lambda u: _drawn_log_snr(objective, u), log_snr)
    return 1 - bisect(lambda u: -_drawn_log_snr(objective, u), -log_snr)


def _drawn_log_snr(objective: Objective, u: Tensor) -> Tensor:
    return PATHS[objective.path].log_snr(objective.draw_times(u.double()))


def plot(file: Path | str, objectives: dict[str, Objective] = PRESETS) -> None:
    """Writes a picture (PNG, or what the name ends in) of W and of 2303.00848's w = W / SNR for named objectives."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5), layout="constrained")
    of_video, of_noise = figure.subplots(1, 2)
    for index, (name, objective) in enumerate(objectives.items()):
        log_snr, weight = effective_weighting(objective)
        # without the cells where clamped times pile up
        ends = _drawn_log_snr(objective, torch.tensor([2e-6, 1 - 2e-6], dtype=torch.float64))
        inside = (EDGES[:-1] > ends.min()) & (EDGES[1:] < ends.max())
        log_snr, weight = log_snr[inside], weight[inside]
        for axes, curve in ((of_video, weight), (of_noise, weight / log_snr.exp())):
            axes.plot(log_snr, curve / curve.max(), label=name, linestyle=("-", "--", ":")[index % 3])
    of_video.set(title="W, the weight of the clean video's squared error", ylim=(1e-5, 2))
    of_noise.set(title="w = W / SNR, the weight of the noise's squared error", ylim=(1e-3, 2))
    for axes in (of_video, of_noise):
        axes.set(yscale="log", xlabel="log-SNR (left: noise; right: data)", ylabel="weight, the largest set to 1")
        axes.grid(alpha=0.3)
    of_noise.legend()
    figure.savefig(file)


@command("weighting")
def main() -> None:
    parser = argparse.ArgumentParser(description="Draws the weighting of all named objectives.", allow_abbrev=False)
    parser.add_argument("--out", type=Path, default=Path("out/weighting.png"), help="(default: %(default)s)")
    out = parser.parse_args().out
    try:
        make_folder(out.parent, f"--out {out}")
    except FolderError as error:
        parser.error(str(error))
    plot(out)
    print(out)


if __name__ == "__main__":
    main()
