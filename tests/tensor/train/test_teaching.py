"""The teacher's side: looked up or computed, it is the same model's hidden states at the same places."""

from __future__ import annotations

import pytest
import torch

from runtime.contract import Refusal
from runtime.models import build
from runtime.train.batches import Corpus
from runtime.train.linear import fast
from runtime.train.teaching import Teacher, head_of
from tests.tensor.train import world
from tests.tensor.train.test_batches import corpus

LENGTHS = [20, 9, 5, 12, 9, 31, 5, 20]


def teacher(made: Corpus, limit: int, drawn: list[int] | None = None) -> Teacher:
    model = build.build(world.architecture(), 4, attention="sdpa")
    rows = list(range(len(made))) if drawn is None else drawn
    return Teacher(model, head_of(model, made.ids[0][None], "teacher"), made, rows, limit)


def test_looked_up_and_computed_hidden_states_agree() -> None:
    made = corpus(LENGTHS)
    kept, fresh = teacher(made, limit=1 << 30), teacher(made, limit=0)
    assert (kept.looked_up, fresh.looked_up) == (True, False)
    for rows in ([3, 1, 7, 7, 0], [5], list(range(8))):
        batch = made.batch(rows)
        torch.testing.assert_close(kept.hidden(batch), fresh.hidden(batch), rtol=1e-5, atol=1e-5)


def test_a_teacher_in_bfloat16_gives_float32_to_the_loss() -> None:
    made = corpus(LENGTHS)
    exact = build.build(world.architecture(), 4, attention="sdpa")
    build.round_to(exact, torch.bfloat16)
    rough = build.build(world.architecture(), 4, attention="sdpa").to(torch.bfloat16)
    rows, batch = list(range(len(made))), made.batch([3, 1, 7])
    with fast(exact, rough):
        two = [Teacher(model, head_of(model, made.ids[0][None], "teacher"), made, rows, 0) for model in (exact, rough)]
        fine, coarse = (torch.log_softmax(one.head(one.hidden(batch)), -1) for one in two)
    assert next(two[1].model.parameters()).dtype == torch.bfloat16
    assert coarse.dtype == torch.float32
    assert not torch.equal(coarse.bfloat16().float(), coarse)
    # three digits of hidden states of size one, over a width of a few dozen
    divergence = (fine.exp() * (fine - coarse)).sum(-1)
    assert 0 < float(divergence.max()) < 1e-3


def test_only_rows_that_will_be_drawn_are_computed() -> None:
    made = corpus(LENGTHS)
    some = teacher(made, limit=1 << 30, drawn=[1, 5])
    assert bool(some.hidden(made.batch([1, 5])).any())
    assert not bool(some.hidden(made.batch([0])).any())


def test_a_teacher_does_not_learn() -> None:
    made = corpus(LENGTHS)
    found = teacher(made, limit=0)
    assert not any(parameter.requires_grad for parameter in found.model.parameters())
    assert not found.hidden(made.batch([0, 1])).requires_grad


def test_refused_a_model_that_changes_its_logits_after_the_head() -> None:
    """Soft caps and scales on the way out were lost by fused losses elsewhere (TRL #6629). A cap is none of them where
    the config states it: tests/tensor/losses/test_capped.py."""
    from transformers import AutoModelForCausalLM, CohereConfig

    config = CohereConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        logit_scale=0.5,
    )
    model = AutoModelForCausalLM.from_config(config)
    with pytest.raises(Refusal, match="changes its logits after the head"):
        head_of(model, torch.arange(8)[None], "teacher")
