"""The attention function against its formula."""

import torch

from lite_sora.layers.attention import attend


def test_attention_is_the_softmax_of_scaled_products_with_heads_merged():
    q, k, v = torch.randn(2, 3, 4, 5, 8), torch.randn(2, 3, 4, 7, 8), torch.randn(2, 3, 4, 7, 8)
    weights = (q @ k.transpose(-1, -2) / 8**0.5).softmax(-1)
    heads = [(weights @ v)[..., head, :, :] for head in range(4)]
    torch.testing.assert_close(attend(q, k, v), torch.cat(heads, dim=-1))
    assert attend(q, k, v).shape == (2, 3, 5, 32)


def test_what_the_mask_hides_changes_nothing():
    q, k, v = torch.randn(2, 4, 5, 8), torch.randn(2, 4, 7, 8), torch.randn(2, 4, 7, 8)
    mask = torch.ones(2, 1, 1, 7, dtype=torch.bool)
    torch.testing.assert_close(attend(q, k, v, mask), attend(q, k, v))
    mask[..., 5:] = False
    torch.testing.assert_close(attend(q, k, v, mask), attend(q, k[..., :5, :], v[..., :5, :]))
