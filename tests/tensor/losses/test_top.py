"""Losses of a teacher of which the likeliest tokens and the mass of all others are known.

Each is what its formula says (an oracle in numpy), never more than over the whole vocabulary, and the same where all of
it is known. Every rule for the tail that other trainers have and the lock does not name is caught.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from runtime import catalog
from runtime.contract import objective
from runtime.contract.objective import Top
from runtime.steps.train import Term
from runtime.train import promises
from runtime.train.likeliest import likeliest
from runtime.train.objective import bind
from tests.tensor.losses import oracle

VOCAB, TOKENS = 23, 9
NAMES = ("kl", "reverse_kl")


def logits(seed: int, scale: float = 3.0) -> Tensor:
    return torch.randn(TOKENS, VOCAB, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def params(name: str, temperature: float) -> Any:
    return catalog.load("losses", name).params(temperature=temperature)


def top(teacher: Tensor, k: int, temperature: float) -> Top:
    return likeliest(teacher, k, sorted({1.0, temperature}))


def values(name: str, student: Tensor, known: Top, temperature: float) -> tuple[Tensor, Tensor]:
    """(loss_N, gradient_NV) in closed form, as the training path takes them."""
    of = catalog.load("losses", name).top
    target = torch.zeros(TOKENS, dtype=torch.long)
    given = params(name, temperature)
    found: tuple[Tensor, Tensor] = of.gradient(student.clone(), known, target, given)
    torch.testing.assert_close(of.value(student, known, target, given), found[0], rtol=1e-10, atol=1e-12)
    return found


def check(name: str, k: int, temperature: float) -> None:
    """The value is the oracle's, and the gradient its slope at every single logit."""
    student, teacher = logits(1), logits(2)
    loss, gradient = values(name, student, top(teacher, k, temperature), temperature)
    step = 1e-5
    for n in range(TOKENS):
        s, t = student[n].numpy(), teacher[n].numpy()
        assert float(loss[n]) == pytest.approx(oracle.of_top(name, s, t, k, temperature), rel=1e-9, abs=1e-12)
        for v in range(VOCAB):
            moved = np.zeros(VOCAB)
            moved[v] = step
            above, below = (oracle.of_top(name, s + way * moved, t, k, temperature) for way in (1, -1))
            assert float(gradient[n, v]) == pytest.approx((above - below) / (2 * step), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("k", [1, 5, VOCAB - 1])
@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_are_those_of_the_formula(name: str, k: int, temperature: float) -> None:
    check(name, k, temperature)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("name", NAMES)
def test_with_all_tokens_it_is_the_loss_itself(name: str, temperature: float) -> None:
    student, teacher = logits(3), logits(4)
    loss, gradient = values(name, student, top(teacher, VOCAB, temperature), temperature)
    whole = catalog.load("losses", name)
    target = torch.zeros(TOKENS, dtype=torch.long)
    expected = whole.gradient(student, teacher, target, params(name, temperature))
    torch.testing.assert_close(loss, expected[0], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradient, expected[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_lower_bound_that_rises_with_k(name: str) -> None:
    student, teacher = logits(5), logits(6)
    found = [values(name, student, top(teacher, k, 2.0), 2.0)[0] for k in range(1, VOCAB + 1)]
    assert all(bool((less <= more + 1e-12).all()) for less, more in itertools.pairwise(found))
    assert bool((found[0] >= 0).all())


@pytest.mark.parametrize("name", NAMES)
def test_it_is_zero_where_both_agree_and_does_not_see_a_shift(name: str) -> None:
    teacher = logits(7)
    loss, gradient = values(name, teacher + 4.5, top(teacher, 4, 2.0), 2.0)
    torch.testing.assert_close(loss, torch.zeros_like(loss), rtol=0, atol=1e-12)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_sure_student_and_a_sure_teacher_give_finite_numbers_in_float32(name: str) -> None:
    """The mass of the others may be smaller than float32 tells from nothing: it is summed, not subtracted."""
    student, teacher = logits(8, 60.0).float(), logits(9, 60.0).float()
    for temperature in (0.1, 1.0):
        loss, gradient = values(name, student, top(teacher, 2, temperature), temperature)
        assert bool(torch.isfinite(loss).all())
        assert bool(torch.isfinite(gradient).all())


def test_the_label_of_a_sure_teacher_is_among_the_likeliest_and_the_lowest_of_equal_ones() -> None:
    teacher = logits(10).round()
    student, target = logits(11), torch.zeros(TOKENS, dtype=torch.long)
    loss = catalog.load("losses", "ce_teacher")
    for k in (1, 3):
        known = likeliest(teacher, k, [1.0])
        assert torch.equal(known.ids_NK, known.ids_NK.sort(-1).values)
        torch.testing.assert_close(
            loss.top.gradient(student, known, target, loss.params()),
            loss.gradient(student, teacher, target, loss.params()),
        )
    assert likeliest(torch.zeros(2, 5), 2, [1.0]).ids_NK.tolist() == [[0, 1], [0, 1]]


def test_the_mass_of_the_others_is_what_the_likeliest_leave() -> None:
    teacher = logits(12)
    known = likeliest(teacher, 6, [1.0, 2.0])
    torch.testing.assert_close(known.log_NK.exp().sum(-1) + known.rest[1.0].exp(), torch.ones(TOKENS).double())
    for t in (1.0, 2.0):
        inside, rest = known.softened(t)
        torch.testing.assert_close(inside.exp().sum(-1) + rest.exp(), torch.ones(TOKENS).double())
        expected = (teacher / t).log_softmax(-1).gather(-1, known.ids_NK.long())
        torch.testing.assert_close(inside, expected)


# -- rules for the tail that the lock does not name --------------------------------------------------------------------


def drop_the_tail(patch: pytest.MonkeyPatch) -> None:
    """The others add nothing (DistillKit's default): the student may say anything of them."""
    buckets = objective.buckets

    def dropped(student: Tensor, known: Top, temperature: float) -> Any:
        ids, log_q, inside, rest = buckets(student, known, temperature)
        return ids, log_q, inside, known.softened(temperature)[1] + 0 * rest

    patch.setattr(objective, "buckets", dropped)


def renormalise_both(patch: pytest.MonkeyPatch) -> None:
    """Only the likeliest count, made to add up to 1 on both sides (ms-swift, ModelOpt)."""
    buckets, softened = objective.buckets, Top.softened

    def inside(student: Tensor, known: Top, temperature: float) -> Any:
        ids, log_q, log_q_K, rest = buckets(student, known, temperature)
        whole = log_q_K.logsumexp(-1, keepdim=True)
        return ids, log_q - whole, log_q_K - whole, torch.full_like(rest, -torch.inf)

    def alone(self: Top, temperature: float) -> Any:
        log_p, rest = softened(self, temperature)
        return log_p.log_softmax(-1), torch.full_like(rest, -torch.inf)

    patch.setattr(objective, "buckets", inside)
    patch.setattr(Top, "softened", alone)


def renormalise_the_teacher(patch: pytest.MonkeyPatch) -> None:
    """What is stored is taken for all there is (densified zeros, NeMo-RL's cache)."""
    softened = Top.softened

    def alone(self: Top, temperature: float) -> Any:
        log_p, rest = softened(self, temperature)
        return log_p.log_softmax(-1), torch.full_like(rest, -torch.inf)

    patch.setattr(Top, "softened", alone)


def take_the_mass_at_another_temperature(patch: pytest.MonkeyPatch) -> None:
    """The tail's mass at 1 where that at T is meant."""
    softened = Top.softened

    def cold(self: Top, temperature: float) -> Any:
        return softened(Top(self.ids_NK, self.log_NK, {temperature: self.rest[1.0]}), temperature)

    patch.setattr(Top, "softened", cold)


def push_the_tail_evenly(patch: pytest.MonkeyPatch) -> None:
    """The value is right, and the gradient knows nothing of the teacher's tail."""
    for way in ("forward", "reverse"):
        name = f"{way}_of_top_gradient"
        right = getattr(objective, name)

        def wrong(student: Tensor, known: Top, temperature: float, right: Callable[..., Any] = right) -> Any:
            loss, gradient = right(student, known, temperature)
            q = objective.softened(student, temperature).exp() * temperature
            return loss, q.scatter(-1, known.ids_NK.long(), gradient.gather(-1, known.ids_NK.long()))

        for loss in NAMES:
            module = __import__(f"runtime.losses.{loss}", fromlist=["x"])
            if hasattr(module, name):
                patch.setattr(module, name, wrong)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "mutant",
    [
        drop_the_tail,
        renormalise_both,
        renormalise_the_teacher,
        take_the_mass_at_another_temperature,
        push_the_tail_evenly,
    ],
)
def test_another_rule_for_the_tail_is_caught(
    mutant: Callable[[pytest.MonkeyPatch], None], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(name, 5, 2.5)
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        check(name, 5, 2.5)


@pytest.mark.parametrize("width", [2, 40, 1000])
@pytest.mark.parametrize("name", ["kl", "reverse_kl", "ce_teacher"])
def test_what_a_loss_promises_it_keeps_of_the_likeliest_tokens_too(name: str, width: int) -> None:
    """The trial before any training, as `reach` makes it where a store keeps the likeliest tokens."""
    loss = catalog.load("losses", name)
    term = Term(term=name, version=loss.version, weight=1.0, semantics=dict(loss.top.semantics))
    for given in [{"temperature": value} for value in (0.05, 1.0, 100.0)] if name in NAMES else [{}]:
        (bound,) = bind([term.model_copy(update={"params": given})], of_top=True)
        findings = promises.tried(bound, width)
        assert [one for one in findings if not one.passed] == [], given
        assert ("agreement" in [one.check for one in findings]) == loss.divergence


def test_the_trial_finds_a_wrong_gradient_of_the_likeliest_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    push_the_tail_evenly(monkeypatch)
    loss = catalog.load("losses", "kl")
    (bound,) = bind([Term(term="kl", version=loss.version, weight=1.0)], of_top=True)
    assert "derivative" in [one.check for one in promises.tried(bound, 40) if not one.passed]
