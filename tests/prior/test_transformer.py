"""The code transformer: what a code can see, and that what is remembered is what would be computed again."""

import math

import pytest
import torch
from prior.tiny_prior import tiny_transformer

from lite_sora.prior.transformer import CodeTransformer, CodeTransformerConfig
from lite_sora.text.encoder import Text

GRID = (2, 3, 4)  # 24 places


def text(seed: int = 0, lengths=(5, 3)) -> Text:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(len(lengths), max(lengths), 16, generator=generator)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return Text(tokens, mask, tokens.mean(1))


def codes(batch: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randint(10, (batch, *GRID), generator=torch.Generator().manual_seed(seed))


def test_it_begins_by_knowing_nothing():
    model = CodeTransformer(CodeTransformerConfig(codes=10, width=48, depth=1, heads=2, text_width=16))
    assert torch.equal(model(codes(), text()), torch.zeros(2, 24, 10))  # all codes are as likely: log 10 nats each


@pytest.mark.parametrize("place", [0, 7, 22])
@torch.no_grad()
def test_a_code_changes_what_comes_after_it_and_nothing_before(place):
    model, one = tiny_transformer(), codes()
    other = one.clone()
    other.flatten(1)[:, place] = (one.flatten(1)[:, place] + 1) % 10
    before, after = model(one, text()), model(other, text())
    changed = (before - after).abs().amax((0, 2))  # (N,)
    assert changed[: place + 1].max() < 1e-5 and changed[place + 1 :].min() > 1e-4


@torch.no_grad()
def test_codes_stand_in_raster_order_of_time_height_and_width():
    model, one = tiny_transformer(), codes()
    other = one.clone()
    other[:, 1, 2, 3] = (one[:, 1, 2, 3] + 1) % 10  # the last of all
    assert torch.equal(model(one, text()), model(other, text()))


@torch.no_grad()
def test_words_matter_and_padding_does_not():
    model, given = tiny_transformer(), text()
    logits = model(codes(), given)
    alone = Text(given.tokens[1:, :3], given.mask[1:, :3], given.pooled[1:])  # the second caption has three words
    torch.testing.assert_close(model(codes()[1:], alone), logits[1:], rtol=0, atol=1e-5)
    assert (model(codes(), text(seed=1)) - logits).abs().amax((0, 2)).min() > 1e-3


@torch.no_grad()
def test_a_place_in_time_height_and_width_matters():
    model, same = tiny_transformer(), torch.zeros(1, *GRID, dtype=torch.long)
    logits = model(same, text(lengths=(3,)))[0, 1:]  # after the same code each time
    assert torch.pdist(logits).min() > 1e-2


@pytest.mark.parametrize("chunks", [(1,) * 23, (5, 1, 17)])
@torch.no_grad()
def test_remembered_keys_and_values_give_what_computing_all_again_gives(chunks):
    model, all_codes = tiny_transformer(), codes()
    memory, parts = model.read(text()), []
    parts.append(model.advance(memory, all_codes.flatten(1)[:, :0], GRID, start=True))
    for part in all_codes.flatten(1)[:, :-1].split(chunks, dim=1):
        parts.append(model.advance(memory, part, GRID))
    torch.testing.assert_close(torch.cat(parts, dim=1), model(all_codes, text()), rtol=0, atol=1e-5)


def test_a_few_sequences_are_learnt_by_heart():
    torch.manual_seed(0)
    model = CodeTransformer(CodeTransformerConfig(codes=10, width=48, depth=2, heads=2, text_width=16))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    target, captions = codes(3), text(lengths=(3, 4, 5))
    for _ in range(80):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(target, captions).transpose(1, 2), target.flatten(1))
        loss.backward()
        optimizer.step()
    assert loss < 0.02 < math.log(10)
    with torch.no_grad():  # and said from memory, each by its caption
        memory, said = model.read(captions), torch.empty(3, 0, dtype=torch.long)
        for place in range(24):
            logits = model.advance(memory, said[:, -1:], GRID, start=place == 0)
            said = torch.cat([said, logits[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(said, target.flatten(1))
