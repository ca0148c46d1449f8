"""The divergences between forward and reverse KL, on logits, and of drafts: each is what its definition says.

The definition is that of `oracle`, in float64 and one token at a time. Values and slopes agree with it over the whole
vocabulary and over a teacher's likeliest tokens; every way to get one of them wrong that is known is caught.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from runtime import catalog
from runtime.contract import objective, outcomes
from runtime.losses import acceptance, jsd, mse, skew_kl, skew_reverse_kl, top_k_kl, tvd
from runtime.train.likeliest import likeliest
from tests.tensor.losses import oracle
from tests.tensor.losses.oracle import SOFT

VOCAB, TOKENS, T = 19, 6, 2.5
#: a loss, how its parameter is called, and what it is given
CASES: list[tuple[str, str, float]] = [
    *(("jsd", "beta", beta) for beta in (0.0, 1e-4, 0.3, 0.5, 1 - 1e-4, 1.0)),
    *((name, "alpha", alpha) for name in ("skew_kl", "skew_reverse_kl") for alpha in (1e-3, 0.1, 0.6)),
    ("acceptance", "", 0.0),
    ("tvd", "", 0.0),
]
IDS = [f"{name}-{given:g}" for name, _, given in CASES]
TARGET = torch.zeros(TOKENS, dtype=torch.long)
Case = tuple[str, str, float]


def logits(seed: int, scale: float = 3.0) -> Tensor:
    return torch.randn(TOKENS, VOCAB, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def params(case: Case, temperature: float = T) -> Any:
    name, key, given = case
    return catalog.load("losses", name).params(
        **({key: given} if key else {}), **({"temperature": temperature} if name in SOFT else {})
    )


def whole(case: Case, student: Tensor, teacher: Tensor, temperature: float = T) -> tuple[Tensor, Tensor]:
    """(loss_N, gradient_NV), where the value alone says the same."""
    loss, given = catalog.load("losses", case[0]), params(case, temperature)
    found: tuple[Tensor, Tensor] = loss.gradient(student.clone(), teacher.clone(), TARGET, given)
    torch.testing.assert_close(loss.value(student, teacher, TARGET, given), found[0], rtol=1e-6, atol=1e-12)
    return found


def topped(case: Case, student: Tensor, teacher: Tensor, k: int, temperature: float = T) -> tuple[Tensor, Tensor]:
    loss, given = catalog.load("losses", case[0]), params(case, temperature)
    known = likeliest(teacher, k, sorted({1.0, temperature}))
    found: tuple[Tensor, Tensor] = loss.top.gradient(student.clone(), known, TARGET, given)
    torch.testing.assert_close(loss.top.value(student, known, TARGET, given), found[0], rtol=1e-6, atol=1e-12)
    return found


def sloped(gradient: Tensor, student: Tensor, of: Callable[[int, Any], float]) -> None:
    """A gradient is the slope of `of(n, logits_V)` at every single logit."""
    step = 1e-5
    for n, v in itertools.product(range(TOKENS), range(VOCAB)):
        moved = np.zeros(VOCAB)
        moved[v] = step
        above, below = (of(n, student[n].numpy() + way * moved) for way in (1, -1))
        assert float(gradient[n, v]) == pytest.approx((above - below) / (2 * step), rel=1e-5, abs=2e-7), (n, v)


def check(case: Case) -> None:
    """Value to 1e-12 and slope, over all tokens."""
    student, teacher = logits(1), logits(2)
    loss, gradient = whole(case, student, teacher)

    def of(n: int, student_V: Any) -> float:
        return oracle.of_two(case[0], student_V, teacher[n].numpy(), case[2], T)

    for n in range(TOKENS):
        # of the oracle itself, next to the ends, digits are lost in the division by beta (1 - beta)
        near = 1e-12 if case[2] in (0.0, 1.0) or 0.01 < case[2] < 0.99 else 1e-9
        assert float(loss[n]) == pytest.approx(of(n, student[n].numpy()), rel=near, abs=1e-14)
    if case[2] not in (1e-4, 1 - 1e-4):
        sloped(gradient, student, of)


def check_top(case: Case, k: int = 4) -> None:
    """The same of a teacher of which k tokens are known; a part of the students is surer of them than the teacher."""
    student, teacher = logits(3), logits(4)
    student[::2] = 0.2 * student[::2] + 2 * teacher[::2]
    loss, gradient = topped(case, student, teacher, k)

    def of(n: int, student_V: Any) -> float:
        return oracle.of_two_in_buckets(case[0], student_V, teacher[n].numpy(), k, case[2], T)

    for n in range(TOKENS):
        assert float(loss[n]) == pytest.approx(of(n, student[n].numpy()), rel=1e-9, abs=1e-12)
    if case[2] not in (1e-4, 1 - 1e-4):
        sloped(gradient, student, of)


def check_mse() -> None:
    student, teacher = logits(1), logits(2)
    loss = catalog.load("losses", "mse")
    found, gradient = loss.gradient(student, teacher + 7.0, TARGET, loss.params())
    for n in range(TOKENS):
        assert float(found[n]) == pytest.approx(oracle.mse(student[n].numpy(), teacher[n].numpy(), 0, 1.0), rel=1e-12)
    sloped(gradient, student, lambda n, student_V: oracle.mse(student_V, teacher[n].numpy(), 0, 1.0))


def check_tail(tail: str, k: int = 4) -> None:
    """`top_k_kl` of all logits, and of more likeliest tokens than it reads."""
    student, teacher = logits(5), logits(6)
    loss = catalog.load("losses", "top_k_kl")
    given = loss.params(k=k, tail=tail, temperature=T)
    found, gradient = loss.gradient(student, teacher, TARGET, given)

    def of(n: int, student_V: Any) -> float:
        return oracle.top_k_kl(student_V, teacher[n].numpy(), k, tail, T)

    for n in range(TOKENS):
        assert float(found[n]) == pytest.approx(of(n, student[n].numpy()), rel=1e-12)
    sloped(gradient, student, of)
    for known in (likeliest(teacher, k, [1.0, T]), likeliest(teacher, k + 5, [1.0, T])):
        torch.testing.assert_close(loss.top.gradient(student, known, TARGET, given), (found, gradient))
        torch.testing.assert_close(loss.top.value(student, known, TARGET, given), found)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_value_and_gradient_are_those_of_the_definition(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_of_the_likeliest_tokens_it_is_the_same_over_one_outcome_more(case: Case) -> None:
    check_top(case)


def test_mse_is_that_of_logits_without_their_mean() -> None:
    check_mse()


@pytest.mark.parametrize("tail", ["bucket", "renormalise"])
def test_top_k_kl_follows_its_rule_for_the_tail(tail: str) -> None:
    check_tail(tail)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_float32_is_within_a_millionth(case: Case) -> None:
    """Relative to the larger of 1 and the number, next to the ends of `jsd` as well."""
    student, teacher = logits(7).float(), logits(8).float()
    narrow, wide = whole(case, student, teacher), whole(case, student.double(), teacher.double())
    for less, more in zip(narrow, wide, strict=True):
        apart = (less.double() - more).abs() / more.abs().clamp(min=1.0)
        assert float(apart.max()) <= 1e-6 * T**2


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_with_all_tokens_known_it_is_the_loss_itself_and_a_bound_that_rises(case: Case) -> None:
    student, teacher = logits(9), logits(10)
    loss, gradient = whole(case, student, teacher)
    found = [topped(case, student, teacher, k)[0] for k in (1, 3, 8, VOCAB - 1, VOCAB)]
    assert all(bool((less <= more + 1e-9).all()) for less, more in itertools.pairwise(found))
    torch.testing.assert_close(found[-1], loss, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(topped(case, student, teacher, VOCAB)[1], gradient, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_it_is_zero_where_both_agree_positive_elsewhere_and_blind_to_a_shift(case: Case) -> None:
    teacher = logits(11)
    for loss, gradient in (whole(case, teacher, teacher), topped(case, teacher, teacher, 4)):
        torch.testing.assert_close(loss, torch.zeros_like(loss), rtol=0, atol=1e-12)
        # a distance has a kink there, and rounding alone says on which side of it one stands
        if case[0] not in ("acceptance", "tvd"):
            torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-12)
    student = logits(12)
    loss, _ = whole(case, student, teacher)
    assert bool((loss > 1e-6).all())
    torch.testing.assert_close(whole(case, student + 5.0, teacher - 3.0)[0], loss, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_sure_models_and_excluded_tokens_give_finite_numbers_in_float32(case: Case) -> None:
    """± 60 nats, and a teacher that excludes tokens (reverse KL alone, at beta 1, is infinite there)."""
    student, teacher = logits(13, 60.0).float(), logits(14, 60.0).float()
    masked = teacher.clone()
    masked[:, ::3] = float("-inf")
    for taught in [teacher] if case[2] == 1.0 else [teacher, masked]:
        for loss, gradient in (whole(case, student, taught, 1.0), topped(case, student, taught, 2, 1.0)):
            assert bool(torch.isfinite(loss).all())
            assert bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize("end", [0.0, 1.0])
def test_jsd_is_continuous_at_both_ends_where_trls_is_not(end: float) -> None:
    """TRL's generalised JSD at beta 1e-4 is a ten-thousandth of what it is at beta 0; see test_trl_parity."""
    student, teacher = logits(15), logits(16)
    at, gradient = whole(("jsd", "beta", end), student, teacher)
    for near, apart in ((1e-3, 2e-2), (1e-5, 2e-4), (1e-7, 2e-6)):
        loss, slope = whole(("jsd", "beta", abs(end - near)), student, teacher)
        torch.testing.assert_close(loss, at, rtol=apart, atol=0)
        assert float((slope - gradient).norm() / gradient.norm()) < 10 * apart
    name = "kl" if end == 0.0 else "reverse_kl"
    of = catalog.load("losses", name)
    torch.testing.assert_close((at, gradient), of.gradient(student, teacher, TARGET, of.params(temperature=T)))


@pytest.mark.parametrize("name", ["skew_kl", "skew_reverse_kl"])
def test_a_skew_divergence_is_bounded_by_its_alpha(name: str) -> None:
    student, teacher = logits(17, 60.0), logits(18, 60.0)
    for alpha in (0.01, 0.1, 0.5):
        loss, _ = whole((name, "alpha", alpha), student, teacher, 1.0)
        assert float(loss.max()) <= -np.log(alpha) + 1e-12
    assert float(whole((name, "alpha", 0.1), student, teacher, 1.0)[0].max()) > 2.0, "nothing reaches for the bound"


def test_mse_is_twice_what_kl_comes_to_at_a_high_temperature() -> None:
    """Hinton, Vinyals and Dean (arXiv 1503.02531), 2.1, there for logits without a mean."""
    student, teacher = logits(21), logits(22)
    loss, kl = catalog.load("losses", "mse"), catalog.load("losses", "kl")
    found = loss.value(student, teacher, TARGET, loss.params())
    apart = [
        float(
            (2 * kl.value(student / s, teacher / s, TARGET, kl.params(temperature=100.0)) * s**2 / found - 1)
            .abs()
            .max()
        )
        for s in (1.0, 10.0)
    ]
    assert apart[1] < apart[0] < 0.1
    assert apart[1] < 0.01


def test_acceptance_of_a_sure_teacher_is_cross_entropy_and_its_exponential_is_one_minus_the_distance() -> None:
    """The limits that arXiv 2602.23881 and vllm-project/speculators state."""
    student, teacher = logits(19), logits(20)
    loss, slope = whole(("acceptance", "", 0.0), student, teacher)
    distance, to = whole(("tvd", "", 0.0), student, teacher)
    torch.testing.assert_close((-loss).exp(), 1 - distance)
    torch.testing.assert_close(slope, to / (1 - distance).unsqueeze(-1))
    sure = torch.full_like(teacher, float("-inf")).scatter(-1, TARGET.unsqueeze(-1) + 3, 0.0)
    torch.testing.assert_close(
        whole(("acceptance", "", 0.0), student, sure)[0], -student.log_softmax(-1)[:, 3], rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("name", ["mse", "acceptance", "tvd"])
def test_a_distance_has_no_direction(name: str) -> None:
    """Teacher and student may change places in it, so that no mutant of that kind is asked for below."""
    loss = catalog.load("losses", name)
    student, teacher = logits(23), logits(24)
    there, back = (
        loss.value(one, other, TARGET, loss.params()) for one, other in ((student, teacher), (teacher, student))
    )
    torch.testing.assert_close(there, back, rtol=1e-12, atol=0)


# -- every way to get one of them wrong --------------------------------------------------------------------------------

Patch = pytest.MonkeyPatch


def _swapped(module: ModuleType) -> Callable[[Patch], None]:
    """Teacher and student have changed places."""

    def mutant(patch: Patch) -> None:
        between = module._between

        def other(given: float) -> Any:
            def found(log_p: Tensor, log_q: Tensor) -> tuple[Tensor, Tensor]:
                return between(given)(log_q, log_p)[0], between(given)(log_p, log_q)[1]

            return found

        patch.setattr(module, "_between", other)

    return mutant


def _other_share(module: ModuleType) -> Callable[[Patch], None]:
    """The mixture has the shares the other way round."""

    def mutant(patch: Patch) -> None:
        between = module._between
        patch.setattr(module, "_between", lambda given: between(1.0 - given))

    return mutant


def _without_temperature_squared(patch: Patch) -> None:
    for name in ("value", "gradient", "of_top", "of_top_gradient"):
        right = getattr(outcomes, name)

        def wrong(between: Any, student: Tensor, teacher: Any, t: float, right: Any = right) -> Any:
            found = right(between, student, teacher, t)
            return tuple(one / t**2 for one in found) if isinstance(found, tuple) else found / t**2

        patch.setattr(outcomes, name, wrong)


def _half_the_gradient(patch: Patch) -> None:
    for name in ("gradient", "of_top_gradient"):
        right = getattr(outcomes, name)
        patch.setattr(outcomes, name, lambda *given, right=right: (right(*given)[0], right(*given)[1] / T**2))


def _tail_left_out(patch: Patch) -> None:
    """The others add nothing: the student may say anything of them."""
    of_top_gradient = outcomes.of_top_gradient

    def wrong(between: Any, student: Tensor, top: Any, t: float) -> Any:
        def alone(log_p: Tensor, log_q: Tensor) -> tuple[Tensor, Tensor]:
            found = between(log_p, log_q)
            return found if log_p.ndim == 2 else (0 * found[0], 0 * found[1])

        return of_top_gradient(alone, student, top, t)

    patch.setattr(outcomes, "of_top_gradient", wrong)


def _as_trl_scales(patch: Patch) -> None:
    """Without the division by beta (1 - beta)."""
    between = jsd._between

    def scaled(beta: float) -> Any:
        return lambda p, q: tuple(one * beta * (1 - beta) for one in between(beta)(p, q))

    patch.setattr(jsd, "_between", scaled)


def _more(patch: Patch) -> None:
    """The larger of the two in the place of the smaller."""
    patch.setattr(acceptance, "_less", lambda p, q: q.where(q > p, p))


def _both_ways(patch: Patch) -> None:
    """|p - q| in the place of half of it."""
    patch.setattr(tvd, "_between", lambda p, q: ((p.exp() - q.exp()).abs(), (q - p).sign()))


def _with_its_mean(patch: Patch) -> None:
    patch.setattr(mse, "_apart", lambda student, teacher: student - teacher)


def _renormalised_teacher_alone(patch: Patch) -> None:
    right = top_k_kl._renormalised

    def wrong(student: Tensor, top: Any, t: float) -> Any:
        ids, p, _ = right(student, top, t)
        return ids, p, (student / t).log_softmax(-1).gather(-1, ids)

    patch.setattr(top_k_kl, "_renormalised", wrong)


def _left_out_is_lost(patch: Patch) -> None:
    """Of more tokens than are read, the others do not go to the bucket."""
    fewer = top_k_kl._fewer

    def wrong(top: Any, params: Any) -> Any:
        found = fewer(top, params)
        return type(found)(found.ids_NK, found.log_NK, top.rest)

    patch.setattr(top_k_kl, "_fewer", wrong)


def _top_k_swapped(patch: Patch) -> None:
    patch.setattr(top_k_kl, "forward_of_top_gradient", objective.reverse_of_top_gradient)


def _top_k_without_temperature_squared(patch: Patch) -> None:
    right = top_k_kl.forward_of_top_gradient
    patch.setattr(top_k_kl, "forward_of_top_gradient", lambda *given: tuple(one / T**2 for one in right(*given)))


J, F, R = ("jsd", "beta", 0.3), ("skew_kl", "alpha", 0.1), ("skew_reverse_kl", "alpha", 0.1)
A, D = ("acceptance", "", 0.0), ("tvd", "", 0.0)
CAUGHT_BY: list[tuple[str, Callable[[Patch], None], Callable[[], None]]] = [
    *(
        (f"{case[0]}-swapped", _swapped(module), lambda case=case: check(case))
        for module, case in ((jsd, J), (skew_kl, F), (skew_reverse_kl, R))
    ),
    *(
        (f"{case[0]}-other-share", _other_share(module), lambda case=case: check(case))
        for module, case in ((jsd, J), (skew_kl, F), (skew_reverse_kl, R))
    ),
    *(
        (f"{case[0]}-{mutant.__name__.strip('_')}", mutant, lambda case=case: check(case))
        for case in (J, F, R)
        for mutant in (_without_temperature_squared, _half_the_gradient)
    ),
    *((f"{case[0]}-tail-left-out", _tail_left_out, lambda case=case: check_top(case)) for case in (J, F, R, D)),
    ("jsd-as-trl-scales", _as_trl_scales, lambda: check(J)),
    ("acceptance-more", _more, lambda: check(A)),
    ("acceptance-more-of-top", _more, lambda: check_top(A)),
    ("tvd-both-ways", _both_ways, lambda: check(D)),
    ("mse-with-its-mean", _with_its_mean, check_mse),
    ("top_k_kl-renormalised-teacher-alone", _renormalised_teacher_alone, lambda: check_tail("renormalise")),
    ("top_k_kl-swapped", _top_k_swapped, lambda: check_tail("bucket")),
    ("top_k_kl-without-t-squared", _top_k_without_temperature_squared, lambda: check_tail("bucket")),
    ("top_k_kl-left-out-is-lost", _left_out_is_lost, lambda: check_tail("bucket")),
]


@pytest.mark.parametrize(("mutant", "caught"), [one[1:] for one in CAUGHT_BY], ids=[one[0] for one in CAUGHT_BY])
def test_mutant_is_caught(
    mutant: Callable[[Patch], None], caught: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        caught()
