"""Hidden states of the supervised tokens → the value of every loss term. The only loss path of the project.

Logits are made chunk by chunk from the gathered hidden states, and each chunk is recomputed in the backward pass, so
that at no time more than `chunk_tokens` rows of full-vocabulary logits exist per model (the route TRL took in #6526 and
#6530). All terms of a chunk read the same logits. A term is the sum over its own supervised tokens divided by
their number in the whole optimiser batch: neither chunks, padding, accumulation nor another term can dilute it.

Letters: N supervised tokens (of any mask), C of a chunk, H hidden width, V vocabulary, K terms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from runtime import catalog
from runtime.contract import Loss, Refusal
from runtime.steps.train import Term

#: hidden_CH → logits_CV
Head = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Bound:
    """One term of the spec together with the loss it names."""

    term: Term
    loss: Loss
    params: Any

    @property
    def name(self) -> str:
        return self.loss.name

    @property
    def needs_logits(self) -> bool:
        return "logits" in self.loss.needs

    @property
    def needs_choices(self) -> bool:
        return "choices" in self.loss.needs

    @property
    def needs_answers(self) -> bool:
        return bool(self.loss.needs & {"text", "choices"})


def bind(terms: Sequence[Term]) -> list[Bound]:
    """Terms with their losses. Raises Refusal for no terms, an unknown or repeated name, another version, params the
    loss does not accept, and semantics that are not those of the installed loss."""
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
        if term.semantics and dict(term.semantics) != dict(loss.semantics):
            raise Refusal(
                f"the lock gives loss `{term.term}` another meaning than the installed one", action="plan again"
            )
        try:
            params = loss.params.model_validate(term.params)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise Refusal(f"loss `{term.term}`: {where}: {first['msg']}", action="correct the spec") from None
        found.append(Bound(term=term, loss=loss, params=params))
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
        found_NV = torch.full((len(self.ids_NM), width), -torch.inf, dtype=self.log_NM.dtype)
        rows_NM = torch.arange(len(self.ids_NM))[:, None].expand_as(self.ids_NM)
        found_NV[rows_NM[real_NM], self.ids_NM[real_NM]] = self.log_NM[real_NM]
        return found_NV


@dataclass(frozen=True, slots=True)
class Side:
    """One model's part: hidden states of the supervised tokens and its head."""

    hidden_NH: Tensor
    head: Head


def values(
    student: Side,
    teacher: Side | None,
    target_N: Tensor,
    masks_N: Mapping[str, Tensor],
    terms: Sequence[Bound],
    denominators: Mapping[str, int],
    chunk_tokens: int,
    choices_N: Choices | None = None,
) -> Tensor:
    """values_K in nat/token, differentiable with respect to the student alone.

    `denominators` maps a mask to its supervised tokens in the whole optimiser batch, of which N may be a part: values
    of the parts then add up. A term without tokens is 0. Raises Refusal when a term lacks a teacher's logits.
    """
    for bound in terms:
        if bound.needs_logits and teacher is None:
            raise Refusal(f"loss `{bound.name}` needs a teacher's logits", action="give a teacher, or drop the term")
        if bound.needs_choices and choices_N is None:
            raise Refusal(f"loss `{bound.name}` needs a teacher's choices", action="give its answers, or drop the term")
    if teacher is not None:
        teacher = Side(teacher.hidden_NH.detach(), teacher.head)
    count = target_N.shape[0]
    pieces: list[Tensor] = []
    for begin in range(0, count, chunk_tokens):
        piece = slice(begin, begin + chunk_tokens)
        picks = [_pick(masks_N[bound.loss.mask][piece]) for bound in terms]

        def sums(
            hidden_CH: Tensor,
            teacher_CH: Tensor | None,
            target_C: Tensor = target_N[piece],
            picks: list[Tensor | None] = picks,
            choices_C: Choices | None = None if choices_N is None else choices_N[piece],
        ) -> Tensor:
            return _sums(hidden_CH, student.head, teacher_CH, teacher, target_C, terms, picks, choices_C)

        taught = None if teacher is None else teacher.hidden_NH[piece]
        if count <= chunk_tokens:
            # One chunk is at its size limit already; recomputing it would save nothing.
            pieces.append(sums(student.hidden_NH[piece], taught))
        else:
            pieces.append(
                checkpoint(sums, student.hidden_NH[piece], taught, use_reentrant=False, preserve_rng_state=False)
            )
    total_K = torch.stack(pieces).sum(0) if pieces else student.hidden_NH.sum() * torch.zeros(len(terms))
    divisor_K = torch.tensor([max(denominators[bound.loss.mask], 1) for bound in terms], dtype=total_K.dtype)
    return total_K / divisor_K


def _pick(mask_C: Tensor) -> Tensor | None:
    """Places of a mask in its chunk; None when that is all of them, so that nothing is copied."""
    return None if bool(mask_C.all()) else mask_C.nonzero().squeeze(-1)


def _sums(
    hidden_CH: Tensor,
    head: Head,
    teacher_CH: Tensor | None,
    teacher: Side | None,
    target_C: Tensor,
    terms: Sequence[Bound],
    picks: Sequence[Tensor | None],
    choices_C: Choices | None = None,
) -> Tensor:
    """Sum of each term over its own tokens of one chunk → sums_K."""
    logits_CV = head(hidden_CH)
    taught_CV = None
    if teacher is not None and teacher_CH is not None:
        with torch.no_grad():
            taught_CV = teacher.head(teacher_CH)
        if taught_CV.shape != logits_CV.shape:
            raise Refusal(
                f"teacher logits {tuple(taught_CV.shape)} do not fit student logits {tuple(logits_CV.shape)}",
                action="teacher and student must share one vocabulary; nothing is cut or filled up",
            )
    sums: list[Tensor] = []
    for bound, pick in zip(terms, picks, strict=True):
        taught = taught_CV if bound.needs_logits else None
        if bound.needs_choices and choices_C is not None:
            own = choices_C if pick is None else choices_C[pick]
            # only this term's few tokens: a dense table of every supervised token would be as large as the logits
            mine = logits_CV if pick is None else logits_CV[pick]
            loss_C = bound.loss.value(
                mine, own.dense(logits_CV.shape[-1]), target_C if pick is None else target_C[pick], bound.params
            )
        elif pick is None:
            loss_C = bound.loss.value(logits_CV, taught, target_C, bound.params)
        else:
            taught = None if taught is None else taught[pick]
            loss_C = bound.loss.value(logits_CV[pick], taught, target_C[pick], bound.params)
        expected = target_C.shape if pick is None else pick.shape
        if loss_C.shape != expected:
            raise Refusal(
                f"loss `{bound.name}` returned shape {tuple(loss_C.shape)} for {expected[0]} tokens",
                action="a loss returns one number per supervised token",
            )
        sums.append(loss_C.sum())
    return torch.stack(sums)
