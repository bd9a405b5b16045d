"""Muon: momentum whose matrices are made orthogonal before they are applied (Jordan et al. 2024; scaled to AdamW's step
size as in 2502.16982, eq. 4), for the weight matrices that every token passes through; AdamW takes all the rest.

torch.optim.Muon does the same in bfloat16, which processors without bf16 units compute a hundred times slower than
float32. This one stays in the gradient's type, and orthogonalises matrices of one shape together. Under --fsdp each
process gathers the momentum of whole matrices, computes all of them, and keeps its part: Muon costs there what it costs
one process, and the exchange of every matrix.
"""

import math

import torch
from torch import Tensor, nn

from lite_sora.storage.sharded import like, whole


def orthogonalize(matrices: Tensor, steps: int = 5) -> Tensor:
    """Matrices (K, M, N) with all singular values near 1 and the same singular vectors: U S V^T → about U V^T.

    Newton-Schulz iteration with Jordan's quintic: each step maps a singular value s to
    3.4445 s - 4.775 s^3 + 2.0315 s^5, which soon takes any s in (0, 1] to between 0.7 and 1.2.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.775 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """For matrices, and kernels of convolutions as matrices (outputs, inputs of all their places). A step's root mean
    square is 0.16 to 0.18 lr, about that of AdamW, whatever the matrix's shape: it would be 0.2 lr if all singular
    values were 1, and the iteration leaves them at 0.7 to 1.2."""

    def __init__(self, params, lr: float, momentum: float = 0.95, weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            by_shape: dict[tuple[int, int], list[nn.Parameter]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    shape = len(weight), math.prod(weight.shape[1:])
                    by_shape.setdefault(shape, []).append(weight)
            for shape, weights in by_shape.items():
                momenta = [whole(self._nesterov(weight, group["momentum"])) for weight in weights]
                updates = torch.stack([momentum.flatten(1) for momentum in momenta])
                scale = group["lr"] * 0.2 * math.sqrt(max(shape))
                for weight, update in zip(weights, orthogonalize(updates), strict=True):
                    update = like(update.reshape(weight.shape), weight)
                    weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-scale)

    def _nesterov(self, weight: nn.Parameter, momentum: float) -> Tensor:
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        state["momentum"].lerp_(weight.grad, 1 - momentum)
        return weight.grad.lerp(state["momentum"], momentum)


def make_optimizers(model: nn.Module, matrices: list[nn.Parameter], settings) -> list[torch.optim.Optimizer]:
    """AdamW; or with --optimizer muon, Muon for `matrices` and AdamW for the rest. A group knows its "peak_lr"."""
    matrices = matrices if settings.optimizer == "muon" else []
    chosen = {id(weight) for weight in matrices}
    rest = [weight for weight in model.parameters() if id(weight) not in chosen]
    optimizers = [adamw(rest, settings.lr, settings.weight_decay)]
    if matrices:
        optimizers.append(Muon(matrices, lr=settings.muon_lr, weight_decay=settings.weight_decay))
        optimizers[-1].param_groups[0]["peak_lr"] = settings.muon_lr
    return optimizers


def set_rates(optimizers: list[torch.optim.Optimizer], rate: float) -> None:
    """Each group's learning rate: a fraction of its peak."""
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        group["lr"] = group["peak_lr"] * rate


def learning_rate(settings, step: int) -> float:
    """The fraction of the peak rate at a step: warm-up, a plateau, and a fall to 0 over the last `decay` of all steps,
    as a line or half a cosine."""
    rate = min(1.0, (step + 1) / max(1, settings.warmup))
    left = (settings.steps - step) / max(1.0, settings.decay * settings.steps)  # 1 where the fall begins, 0 at the end
    if settings.schedule == "constant" or left >= 1:
        return rate
    return rate * (left if settings.schedule == "linear" else 0.5 - 0.5 * math.cos(math.pi * left))


def adamw(parameters, lr: float, weight_decay: float) -> torch.optim.AdamW:
    optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.95), weight_decay=weight_decay, fused=True)
    optimizer.param_groups[0]["peak_lr"] = lr
    return optimizer


def matrices_on_tokens(model: nn.Module) -> list[nn.Parameter]:
    """The matrices that every token passes through, by what the networks in a model declare (`on_tokens`). Modulation
    is none of them: it sees one vector a sample."""
    networks = [module for module in model.modules() if hasattr(module, "on_tokens")]
    layers = [layer for network in networks for layer in network.on_tokens()]
    matrices = {id(weight) for layer in layers for weight in layer.parameters() if weight.dim() == 2}
    return [weight for weight in model.parameters() if id(weight) in matrices]
