"""--sequence-parallel: several processes share each clip, where its sequence is too long for one (Ulysses, 2309.14509).

Each process has a part of the tokens, all that layers other than attention need. For attention they exchange: each
gets all tokens of some of the heads, and gives back what came out. It is put on the blocks from outside.
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh

from lite_sora.layers.attention import attend
from lite_sora.layers.sequence import Mask, Pattern, Segments, Told
from lite_sora.processes import Processes
from lite_sora.training.flags import TrainingError


def share_sequence(model: nn.Module, processes: Processes) -> None:
    """Lets the processes that share a clip share its tokens, in training. Raises TrainingError for a model that they
    cannot share."""
    denoiser, shared = getattr(model, "denoiser", None), processes.shared
    if not hasattr(denoiser, "transform"):
        raise TrainingError("--sequence-parallel is for dit and sit with their usual parts, and for uvit")
    if denoiser.config.heads % shared:
        raise TrainingError(f"--sequence-parallel {shared} does not divide the {denoiser.config.heads} heads")
    shape = processes.parts, shared
    mesh = init_device_mesh(processes.device.type, shape, mesh_dim_names=("data", "sequence"))
    group, place, whole = mesh["sequence"].get_group(), processes.rank % shared, denoiser.transform

    def transform(h: Tensor, given: Told) -> Tensor:
        if not denoiser.training:  # the first process samples alone
            return whole(h, given)
        tokens = h.shape[1]
        h, given = padded(h, given, to=shared)
        size = h.shape[1] // shared
        mine = slice(place * size, (place + 1) * size)
        given = given._replace(
            where=None if given.where is None else given.where[mine],
            rotation=None if given.rotation is None else given.rotation[mine],
            mask=Exchanged(given.mask, group, shared),
        )
        return Gather.apply(whole(h[:, mine], given), group, shared, place)[:, :tokens]

    denoiser.transform = transform


def padded(h: Tensor, given: Told, to: int) -> tuple[Tensor, Told]:
    """Tokens (B, N, D) with some more, which no other sees, so that N divides by `to`."""
    tokens, more = h.shape[1], -h.shape[1] % to
    if not more:
        return h, given
    mask = given.mask
    if isinstance(mask, Segments):
        mask = Segments([*mask.lengths, more])
    else:  # (B, 1, 1, N)
        mask = h.new_ones(1, 1, 1, tokens, dtype=torch.bool) if mask is None else mask
        mask = F.pad(mask, (0, more), value=False)
    where = given.where if given.where is None else F.pad(given.where, (0, more))
    rotation = given.rotation if given.rotation is None else F.pad(given.rotation, (0, 0, 0, more))
    return F.pad(h, (0, 0, 0, more)), given._replace(mask=mask, where=where, rotation=rotation)


class Exchanged(Pattern):
    """Attention of tokens that are spread over processes: each computes some of the heads, for all tokens."""

    compiles = False

    def __init__(self, mask: Mask, group: dist.ProcessGroup, shared: int):
        self.mask, self.group, self.shared = mask, group, shared

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q, k, v (B, heads, n, d), of this process's n tokens → (B, heads, n, d)."""
        own = torch.stack([q, k, v]).unflatten(2, (self.shared, -1))  # (3, B, shared, heads / shared, n, d)
        parts = Exchange.apply(own.movedim(2, 0), self.group)  # first whose tokens they are
        q, k, v = parts.movedim(0, 3).flatten(3, 4)  # (B, heads / shared, N, d) each
        out = attend(q, k, v, self.mask).unflatten(-1, (q.shape[1], -1))  # (B, N, heads / shared, d)
        parts = Exchange.apply(out.unflatten(1, (self.shared, -1)).movedim(1, 0), self.group)  # first whose heads
        return parts.movedim(0, 2).flatten(2, 3).transpose(1, 2)


class Exchange(torch.autograd.Function):
    """Each process sends row i of x (shared, ...) to process i, and receives one from it: (shared, ...)."""

    @staticmethod
    def forward(ctx, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group, received = group, torch.empty_like(x, memory_format=torch.contiguous_format)
        dist.all_to_all_single(received, x.contiguous(), group=group)
        return received

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return Exchange.apply(gradient, ctx.group), None  # each gives back what it was sent


class Gather(torch.autograd.Function):
    """The tokens of all processes, (B, n, D) each → (B, N, D). All of them go on with the same tokens to the same loss,
    of which each takes its part of the gradient, times their number: for afterwards gradients are averaged over all
    processes, and those of the blocks, of which each process has a part, have to add up."""

    @staticmethod
    def forward(ctx, h: Tensor, group: dist.ProcessGroup, shared: int, place: int) -> Tensor:
        ctx.shared, ctx.place, parts = shared, place, [torch.empty_like(h) for _ in range(shared)]
        dist.all_gather(parts, h.contiguous(), group=group)
        return torch.cat(parts, dim=1)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return ctx.shared * gradient.chunk(ctx.shared, dim=1)[ctx.place], None, None, None
