"""choice_kl and sequence_kd on the path that trains, against plain float64 arithmetic; each way of being wrong shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from runtime import catalog
from runtime.contract import Refusal
from runtime.contract.record import Answer
from runtime.data.encode import Example
from runtime.steps.train import Term
from runtime.train import objective
from runtime.train.batches import Corpus
from runtime.train.objective import Bound, Choices, Side
from tests.tensor.losses.terms import values

TEMPERATURE = 2.0
IDS = [[3, 7, 1, 9], [0, 2, 5, -1], [8, 4, -1, -1]]
LOGS = [[-0.1, -3.0, -4.0, -5.0], [-1.2, -0.7, -2.0, 0.0], [-0.5, -0.9, 0.0, 0.0]]


def bound(name: str = "choice_kl") -> Bound:
    loss = catalog.load("losses", name)
    params = {"temperature": TEMPERATURE} if "temperature" in loss.params.model_fields else {}
    return objective.bind([Term(term=name, version=loss.version, weight=1.0, params=params)])[0]


def student(seed: int = 3) -> Side:
    generator = torch.Generator().manual_seed(seed)
    head = nn.Linear(5, 12, bias=False).double()
    with torch.no_grad():
        head.weight.copy_(torch.randn(12, 5, generator=generator, dtype=torch.float64) * 2)
    return Side(torch.randn(3, 5, generator=generator, dtype=torch.float64, requires_grad=True), head)


def choices() -> Choices:
    return Choices(torch.tensor(IDS), torch.tensor(LOGS, dtype=torch.float64))


def path(term: Bound, side: Side, chunk: int = 2) -> Tensor:
    masks = {term.loss.mask: torch.ones(3, dtype=torch.bool)}
    target = torch.tensor([3, 2, 4])
    return values(side, None, target, masks, [term], objective.totals(masks), chunk, choices())[0]


def truth(side: Side) -> float:
    """Σ over rows of T² · KL over that row's own choices, divided by the rows; one number at a time."""
    logits_NV = side.head(side.hidden_NH).detach().numpy()
    total = 0.0
    for row, (ids, logs) in enumerate(zip(IDS, LOGS, strict=True)):
        real = [(i, log) for i, log in zip(ids, logs, strict=True) if i >= 0]
        p = np.exp([log / TEMPERATURE for _, log in real])
        q = np.exp([logits_NV[row, i] / TEMPERATURE for i, _ in real])
        p, q = p / p.sum(), q / q.sum()
        total += TEMPERATURE**2 * float((p * np.log(p / q)).sum())
    return total / len(IDS)


def check_value() -> None:
    side = student()
    assert float(path(bound(), side).detach()) == pytest.approx(truth(side), rel=1e-12)


def test_the_path_computes_the_formula() -> None:
    check_value()


def test_its_gradient_is_that_of_the_formula() -> None:
    side = student()
    (gradient,) = torch.autograd.grad(path(bound(), side), side.hidden_NH)
    moved = torch.zeros_like(side.hidden_NH)
    for place in [(0, 0), (1, 3), (2, 4)]:
        moved.zero_()
        moved[place] = 1e-6
        up = truth(Side((side.hidden_NH + moved).detach(), side.head))
        down = truth(Side((side.hidden_NH - moved).detach(), side.head))
        assert float(gradient[place]) == pytest.approx((up - down) / 2e-6, rel=1e-5, abs=1e-9)


def test_what_is_no_choice_has_no_influence() -> None:
    side = student()
    before = float(path(bound(), side).detach())
    untouched = sorted(set(range(12)) - {i for ids in IDS for i in ids})
    with torch.no_grad():
        side.head.weight[untouched] += 5.0
    assert float(path(bound(), side).detach()) == pytest.approx(before, rel=1e-12)


def changed(value: Callable[..., Any]) -> Bound:
    term = bound()
    return replace(term, loss=replace(term.loss, gradient=None, value=value))


def swapped(student_NV: Tensor, teacher_NV: Tensor, _target: Any, params: Any) -> Tensor:
    other = teacher_NV.isinf()
    q = (student_NV / params.temperature).masked_fill(other, -torch.inf).log_softmax(-1)
    p = (teacher_NV / params.temperature).log_softmax(-1)
    return (q.exp() * (q - p).masked_fill(other, 0)).sum(-1) * params.temperature**2


def not_renormalised(student_NV: Tensor, teacher_NV: Tensor, _target: Any, params: Any) -> Tensor:
    """The student's probabilities over the whole vocabulary: it is then paid for silence, too."""
    q = (student_NV / params.temperature).log_softmax(-1)
    p = (teacher_NV / params.temperature).log_softmax(-1)
    return (p.exp() * (p - q).masked_fill(teacher_NV.isinf(), 0)).sum(-1) * params.temperature**2


def without_square(student_NV: Tensor, teacher_NV: Tensor, target: Any, params: Any) -> Tensor:
    return bound().loss.value(student_NV, teacher_NV, target, params) / params.temperature**2


def hardened(student_NV: Tensor, teacher_NV: Tensor, _target: Any, params: Any) -> Tensor:
    """Only the teacher's favourite counts: what it thinks of the others is thrown away."""
    other = teacher_NV.isinf()
    q = (student_NV / params.temperature).masked_fill(other, -torch.inf).log_softmax(-1)
    return -q.gather(-1, teacher_NV.argmax(-1, keepdim=True)).squeeze(-1) * params.temperature**2


@pytest.mark.parametrize("wrong", [swapped, not_renormalised, without_square, hardened], ids=lambda one: one.__name__)
def test_each_way_of_being_wrong_shows(wrong: Callable[..., Any]) -> None:
    side = student()
    assert float(path(changed(wrong), side).detach()) != pytest.approx(truth(side), rel=1e-3)


def test_choices_stand_at_the_tokens_of_their_mask() -> None:
    """The corpus lays a row's choices at its `choice` token and nowhere else."""
    rows = [
        Example([5, 6, 7, 2], {"choice": [False, False, True, False], "response": [False, False, True, True]}),
        Example([5, 8, 2], {"choice": [False, True, False], "response": [False, True, True]}),
    ]
    corpus = Corpus(["a", "b"], rows, 8, 0, [{7: -0.1, 9: -2.0}, {8: -0.3, 4: -0.4, 6: -3.0}])
    batch = corpus.batch([0, 1])
    assert batch.choices_NM is not None
    ids_NM, log_NM = batch.choices_NM
    at = batch.masks_N["choice"]
    assert ids_NM[at].tolist() == [[7, 9, -1], [8, 4, 6]]
    assert log_NM[at].tolist() == pytest.approx(np.array([[-0.1, -2.0, 0.0], [-0.3, -0.4, -3.0]]))
    assert bool((ids_NM[~at] == -1).all())


def test_without_the_answers_the_term_is_refused() -> None:
    side = student()
    masks = {"choice": torch.ones(3, dtype=torch.bool)}
    with pytest.raises(Refusal, match="choices"):
        values(side, None, torch.tensor([3, 2, 4]), masks, [bound()], objective.totals(masks), 4)


def test_sequence_kd_is_the_cross_entropy_of_the_answer() -> None:
    side = student()
    masks = {"response": torch.ones(3, dtype=torch.bool)}
    target = torch.tensor([3, 2, 4])
    (value,) = values(side, None, target, masks, [bound("sequence_kd")], objective.totals(masks), 2)
    logits = side.head(side.hidden_NH).detach().numpy()
    logs = [logits[i, t] - np.log(np.exp(logits[i]).sum()) for i, t in enumerate([3, 2, 4])]
    assert value.item() == pytest.approx(-np.mean(logs), rel=1e-12)


@pytest.mark.parametrize(
    ("answer", "signals", "fault"),
    [
        (Answer("x"), ["text"], ""),
        (Answer("  "), ["text"], "empty"),
        (Answer("x", truncated=True), ["text"], "truncated"),
        (Answer("x"), ["choices"], "without_choices"),
        (Answer("x", {"A": -0.1}), ["choices"], "without_choices"),
        (Answer("", {"A": -0.1, "B": -2.0}), ["choices"], ""),
    ],
)
def test_what_makes_an_answer_unusable(answer: Answer, signals: list[str], fault: str) -> None:
    assert answer.fault(signals) == fault
