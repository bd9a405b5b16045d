"""Attention within the clips of one sequence, and within windows of a clip."""

import pytest
import torch

from lite_sora.layers.attention import attend
from lite_sora.layers.sequence import Segments, Windows

LENGTHS = [3, 1, 7, 5]


def inputs():
    torch.manual_seed(0)
    return [torch.randn(1, 2, sum(LENGTHS), 8) for _ in range(3)]


def block_diagonal() -> torch.Tensor:
    clip = torch.arange(len(LENGTHS)).repeat_interleave(torch.tensor(LENGTHS))
    return clip[:, None] == clip


def test_segments_are_a_block_diagonal_mask():
    torch.testing.assert_close(attend(*inputs(), Segments(LENGTHS)), attend(*inputs(), block_diagonal()))


def test_on_a_gpu_one_kernel_is_told_where_clips_end(monkeypatch):
    """What it is called with, by the signature of torch's varlen_attn; its result is computed clip by clip."""
    seen = {}

    def varlen(q, k, v, ends_q, ends_k, longest_q, longest_k):
        assert q.shape == k.shape == v.shape == (16, 2, 8)  # (tokens, heads, width of a head)
        seen.update(ends=(ends_q.tolist(), ends_k.tolist()), kind=ends_q.dtype, longest=(longest_q, longest_k))
        clips = zip(*(values.split(LENGTHS) for values in (q, k, v)), strict=True)
        weighted = [
            torch.einsum("hqk,khd->qhd", (torch.einsum("qhd,khd->hqk", q, k) / 8**0.5).softmax(-1), v)
            for q, k, v in clips
        ]
        return torch.cat(weighted)

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", varlen)
    found = Segments(LENGTHS).in_one_kernel(*inputs())
    torch.testing.assert_close(found, Segments(LENGTHS).attend(*inputs()))
    assert seen == {"ends": ([0, 3, 4, 11, 16],) * 2, "kind": torch.int32, "longest": (7, 7)}


@pytest.mark.parametrize("others", [0, 3])
@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("grid, window", [((4, 4, 4), (2, 2, 4)), ((3, 5, 4), (2, 2, 3)), ((2, 3, 3), (4, 9, 1))])
def test_windows_are_a_mask(grid, window, shifted, others):
    """Which pairs of patches share a window is counted here one by one."""
    torch.manual_seed(0)
    places = [(t, h, w) for t in range(grid[0]) for h in range(grid[1]) for w in range(grid[2])]
    halves = [size // 2 if shifted else 0 for size in window]
    window_of = [tuple((at + half) // size for at, half, size in zip(p, halves, window, strict=True)) for p in places]
    n = len(places)
    q, k, v = (torch.randn(2, 2, n + others, 8, requires_grad=True) for _ in range(3))
    seen = torch.ones(2, 1, 1, n + others, dtype=torch.bool)
    if others:
        seen[1, ..., -1] = False  # the padding of a shorter caption
    mask = torch.tensor([[one == other for other in window_of] for one in window_of])
    mask = torch.nn.functional.pad(mask, (0, others, 0, others), value=True) & seen
    found, expected = attend(q, k, v, Windows(grid, window, shifted, seen)), attend(q, k, v, mask)
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(found)
    for one, other in zip(
        *(torch.autograd.grad((y * weights).sum(), (q, k, v)) for y in (found, expected)), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
