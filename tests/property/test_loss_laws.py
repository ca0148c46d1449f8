"""Laws every loss term obeys, whatever the numbers: found by name in the room, so that a new loss is held to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from runtime import catalog
from runtime.contract import Loss
from runtime.contract.conditions import FACTS
from runtime.steps.train import Term
from runtime.train import objective, onepass
from runtime.train.objective import Bound, Choices, Side
from tests.longer import also
from tests.tensor.losses.terms import values

#: losses over layers or other heads read other things: tests/tensor/losses/test_layers.py, test_heads.py
NAMES = [
    name
    for name, loss in ((name, catalog.load("losses", name)) for name in catalog.names("losses"))
    if loss.layers is None and not loss.head
]
laws = settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def bound(name: str, temperature: float) -> Bound:
    loss = catalog.load("losses", name)
    params: dict[str, Any] = {"k": 2} if name == "top_k_kl" else {}
    params |= {"temperature": temperature} if "temperature" in loss.params.model_fields else {}
    return objective.bind([Term(term=name, version=loss.version, weight=1.0, params=params)])[0]


@dataclass(frozen=True)
class Case:
    student: Side
    teacher: Side
    target_N: Tensor
    masks_N: dict[str, Tensor]
    temperature: float

    def choices(self) -> Choices:
        """What the teacher says of three tokens (two of a smaller vocabulary), at every supervised place."""
        vocab = self.teacher.head.weight.shape[0]
        ids_NM = torch.tensor([[0, vocab - 1, vocab // 2][: 3 if vocab > 2 else 2]]).expand(len(self.target_N), -1)
        log_NV = self.teacher.head(self.teacher.hidden_NH).log_softmax(-1).detach()
        return Choices(ids_NM, log_NV.gather(-1, ids_NM))

    def facts(self) -> dict[str, Tensor]:
        """Flags, numbers on both sides of every border, and tokens: something else at each supervised place."""
        at, vocab = torch.arange(len(self.target_N)), self.teacher.head.weight.shape[0]
        made = {"flag": at % 2 * 1.0, "number": at % 3 * 20.0 - 1.0, "id": at % vocab}
        return {name: made[fact.kind] for name, fact in FACTS.items()}

    def batch(self) -> onepass.Batch:
        return onepass.Batch(
            self.teacher,
            self.target_N,
            self.masks_N,
            objective.totals(self.masks_N),
            self.choices(),
            facts_N=self.facts(),
        )

    def of(self, terms: Sequence[Bound]) -> list[Tensor]:
        return [onepass.total(self.student.hidden_NH, self.student.head, self.batch(), [t], [1.0], 9)[0] for t in terms]

    def values(self, names: Sequence[str], chunk: int = 10_000, piece: slice | None = None) -> Tensor:
        """values_K over all tokens, or over a piece of them with the denominators of all."""
        take = slice(None) if piece is None else piece
        return values(
            Side(self.student.hidden_NH[take], self.student.head),
            Side(self.teacher.hidden_NH[take], self.teacher.head),
            self.target_N[take],
            {mask: flags[take] for mask, flags in self.masks_N.items()},
            [bound(name, self.temperature) for name in names],
            objective.totals(self.masks_N),
            chunk,
            self.choices()[take],
            {name: numbers[take] for name, numbers in self.facts().items()},
        )

    def gradients(self, values_K: Tensor) -> list[Tensor]:
        weights = torch.arange(1.0, len(values_K) + 1, dtype=values_K.dtype)
        return list(torch.autograd.grad((values_K * weights).sum(), (self.student.hidden_NH, self.student.head.weight)))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Float64 logits of very different sizes, every mask with at least one token, masks of different sizes."""
    tokens, vocab = draw(st.integers(2, 24)), draw(st.integers(2, 40))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    scale = draw(st.sampled_from([0.01, 1.0, 30.0]))

    def side(width: int) -> Side:
        head = nn.Linear(width, vocab, bias=False).double()
        with torch.no_grad():
            head.weight.copy_(torch.randn(vocab, width, generator=generator, dtype=torch.float64) * scale)
        return Side(torch.randn(tokens, width, generator=generator, dtype=torch.float64, requires_grad=True), head)

    masks = {
        name: torch.rand(tokens, generator=generator) < 0.4
        for name in sorted({"response", *(catalog.load("losses", name).mask for name in NAMES)})
    }
    for flags in masks.values():
        flags[draw(st.integers(0, tokens - 1))] = True
    target = torch.randint(0, vocab, (tokens,), generator=generator)
    return Case(side(4), side(6), target, masks, draw(st.floats(0.25, 8.0)))


def close(left: Tensor, right: Tensor) -> None:
    torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-12)


@laws
@given(case=cases(), chunk=st.integers(1, 30))
def test_chunk_size_changes_neither_values_nor_gradients(case: Case, chunk: int) -> None:
    whole, cut = case.values(NAMES), case.values(NAMES, chunk)
    close(whole, cut)
    for left, right in zip(case.gradients(whole), case.gradients(cut), strict=True):
        close(left, right)


@laws
@given(case=cases(), at=st.integers(0, 24))
def test_accumulated_parts_add_up_to_the_whole(case: Case, at: int) -> None:
    """Two micro-batches with the denominators of the whole batch train the same objective."""
    whole = case.values(NAMES)
    parts = case.values(NAMES, piece=slice(0, at)) + case.values(NAMES, piece=slice(at, None))
    close(whole, parts)
    for left, right in zip(case.gradients(whole), case.gradients(parts), strict=True):
        close(left, right)


@laws
@given(case=cases(), name=st.sampled_from(NAMES))
def test_a_term_is_not_diluted_by_other_terms(case: Case, name: str) -> None:
    alone, together = case.values([name]), case.values(NAMES)
    close(alone[0], together[NAMES.index(name)])


@laws
@given(case=cases(), name=st.sampled_from(NAMES))
def test_tokens_outside_the_mask_have_no_influence(case: Case, name: str) -> None:
    term = bound(name, case.temperature)
    (value,) = case.values([name])
    (gradient,) = torch.autograd.grad(value, case.student.hidden_NH)
    outside = ~case.masks_N[term.loss.mask]
    assert not gradient[outside].any()
    with torch.no_grad():
        case.student.hidden_NH[outside] += 3.0
    close(value, case.values([name])[0])


@laws
@given(case=cases(), name=st.sampled_from(NAMES))
def test_values_are_finite_and_not_negative(case: Case, name: str) -> None:
    value = float(case.values([name], 5).detach())
    assert value >= -1e-12
    assert value < float("inf")


@laws
@given(case=cases(), name=st.sampled_from(NAMES), student_shift=st.floats(-50, 50), teacher_shift=st.floats(-50, 50))
def test_a_constant_added_to_all_logits_changes_nothing(
    case: Case, name: str, student_shift: float, teacher_shift: float
) -> None:
    """A loss that changes under a shift is not a loss on distributions (zero-padded vocabularies fail here)."""
    term = bound(name, case.temperature)
    student, teacher = case.student.head(case.student.hidden_NH), case.teacher.head(case.teacher.hidden_NH)
    value, _ = term.reads(teacher, case.facts())
    plain = value(student, teacher, case.target_N, term.params)
    shifted = value(student + student_shift, teacher + teacher_shift, case.target_N, term.params)
    torch.testing.assert_close(plain, shifted, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", [name for name in NAMES if catalog.load("losses", name).divergence])
@laws
@given(case=cases())
def test_a_divergence_is_zero_and_flat_when_student_is_teacher(name: str, case: Case) -> None:
    equal = Case(case.student, case.student, case.target_N, case.masks_N, case.temperature)
    values = equal.values([name], 5)
    assert abs(float(values[0].detach())) < 1e-10
    for gradient in equal.gradients(values):
        assert float(gradient.abs().max()) < 1e-8


@laws
@given(case=cases())
def test_a_divergence_is_positive_when_the_distributions_differ(case: Case) -> None:
    for name in (name for name in NAMES if catalog.load("losses", name).divergence):
        term = bound(name, case.temperature)
        student = case.student.head(case.student.hidden_NH)
        other = student.roll(1, -1) + torch.arange(student.shape[-1])
        assert bool((term.loss.value(student, other, case.target_N, term.params) > 0).all())


@laws
@given(
    case=cases(),
    name=st.sampled_from(["kl", "reverse_kl", "choice_kl", "jsd", "skew_kl", "skew_reverse_kl", "top_k_kl"]),
)
def test_temperature_squared_keeps_the_gradient_as_temperature_grows(case: Case, name: str) -> None:
    """For T far above the logits the gradient tends to a constant; without T² it would fall as 1/T²."""
    student = (case.student.head(case.student.hidden_NH) / 100).detach().requires_grad_(True)
    teacher = (case.teacher.head(case.teacher.hidden_NH) / 100).detach()
    sizes = []
    for temperature in (50.0, 100.0):
        term = bound(name, temperature)
        value = term.loss.value(student, teacher, case.target_N, term.params).sum()
        sizes.append(float(torch.autograd.grad(value, student)[0].norm()))
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)


@laws
@given(case=cases(), name=st.sampled_from(NAMES), block=st.sampled_from([1, 64, 400, 1 << 20]))
def test_a_closed_form_is_the_gradient_of_the_value(case: Case, name: str, block: int) -> None:
    """In whatever blocks the losses look at the logits."""
    term = bound(name, case.temperature)
    derived = replace(term, loss=replace(term.loss, gradient=None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onepass, "BLOCK_BYTES", block)
        (written,) = case.of([term])
        (taken,) = case.of([derived])
    close(written, taken)
    for left, right in zip(case.gradients(written[None]), case.gradients(taken[None]), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-10)


@laws
@given(case=cases(), weights=st.lists(st.floats(-2, 2), min_size=len(NAMES), max_size=len(NAMES)))
def test_the_gradient_of_the_sum_is_the_sum_of_the_weighed_gradients(case: Case, weights: list[float]) -> None:
    terms = [bound(name, case.temperature) for name in NAMES]
    whole, values_K = onepass.total(case.student.hidden_NH, case.student.head, case.batch(), terms, weights, 5)
    close(whole.detach(), (values_K * torch.tensor(weights, dtype=values_K.dtype)).sum())
    inputs = (case.student.hidden_NH, case.student.head.weight)
    found = torch.autograd.grad(whole, inputs)
    each = [torch.autograd.grad(case.values([name])[0], inputs) for name in NAMES]
    for at, gradient in enumerate(found):
        asked = sum(weight * of[at] for weight, of in zip(weights, each, strict=True))
        torch.testing.assert_close(gradient, asked, rtol=1e-8, atol=1e-9)


def halved(loss: Loss) -> Loss:
    return replace(loss, gradient=lambda *given, **named: (lambda v, g: (v, g * 0.5))(*closed(loss)(*given, **named)))


def other_sign(loss: Loss) -> Loss:
    return replace(loss, gradient=lambda *given, **named: (lambda v, g: (v, -g))(*closed(loss)(*given, **named)))


def other_value(loss: Loss) -> Loss:
    return replace(loss, gradient=lambda *given, **named: (lambda v, g: (v * 1.01, g))(*closed(loss)(*given, **named)))


def closed(loss: Loss) -> Any:
    assert loss.gradient is not None
    return loss.gradient


@pytest.mark.parametrize("mutant", [also(halved), also(other_sign), other_value], ids=lambda one: one.__name__)
def test_a_wrong_closed_form_shows(mutant: Callable[[Loss], Loss], monkeypatch: pytest.MonkeyPatch) -> None:
    load = catalog.load
    monkeypatch.setattr(catalog, "load", lambda room, name: mutant(load(room, name)))
    with pytest.raises(AssertionError):
        test_a_closed_form_is_the_gradient_of_the_value()
