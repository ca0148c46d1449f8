"""The batch of a step is a function of (seed, step), holds every row once per pass, and hides nothing by padding."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.contract import Refusal
from runtime.data.encode import Example
from runtime.models import build
from runtime.train.batches import Corpus, groups_of, order, rows_of
from runtime.train.teaching import hidden_of
from tests.tensor.train import world


def corpus(lengths: list[int], pad_id: int = 0) -> Corpus:
    examples = [
        Example(
            [3 + (row * 7 + i) % 200 for i in range(length)],
            {
                "response": [i >= length // 2 for i in range(length)],
                "tool_name": [i == length - 2 for i in range(length)],
            },
        )
        for row, length in enumerate(lengths)
    ]
    return Corpus([f"row-{row}" for row in range(len(lengths))], examples, 64, pad_id)


@settings(deadline=None, max_examples=50, derandomize=True)
@given(seed=st.integers(0, 2**31), rows=st.integers(1, 40), batch=st.integers(1, 50))
def test_every_pass_holds_every_row_once(seed: int, rows: int, batch: int) -> None:
    passes = 3
    steps = -(-passes * rows // batch)
    drawn = [row for step in range(steps) for row in rows_of(seed, step, batch, rows)]
    for begin in range(0, passes * rows, rows):
        assert sorted(drawn[begin : begin + rows]) == list(range(rows))


def test_a_step_does_not_depend_on_the_steps_before_it() -> None:
    forward = [rows_of(7, step, 8, 30) for step in range(20)]
    order.cache_clear()
    backward = [rows_of(7, step, 8, 30) for step in reversed(range(20))]
    assert forward == backward[::-1]


def test_passes_and_seeds_have_orders_of_their_own() -> None:
    orders = {order(seed, epoch, 50) for seed in (1, 2) for epoch in (0, 1)}
    assert len(orders) == 4


def test_the_order_is_the_published_one() -> None:
    """Pinned: another order is another training, and training.json says how it is made."""
    assert order(1337, 0, 8) == (1, 6, 7, 4, 2, 0, 3, 5)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(lengths=st.lists(st.integers(2, 60), min_size=1, max_size=70))
def test_groups_hold_every_place_once(lengths: list[int]) -> None:
    groups = groups_of(lengths)
    assert sorted(place for group in groups for place in group) == list(range(len(lengths)))
    assert all(groups)


def test_targets_are_the_tokens_after_their_places() -> None:
    made = corpus([9, 5, 20, 12])
    batch = made.batch([2, 0, 3, 1])
    at = 0
    for group in batch.groups:
        flat = group.ids_BT.flatten()
        count = len(group.places_N)
        assert torch.equal(flat[group.places_N + 1], batch.target_N[at : at + count])
        at += count
    assert at == len(batch.target_N)
    assert batch.tokens == 9 + 5 + 20 + 12


def test_masks_stand_beside_their_targets() -> None:
    made = corpus([9, 5, 20])
    batch = made.batch([0, 1, 2])
    for mask in ("response", "tool_name"):
        wanted = [token for row in batch.rows for token in made.target_ids(mask, row)]
        assert [int(token) for token in batch.target_N[batch.masks_N[mask]]] == wanted


def test_a_row_is_not_cut_but_refused_by_its_id() -> None:
    with pytest.raises(Refusal, match=r"row `row-1` has 65 tokens, more than max_length 64"):
        corpus([10, 65])


def test_a_first_token_cannot_be_supervised() -> None:
    with pytest.raises(Refusal, match="nothing predicts"):
        Corpus(["a"], [Example([1, 2], {"response": [True, True]})], 8, 0)


@pytest.mark.parametrize("family", ["llama", "qwen3", "phi"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_padding_content_cannot_be_seen(family: str, attention: str) -> None:
    """Bit for bit: the hidden state of a real token does not depend on what stands in the padding."""
    model = build.build(world.architecture(family=family), 1, attention=attention)
    rows = [0, 1, 2, 3]
    lengths = [20, 9, 5, 12]
    with torch.no_grad():
        zeros = hidden_of(model, [corpus(lengths, pad_id=0).group(rows)])
        others = hidden_of(model, [corpus(lengths, pad_id=217).group(rows)])
    assert torch.equal(zeros, others)


@pytest.mark.parametrize("family", ["llama", "qwen3", "phi"])
def test_padding_length_and_grouping_change_only_rounding(family: str) -> None:
    model = build.build(world.architecture(family=family), 1, attention="sdpa")
    made = corpus([20, 9, 5, 12])
    with torch.no_grad():
        together = hidden_of(model, [made.group([0, 1, 2, 3])])
        alone = hidden_of(model, [made.group([row]) for row in range(4)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "qwen3", "phi"])
def test_the_training_forward_is_causal(family: str) -> None:
    """Defect D5 of the origin: changing the last token must not change any hidden state before it."""
    model = build.build(world.architecture(family=family), 1, attention="sdpa")
    ids = torch.arange(3, 23)[None]
    changed = ids.clone()
    changed[0, -1] = 250
    with torch.no_grad():
        before = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        after = model.base_model(input_ids=changed, use_cache=False).last_hidden_state
    assert torch.equal(before[:, :-1], after[:, :-1])
    assert not torch.equal(before[:, -1], after[:, -1])


def test_sdpa_and_eager_attention_train_the_same_gradient() -> None:
    made = corpus([20, 9, 5, 12])
    found = []
    for attention in ("sdpa", "eager"):
        model = build.build(world.architecture(), 1, attention=attention)
        hidden_of(model, [made.group([0, 1, 2, 3])]).pow(2).sum().backward()
        found.append([parameter.grad for parameter in model.base_model.parameters()])
    for left, right in zip(*found, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-4)
