"""A loss and its parameters → whether it keeps what it promises, on made-up logits in float64: no model, no rows.

A loss that is wrong trains without a word: its value falls, and its gradient is that of something else
(axolotl #3660: a term without a gradient; a T² that is printed and never reaches it; a vocabulary filled up with zeros
that changes under a shift). What a loss promises stands in its `LOSS`; each promise is tried here.

Letters: N tokens, V vocabulary, M choices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from runtime.contract import Refusal
from runtime.contract.conditions import FACTS
from runtime.contract.layers import ATTENTION
from runtime.contract.objective import Top
from runtime.train import objective, onepass
from runtime.train.likeliest import likeliest
from runtime.train.objective import Bound, Choices

#: tokens that a loss is tried on, choices of each, and the likeliest that are known where not all are
TOKENS, CHOICES, LIKELIEST = 4, 4, 4
#: heads and keys of the attention maps that a loss over these is tried on
HEADS, KEYS = 3, 5
#: spread of the logits, and of those that are large: a real model's reach ± 60
SPREAD, LARGE = 3.0, 60.0
#: what a head of its own says: no or yes
ANSWERS = 2
#: layers of both models whose pairs are asked for
DEEP = 4
#: a made-up number of a row that is far from 0
FAR = 64.0
#: what is added to all logits
SHIFT = 7.5
#: two temperatures far above the logits, and what the gradient may change between them
HOT, WARMER, FADES = 50.0, 100.0, 0.1
#: step of the numeric derivative, relative difference that its error explains, and what counts as zero in float64
STEP, NEAR, ZERO, ROUNDING = 1e-5, 1e-4, 1e-9, 1e-6

#: check → what a loss is that does not pass it, and what to do
WHY: Mapping[str, tuple[str, str]] = {
    "settings": (
        "never reads a parameter that it is given",
        "remove the setting, or make the loss use it: a parameter without effect is not accepted",
    ),
    "inputs": (
        "writes into the logits or targets it is given, which other terms read as well",
        "let it work on copies: no method that ends with an underscore on what comes in",
    ),
    "finite": (
        f"has a value or gradient that is not finite for logits of ± {LARGE:g}",
        "compute with log_softmax instead of the logarithm of a softmax, and look at its temperature",
    ),
    "gradient": (
        "has a gradient of exactly zero: it would train nothing",
        "let its value depend on the student's logits: no detach, argmax or constant in the way",
    ),
    "value": (
        "says one value with its gradient and another without",
        "let `gradient` return what `value` returns",
    ),
    "derivative": (
        "has a gradient that is not the derivative of its value",
        "correct `gradient`, or leave it out and let it be derived; a loss that holds a part constant on purpose says "
        "`derivative=False` in its LOSS",
    ),
    "agreement": (
        "calls itself a divergence and is not zero, with zero gradient, where student and teacher agree",
        "correct it, or leave out `divergence=True`",
    ),
    "positive": (
        "calls itself a divergence and is negative",
        "look for a turned sign or turned sides, or leave out `divergence=True`",
    ),
    "shift": (
        "changes when a constant is added to all logits of a token, which changes no distribution",
        "correct it; a loss on logits themselves says `shift_invariant=False` in its LOSS",
    ),
    "temperature": (
        "says `temperature_squared` and its gradient fades as the temperature grows",
        "multiply value and gradient by the square of the temperature, or say `temperature_squared: False`",
    ),
    "reaches": (
        "does not reach every parameter of the student",
        "look for a detach between its logits and the weights, or for weights that nothing reads",
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One promise: the number that decided, whether it is kept, and more words where there are any."""

    check: str
    value: float
    passed: bool
    more: str = ""


@dataclass(frozen=True, slots=True)
class _Case:
    """What a loss is given."""

    student_NV: Tensor
    teacher_NV: Tensor | Top | None
    target_N: Tensor
    facts_N: Mapping[str, Tensor] = field(default_factory=dict)


def _cold(bound: Bound) -> float:
    """Factor of the logits at a temperature below 1, so that no softmax is all at one entry, where little is left to
    compare."""
    return min(1.0, float(getattr(bound.params, "temperature", 1.0)))


def _case(bound: Bound, width: int, spread: float, dtype: torch.dtype) -> _Case:
    made = torch.Generator().manual_seed(12)
    maps = bound.loss.layers is not None and bound.loss.layers.signal == ATTENTION
    width = ANSWERS if bound.loss.head else width
    shape = (TOKENS, HEADS, KEYS) if maps else (TOKENS, width)

    def logits() -> Tensor:
        drawn = torch.randn(*shape, generator=made, dtype=torch.float64)
        # far from 0, where a numeric derivative ends
        return ((drawn * (spread / SPREAD)).softmax(-1) if maps else drawn * spread).to(dtype)

    student_NV, teacher_NV = logits(), logits()
    target_N = torch.randint(width, (TOKENS,), generator=made)
    return _Case(student_NV, read_of(bound, teacher_NV), target_N, facts_of(bound, TOKENS, width))


def facts_of(bound: Bound, tokens: int, width: int) -> dict[str, Tensor]:
    """Made-up facts of rows: flags of both kinds, numbers at both ends, ids of all sorts."""
    made = torch.Generator().manual_seed(13)
    found: dict[str, Tensor] = {}
    for name in bound.facts:
        if FACTS[name].kind == "id":
            found[name] = torch.randint(width, (tokens,), generator=made)
        else:
            found[name] = torch.arange(tokens) % 2 * (1.0 if FACTS[name].kind == "flag" else FAR)
    return found


def read_of(bound: Bound, teacher_NV: Tensor) -> Tensor | Top | None:
    """What the loss reads of a teacher with these logits."""
    if bound.needs_logits and bound.of_top:
        return likeliest(teacher_NV, min(LIKELIEST, teacher_NV.shape[-1]), bound.temperatures)
    if bound.needs_choices:
        width = teacher_NV.shape[-1]
        ids_NM = torch.arange(min(CHOICES, width)).mul(max(1, width // CHOICES)).expand(len(teacher_NV), -1)
        log_NV = teacher_NV.log_softmax(-1)
        return Choices(ids_NM, log_NV.gather(-1, ids_NM)).dense(width)
    return teacher_NV if bound.needs_logits or bound.loss.layers is not None else None


def _called(bound: Bound, call: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Raises Refusal, which names the loss, for whatever goes wrong in it."""
    try:
        return call()
    except Refusal:
        raise
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else "no message"
        raise Refusal(
            f"loss `{bound.name}` ends with {type(error).__name__}: {first[:160]}",
            place=f"loss {bound.name}",
            action="correct the loss: it is given student_NV, teacher_NV (or None), target_N and its params",
            code="KR0128",
        ) from error


def _value(bound: Bound, case: _Case) -> Tensor:
    """loss_N without gradient."""

    def call() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            value, _ = bound.reads(case.teacher_NV, case.facts_N)
            found = value(case.student_NV, case.teacher_NV, case.target_N, bound.params)
        objective.check_shape(bound, found, case.target_N)
        return found, found

    return _called(bound, call)[0]


def _both(bound: Bound, case: _Case) -> tuple[Tensor, Tensor]:
    """loss_N and gradient_NV as training gets them; a value that does not depend on the logits has gradient zero."""

    def call() -> tuple[Tensor, Tensor]:
        value, gradient = bound.reads(case.teacher_NV, case.facts_N)
        if gradient is None:
            leaf_NV = case.student_NV.detach().requires_grad_()
            found = value(leaf_NV, case.teacher_NV, case.target_N, bound.params)
            objective.check_shape(bound, found, case.target_N)
            given_NV = None
            if found.requires_grad:
                (given_NV,) = torch.autograd.grad(found.sum(), leaf_NV, allow_unused=True)
            return found.detach(), torch.zeros_like(leaf_NV) if given_NV is None else given_NV
        return onepass.both(bound, case.student_NV, case.teacher_NV, case.target_N, case.facts_N)

    loss_N, gradient_NV = _called(bound, call)
    if gradient_NV.shape != case.student_NV.shape:
        raise Refusal(
            f"loss `{bound.name}` returns a gradient of shape {tuple(gradient_NV.shape)} for logits of "
            f"{tuple(case.student_NV.shape)}",
            place=f"loss {bound.name}",
            action="return the gradient with respect to the student's logits, one number for each",
            code="KR0128",
        )
    return loss_N, gradient_NV


def _apart(one: Tensor, other: Tensor) -> float:
    """Largest difference, relative to the larger of 1 and what is compared; infinite where either is not finite."""
    found = float((one - other).abs().max() / other.abs().max().clamp(min=1.0))
    return found if math.isfinite(found) else math.inf


def _untouched(bound: Bound, case: _Case) -> Finding:
    taught = case.teacher_NV
    read = [taught.ids_NK, taught.log_NK, *taught.rest.values()] if isinstance(taught, Top) else [taught]
    tensors = [one for one in (case.student_NV, *read, case.target_N, *case.facts_N.values()) if one is not None]
    before = [one.clone() for one in tensors]
    _value(bound, case)
    _both(bound, case)
    changed = sum(int((one != was).sum()) for one, was in zip(tensors, before, strict=True))
    return Finding("inputs", float(changed), changed == 0, f"{changed} numbers changed")


def _numeric(bound: Bound, case: _Case, gradient_NV: Tensor) -> float:
    """How far the gradient is from the central difference along two random directions, relative to its own size."""
    made, worst = torch.Generator().manual_seed(5), 0.0
    # below this, the difference of two values is their rounding
    least = ROUNDING * max(1.0, float(_value(bound, case).sum().abs()))
    for _ in range(2):
        direction_NV = torch.randn(case.student_NV.shape, generator=made, dtype=torch.float64) * _cold(bound)
        ahead, behind = (
            float(_value(bound, replace(case, student_NV=case.student_NV + step * direction_NV)).sum())
            for step in (STEP, -STEP)
        )
        numeric, given = (ahead - behind) / (2 * STEP), float((gradient_NV * direction_NV).sum())
        apart = abs(numeric - given) / max(float((gradient_NV * direction_NV).norm()), abs(numeric), least)
        worst = max(worst, apart if math.isfinite(apart) else math.inf)
    return worst


def _shifted(bound: Bound, case: _Case, loss_N: Tensor) -> float:
    """How far the value moves when a constant is added to the student's logits, and to the teacher's."""
    moved = [replace(case, student_NV=case.student_NV + SHIFT)]
    if bound.needs_logits and isinstance(case.teacher_NV, Tensor):
        moved.append(replace(case, teacher_NV=case.teacher_NV - SHIFT))
    return max(_apart(_value(bound, one), loss_N) for one in moved)


def _agreeing(bound: Bound, case: _Case) -> float:
    """Value and gradient where the teacher says what the student says; the larger of the two."""
    same = replace(case, teacher_NV=read_of(bound, case.student_NV))
    loss_N, gradient_NV = _both(bound, same)
    found = max(float(loss_N.abs().max()), float(gradient_NV.abs().max()))
    return found if math.isfinite(found) else math.inf


def _faded(bound: Bound, width: int) -> float:
    """By how much the gradient shrinks when a temperature far above the logits is doubled: with the factor T² it tends
    to a constant (Hinton, Vinyals and Dean, arXiv 1503.02531, 2.1), without it falls to a quarter."""
    sizes = []
    for temperature in (HOT, WARMER):
        hot = replace(bound, params=bound.params.model_copy(update={"temperature": temperature}))
        sizes.append(float(_both(hot, _case(hot, width, SPREAD / 100, torch.float64))[1].norm()))
    return abs(1.0 - sizes[1] / sizes[0]) if sizes[0] else math.inf


def _ignored(bound: Bound, width: int) -> list[str]:
    """Parameters that differ from their default and that neither value nor gradient reads, sorted."""
    fields, read = type(bound.params).model_fields, set[str]()

    class Noting:
        """The same parameters, which note what is read of them: whatever is none of them may read all."""

        def __getattr__(self, name: str) -> Any:
            read.update([name] if name in fields else fields)
            return getattr(bound.params, name)

    given = {name: getattr(bound.params, name) for name in fields}
    noting = replace(bound, params=Noting())
    case = _case(noting, width, SPREAD, torch.float64)
    _value(noting, case)
    _both(noting, case)
    if bound.loss.layers is not None:
        bound.loss.layers.pairs(noting.params, DEEP, DEEP)
    default = {name: field.get_default(call_default_factory=True) for name, field in fields.items()}
    return sorted(name for name in set(fields) - read if given[name] != default[name])


def tried(bound: Bound, width: int) -> list[Finding]:
    """Every promise that the loss makes, tried over a vocabulary of `width`. Raises Refusal (KR0128) where the loss
    cannot be called, or returns what has not the shape of its tokens."""
    case = _case(bound, width, SPREAD * _cold(bound), torch.float64)
    found = [_untouched(bound, case)]
    ignored = _ignored(bound, width)
    found.append(Finding("settings", float(len(ignored)), not ignored, ", ".join(f"`{one}`" for one in ignored)))
    if not found[0].passed:
        # whatever it says afterwards is about other logits
        return found
    finite = 0
    for spread, dtype in ((SPREAD, torch.float64), (LARGE, torch.float32)):
        numbers = _both(bound, _case(bound, width, spread, dtype))
        finite += sum(int((~torch.isfinite(one)).sum()) for one in numbers)
    found.append(Finding("finite", float(finite), finite == 0, f"{finite} numbers are not"))
    if finite:
        return found
    value_N, (loss_N, gradient_NV) = _value(bound, case), _both(bound, case)
    size, apart = float(gradient_NV.norm()), _apart(loss_N, value_N)
    found.append(Finding("gradient", size, size > 0.0))
    found.append(Finding("value", apart, apart <= ZERO, f"they differ by {apart:.2g}"))
    if bound.loss.derivative and size > 0.0:
        apart = _numeric(bound, case, gradient_NV)
        found.append(Finding("derivative", apart, apart <= NEAR, f"they differ by {apart:.2g} of its size"))
    if bound.loss.divergence:
        least, largest = float(loss_N.min()), _agreeing(bound, case)
        found.append(Finding("agreement", largest, largest <= ZERO, f"{largest:.2g} is left"))
        found.append(Finding("positive", max(0.0, -least), least >= -ZERO, f"{least:.2g} nat"))
    if bound.semantics.get("temperature_squared") is True and hasattr(bound.params, "temperature"):
        fades = _faded(bound, width)
        found.append(Finding("temperature", fades, fades <= FADES, f"by {fades:.0%} from {HOT:g} to {WARMER:g}"))
    if bound.loss.shift_invariant:
        moved = _shifted(bound, case, value_N)
        found.append(Finding("shift", moved, moved <= NEAR, f"by {moved:.2g} for {SHIFT:g}"))
    return found


def admit(name: str, findings: list[Finding]) -> None:
    """Raises Refusal for the first promise that is not kept, in words that name the loss."""
    for one in findings:
        if not one.passed:
            wrong, action = WHY[one.check]
            more = f" ({one.more})" if one.more else ""
            raise Refusal(f"loss `{name}` {wrong}{more}", place=f"loss {name}", action=action, code="KR0128")
