"""The terms of the objective: what each of them is, reads and is divided by. `runtime.train.onepass` computes them.

A term is the sum over its own supervised tokens divided by their number in the whole optimiser batch: neither chunks,
padding, accumulation nor another term can dilute it.

Letters: N supervised tokens (of any mask), C of a chunk, H hidden width, V vocabulary, K terms, M choices of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from runtime import catalog
from runtime.contract import Loss, Refusal
from runtime.contract.layers import OF_WEIGHTS
from runtime.contract.objective import Top
from runtime.steps.train import Term
from runtime.train.layers import NONE, Read

#: hidden_CH → logits_CV
Head = Callable[[Tensor], Tensor]
#: of a loss: student, teacher, target, params → loss_N; and → (loss_N, gradient_NV)
Value = Callable[[Any, Any, Any, Any], Any]
Gradient = Callable[[Any, Any, Any, Any], tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class Bound:
    """One term of the spec together with the loss it names."""

    term: Term
    loss: Loss
    params: Any
    #: whether of a teacher's logits the likeliest alone are known
    of_top: bool = False
    #: what settled a parameter that the spec left open: the mass of the teacher's likeliest tokens, and of how many
    #: tokens that is the mean
    measured: tuple[float, int] | None = None

    @property
    def semantics(self) -> Mapping[str, Any]:
        """What the lock says of it."""
        return self.loss.top.semantics if self.of_top and self.loss.top is not None else self.loss.semantics

    @property
    def name(self) -> str:
        return self.loss.name

    @property
    def unit(self) -> str:
        """Of its value: a distance of states is none in nats."""
        return str(self.semantics.get("unit", "nat/token"))

    @property
    def needs_logits(self) -> bool:
        return "logits" in self.loss.needs

    @property
    def needs_weights(self) -> bool:
        """Whether it reads what only a teacher gives whose weights are here."""
        return bool(self.loss.needs & OF_WEIGHTS)

    @property
    def facts(self) -> list[str]:
        """Facts of the rows that it reads, sorted."""
        return sorted(self.loss.facts)

    def reads(
        self, taught: Tensor | Top | None, facts_N: Mapping[str, Tensor] | None = None
    ) -> tuple[Value, Gradient | None]:
        """The loss as it is of what is known of the teacher and of the rows."""
        if self.loss.facts:
            gradient = self.loss.gradient
            return partial(self.loss.value, facts=facts_N or {}), gradient and partial(gradient, facts=facts_N or {})
        if not isinstance(taught, Top):
            return self.loss.value, self.loss.gradient
        if self.loss.top is None:
            raise Refusal(f"loss `{self.name}` needs all logits of a teacher", action="store form `hidden` or `full`")
        return self.loss.top.value, self.loss.top.gradient

    @property
    def temperatures(self) -> list[float]:
        """Those at which it reads the mass of what is not stored."""
        return list(self.loss.top.temperatures(self.params)) if self.of_top and self.loss.top is not None else []

    def options(self) -> list[Bound]:
        """The term with each of the parameters that it may come to have."""
        rule = self.loss.settled
        return [self] if rule is None else [replace(self, params=params) for params in rule.may_become(self.params)]

    @property
    def needs_choices(self) -> bool:
        return "choices" in self.loss.needs

    @property
    def needs_answers(self) -> bool:
        return bool(self.loss.needs & {"text", "choices"})


def bind(terms: Sequence[Term], *, of_top: bool = False) -> list[Bound]:
    """Terms with their losses; `of_top`: of a teacher's logits the likeliest alone are known. Raises Refusal for no
    terms, an unknown or repeated name, another version, params the loss does not accept, and semantics that are not
    those of the installed loss."""
    if not terms:
        raise Refusal("no loss term: there is nothing to train on", action="declare at least one term")
    found: list[Bound] = []
    for term in terms:
        try:
            loss: Loss = catalog.load("losses", term.term)
        except KeyError:
            raise Refusal(
                f"no loss is called `{term.term}`", action=f"choose from {', '.join(catalog.names('losses'))}"
            ) from None
        if term.term in [bound.name for bound in found]:
            raise Refusal(f"loss term `{term.term}` is declared twice", action="add the weights, keep one term")
        if term.version != loss.version:
            raise Refusal(
                f"the plan wants version {term.version} of loss `{term.term}`, installed is {loss.version}",
                action="plan again, or install the version the lock names",
            )
        try:
            params = loss.params.model_validate(term.params)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise Refusal(f"loss `{term.term}`: {where}: {first['msg']}", action="correct the spec") from None
        bound = Bound(term=term, loss=loss, params=params, of_top=of_top)
        if term.semantics and dict(term.semantics) != dict(bound.semantics):
            raise Refusal(
                f"the lock gives loss `{term.term}` another meaning than the installed one", action="plan again"
            )
        found.append(bound)
    return found


def totals(masks_N: Mapping[str, Tensor]) -> dict[str, int]:
    """The denominator of each mask: how many tokens it supervises."""
    return {mask: int(flags.sum()) for mask, flags in masks_N.items()}


@dataclass(frozen=True, slots=True)
class Choices:
    """What a teacher says of the permitted answers: for each supervised token M entries, filled up with id -1.

    Tokens that no choice stands at have none.
    """

    ids_NM: Tensor
    log_NM: Tensor

    def __getitem__(self, piece: slice | Tensor) -> Choices:
        return Choices(self.ids_NM[piece], self.log_NM[piece])

    def dense(self, width: int) -> Tensor:
        """log_NV: -inf at everything that is no choice."""
        real_NM = self.ids_NM >= 0
        found_NV = self.log_NM.new_full((len(self.ids_NM), width), -torch.inf)
        rows_NM = torch.arange(len(self.ids_NM), device=self.ids_NM.device)[:, None].expand_as(self.ids_NM)
        found_NV[rows_NM[real_NM], self.ids_NM[real_NM]] = self.log_NM[real_NM]
        return found_NV


@dataclass(frozen=True, slots=True)
class Side:
    """One model's part: hidden states of the supervised tokens and its head, and what is read of its layers. Of logits
    that are stored the places stand for the states, and reading is the head."""

    hidden_NH: Tensor
    head: Head
    inside: Read = NONE


def check_given(
    terms: Sequence[Bound], teacher: Side | None, choices_N: Choices | None, top_N: Top | None = None
) -> None:
    """Raises Refusal when a term lacks what it reads of the teacher."""
    for bound in terms:
        if bound.needs_logits and teacher is None and top_N is None:
            raise Refusal(f"loss `{bound.name}` needs a teacher's logits", action="give a teacher, or drop the term")
        if bound.needs_choices and choices_N is None:
            raise Refusal(f"loss `{bound.name}` needs a teacher's choices", action="give its answers, or drop the term")


def check_facts(terms: Sequence[Bound], facts_N: Mapping[str, Tensor]) -> None:
    """Raises Refusal when a term lacks a fact of the rows that it reads."""
    for bound in terms:
        if lacking := [fact for fact in bound.facts if fact not in facts_N]:
            raise Refusal(
                f"loss `{bound.name}` reads the fact `{lacking[0]}` of the rows", action="encode the rows with it"
            )


def check_width(taught_CV: Tensor, width: int) -> None:
    """Raises Refusal where teacher and student have other vocabularies."""
    if taught_CV.shape[-1] != width:
        raise Refusal(
            f"teacher logits {tuple(taught_CV.shape)} do not fit student logits {(len(taught_CV), width)}",
            action="teacher and student must share one vocabulary; nothing is cut or filled up",
        )


def check_shape(bound: Bound, loss_C: Tensor, target_C: Tensor) -> None:
    """Raises Refusal for a loss that does not return one number for each token."""
    if loss_C.shape != target_C.shape:
        raise Refusal(
            f"loss `{bound.name}` returned shape {tuple(loss_C.shape)} for {len(target_C)} tokens",
            action="a loss returns one number per supervised token",
        )
