"""Logits that a model bounds after its head are learnt as that model's: Transformers' own Gemma 2 is the oracle."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from runtime.contract import Refusal
from runtime.models import capping
from runtime.train import onepass
from runtime.train.teaching import head_of, in_float32
from tests.longer import also
from tests.tensor.losses import checks
from tests.tensor.losses.bench import TERMS, VOCAB, Bench, model

#: of student and teacher; the logits of the head reach several times as far
CAPS = (1.5, 2.5)
SIDES = [CAPS, (CAPS[0], None), (None, CAPS[1])]


@pytest.mark.parametrize("caps", SIDES)
def test_values_are_the_oracles_on_the_models_own_logits(caps: tuple[float | None, float | None]) -> None:
    bench = Bench(caps=caps)
    for value, name in zip(bench.path(), TERMS, strict=True):
        # Gemma's norms are float32 whatever the weights are
        assert float(value.detach()) == pytest.approx(bench.truth(name), rel=1e-5), name


@pytest.mark.parametrize("name", [name if name in ("kl", "ce_truth") else also(name) for name in TERMS])
def test_gradients_are_the_slope_of_the_oracle(name: str) -> None:
    checks.check_gradient(name, Bench(caps=CAPS))


@pytest.mark.parametrize("block", [1, 4 * VOCAB * 3, onepass.BLOCK_BYTES])
@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_the_gradient_is_autograds_through_transformers_in_any_piece(
    block: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cross-entropy of the whole model's logits, without a chunk, a mask of some tokens, and every weight of it."""
    monkeypatch.setattr(onepass, "BLOCK_BYTES", block)
    bench = Bench(torch.float32, CAPS)
    (value,) = bench.path(("tool_name",), chunk)
    found = torch.autograd.grad(value, list(bench.student.parameters()))
    losses = []
    for example in bench.examples:
        logits_TV = bench.student(input_ids=torch.tensor([example.ids]), use_cache=False).logits[0]
        at = torch.tensor(example.masks["tool_name"][1:])
        losses.append(
            nn.functional.cross_entropy(logits_TV[:-1][at], torch.tensor(example.ids[1:])[at], reduction="none")
        )
    wanted_value = torch.cat(losses).mean()
    wanted = torch.autograd.grad(wanted_value, list(bench.student.parameters()))
    assert float(value.detach()) == pytest.approx(float(wanted_value.detach()), rel=1e-5)
    largest = max(float(one.abs().max()) for one in wanted)
    assert largest > 1e-3
    for ours, theirs in zip(found, wanted, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5 * largest)


@pytest.mark.parametrize("name", ["slope", "bound_"])
def test_a_bound_that_is_left_out_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its derivative alone, or all of it: the oracle above has other numbers then."""

    def without(logits: torch.Tensor, _cap: Any) -> torch.Tensor:
        return torch.ones_like(logits) if name == "slope" else logits

    monkeypatch.setattr(capping, name, without)
    with pytest.raises(AssertionError):
        checks.check_gradient("kl", Bench(caps=CAPS))


def test_a_head_is_the_models_with_its_bound_and_its_own_weights() -> None:
    made = model(16, 2, 1, torch.float32, 1.5)
    ids = torch.arange(12)[None] % VOCAB
    head = head_of(made, ids, "student")
    assert capping.cap_of(head) == 1.5
    assert head.weight is made.lm_head.weight
    with torch.no_grad():
        hidden_BTH = made.base_model(input_ids=ids, use_cache=False).last_hidden_state
        whole = made(input_ids=ids, use_cache=False).logits
        assert torch.allclose(head(hidden_BTH), whole, atol=1e-5)
        assert float((made.lm_head(hidden_BTH) - whole).abs().max()) > 0.5, "the bound changes nothing here"
        half = in_float32(head.to(torch.bfloat16))
        assert (type(half), half.weight.dtype, capping.cap_of(half)) == (capping.Capped, torch.float32, 1.5)


@pytest.mark.parametrize("cap", [None, 1.0])
def test_a_model_whose_bound_is_not_the_one_it_states_is_refused(cap: float | None) -> None:
    made = model(16, 2, 1, torch.float32, 1.5)
    own = made.forward

    def other(*args: Any, **options: Any) -> Any:
        made.config.final_logit_softcapping = cap
        try:
            return own(*args, **options)
        finally:
            made.config.final_logit_softcapping = 1.5

    made.forward = other
    with pytest.raises(Refusal, match="changes its logits after the head, and not by final_logit_softcapping"):
        head_of(made, torch.arange(12)[None], "teacher")
