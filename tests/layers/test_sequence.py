"""Attention within the clips of one sequence."""

import torch

from lite_sora.layers import sequence
from lite_sora.layers.attention import attend
from lite_sora.layers.sequence import Segments

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

    monkeypatch.setattr(sequence, "varlen_attn", varlen)
    found = Segments(LENGTHS).in_one_kernel(*inputs())
    torch.testing.assert_close(found, Segments(LENGTHS).attend(*inputs()))
    assert seen == {"ends": ([0, 3, 4, 11, 16],) * 2, "kind": torch.int32, "longest": (7, 7)}
