"""Muon: orthogonal updates, of AdamW's size, for block matrices only."""

from types import SimpleNamespace

import torch
from torch import nn

from lite_sora.denoisers.dit import DenoiserConfig, DiT
from lite_sora.training.muon import Muon, make_optimizers, matrices_on_tokens, orthogonalize


def test_orthogonalize_keeps_singular_vectors_and_evens_out_singular_values():
    torch.manual_seed(0)
    for shape in ((3, 16, 16), (2, 12, 40), (2, 40, 12)):
        matrices = torch.randn(shape)
        result = orthogonalize(matrices)
        assert result.shape == matrices.shape
        for before, after in zip(matrices, result, strict=True):
            u, values, vt = torch.linalg.svd(before, full_matrices=False)
            inside = u.T @ after @ vt.T  # diagonal where the singular vectors are the same
            even = inside.diagonal()[values > 0.05 * values.max()]
            assert even.min() > 0.6 and even.max() < 1.3
            assert (inside - inside.diagonal().diag()).abs().max() < 1e-3


def test_muon_finds_the_least_squares_solution():
    torch.manual_seed(0)
    goal, x = torch.randn(8, 6), torch.randn(256, 6)
    layer = nn.Linear(6, 8, bias=False)
    optimizer = Muon(layer.parameters(), lr=0.1)
    for step in range(300):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 300)
        loss = (layer(x) - x @ goal.T).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (layer.weight - goal).abs().max() < 0.05


def test_a_step_is_about_a_fifth_of_the_learning_rate_in_root_mean_square():
    torch.manual_seed(0)
    for shape in ((64, 64), (32, 128), (128, 32)):
        weight = nn.Parameter(torch.zeros(shape))
        weight.grad = torch.randn(shape)
        Muon([weight], lr=0.5).step()
        assert 0.07 < weight.square().mean().sqrt() < 0.13


def test_muon_gets_the_matrices_that_tokens_pass_through_and_nothing_else():
    model = nn.ModuleDict({"denoiser": DiT(DenoiserConfig(width=48, depth=2, heads=2))})
    matrices = matrices_on_tokens(model)
    settings = SimpleNamespace(optimizer="muon", lr=1e-3, muon_lr=0.02, weight_decay=0.0)
    rest = make_optimizers(model, matrices, settings)[0].param_groups[0]["params"]
    assert len(matrices) == 2 + 2 * 4  # embed, out; and qkv, out, two of the feed-forward network, in each block
    assert len(matrices) + len(rest) == len(list(model.parameters()))
    chosen, denoiser = {id(weight) for weight in matrices}, model["denoiser"]
    assert {id(denoiser.embed.weight), id(denoiser.out.weight)} <= chosen
    assert not {id(denoiser.blocks[0].modulation[-1].weight), id(denoiser.embed_text.weight)} & chosen


def test_a_kernel_is_stepped_as_the_matrix_that_it_is():
    torch.manual_seed(0)
    for shape in ((8, 3, 3, 3, 3), (96, 4, 1, 2, 2)):  # wide, and tall
        kernel = nn.Parameter(torch.randn(shape))
        matrix = nn.Parameter(kernel.detach().flatten(1).clone())
        kernel.grad = torch.randn(shape)
        matrix.grad = kernel.grad.flatten(1)
        Muon([kernel], lr=0.5).step()
        Muon([matrix], lr=0.5).step()
        assert torch.equal(kernel.flatten(1), matrix)
