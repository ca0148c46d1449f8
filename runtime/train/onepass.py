"""Hidden states of the supervised tokens → the weighed sum of the loss terms, with its gradient. The only loss path.

The gradient of a sum needs nothing that comes after it. So each chunk's logits are made once, the gradient of every
term with respect to them is taken there and then, and both go back through the head at once, into the gradients of the
hidden states and of the head's weights (Liger Kernel's fused linear losses work in this order, arXiv 2410.10989; here
with any loss plug-in). No chunk is computed again in a backward pass, and at no time do more than `chunk_tokens` rows
of full-vocabulary logits exist per model. All terms of a chunk read the same logits.

The vocabulary is not cut as well. The gradient of a softmax needs the sum over all words first, so each block of words
would be multiplied with both heads twice: six products where four suffice, 1.3 to 1.5 times the time at 2 k, 32 k and
128 k words (tests/bench/chunks.py). What it would save is a chunk, at most 64 MiB of each model where nobody says
(runtime.contract.placing), beside a head of which weights, gradient and moments alone take 16 bytes of each weight.

Letters: N supervised tokens (of any mask), C of a chunk, D of a block, H hidden width, V vocabulary, K terms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from runtime.contract import Refusal
from runtime.contract.objective import Top
from runtime.models import capping
from runtime.train import fused, linear, matching, objective
from runtime.train import head as heads
from runtime.train.matching import Matched
from runtime.train.objective import Bound, Choices, Side

#: bytes of the logits that losses look at together: a loss passes over them some ten times, and what lies in the
#: processor's own cache is read four times as fast there (tests/bench/kd_step.py)
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Batch:
    """What the terms read of one batch, besides the student's hidden states and head."""

    teacher: Side | None
    target_N: Tensor
    masks_N: Mapping[str, Tensor]
    #: maps a mask to its supervised tokens in the whole optimiser batch, of which N may be a part: sums then add up
    denominators: Mapping[str, int]
    choices_N: Choices | None = None
    #: in the place of `teacher`, where of its logits the likeliest are known
    top_N: Top | None = None
    #: layers of both models, where a term reads them
    matched: Matched | None = None
    #: facts of the rows, on the device of the targets
    facts_N: Mapping[str, Tensor] = field(default_factory=dict)
    #: heads beside the one for words
    heads: Mapping[str, nn.Linear] = field(default_factory=dict)

    def __getitem__(self, piece: slice) -> Batch:
        return replace(
            self,
            teacher=None if self.teacher is None else Side(self.teacher.hidden_NH[piece], self.teacher.head),
            target_N=self.target_N[piece],
            masks_N={mask: flags[piece] for mask, flags in self.masks_N.items()},
            choices_N=None if self.choices_N is None else self.choices_N[piece],
            top_N=None if self.top_N is None else self.top_N[piece],
            matched=None,
            facts_N={fact: numbers[piece] for fact, numbers in self.facts_N.items()},
        )

    def divisors(self, terms: Sequence[Bound]) -> list[int]:
        return [max(self.denominators[bound.loss.mask], 1) for bound in terms]


@dataclass(frozen=True, slots=True)
class Sum:
    """Σ_k factor_k · (sum of term k over its tokens)."""

    terms: Sequence[Bound]
    factors: Sequence[float]
    chunk_tokens: int
    #: left_NI, right_OI, bias_O → left · rightᵀ + bias
    product: linear.Product = field(default_factory=heads.kernel)
    #: bound of the student's logits; a teacher's stands on its head
    cap: float | None = None

    def chunk(self, batch: Batch, said_CV: Tensor) -> tuple[Tensor, Tensor]:
        """sums_K of a chunk, and the gradient of the whole sum with respect to what the head said, `said_CV`, whose
        place it may take."""
        logits_CV = capping.bound_(said_CV, self.cap)
        taught_CV = None
        if batch.teacher is not None and any(bound.needs_logits for bound in self.terms):
            taught_CV = self._taught(batch.teacher)
            objective.check_width(taught_CV, logits_CV.shape[-1])
        # a card reads its memory at one speed, and each call costs it the same: there a chunk is one block
        if logits_CV.device.type != "cpu":
            return self._through(batch, logits_CV, taught_CV)
        sums_K = logits_CV.new_zeros(len(self.terms))
        size = max(1, BLOCK_BYTES // (logits_CV.element_size() * logits_CV.shape[-1]))
        for begin in range(0, len(logits_CV), size):
            block = slice(begin, begin + size)
            found_K, gradient_DV = self._through(
                batch[block], logits_CV[block], None if taught_CV is None else taught_CV[block]
            )
            logits_CV[block] = gradient_DV
            sums_K += found_K
        return sums_K, logits_CV

    def _taught(self, teacher: Side) -> Tensor:
        """The teacher's logits_CV, by the product that the student's are made by."""
        head = teacher.head
        if isinstance(head, nn.Linear):
            return capping.bound_(self.product(teacher.hidden_NH, head.weight, head.bias), capping.cap_of(head))
        return head(teacher.hidden_NH)

    def _through(self, batch: Batch, logits_DV: Tensor, taught_DV: Tensor | None) -> tuple[Tensor, Tensor]:
        """A block, its gradient taken back through the bound of the logits."""
        if self.cap is None:
            return self._block(batch, logits_DV, taught_DV)
        slope_DV = capping.slope(logits_DV, self.cap)
        sums_K, gradient_DV = self._block(batch, logits_DV, taught_DV)
        return sums_K, gradient_DV.mul_(slope_DV)

    def _block(self, batch: Batch, logits_DV: Tensor, taught_DV: Tensor | None) -> tuple[Tensor, Tensor]:
        sums: list[Tensor] = []
        whole_DV: Tensor | None = None
        for bound, factor in zip(self.terms, self.factors, strict=True):
            pick = _pick(batch.masks_N[bound.loss.mask], logits_DV.device)
            mine, target = (logits_DV, batch.target_N) if pick is None else (logits_DV[pick], batch.target_N[pick])
            facts = {name: batch.facts_N[name] if pick is None else batch.facts_N[name][pick] for name in bound.facts}
            loss, gradient = both(
                bound, mine, _of_teacher(bound, batch, taught_DV, pick, mine.shape[-1]), target, facts
            )
            sums.append(loss.sum())
            if pick is None:
                whole_DV = gradient.mul_(factor) if whole_DV is None else whole_DV.add_(gradient, alpha=factor)
            else:
                whole_DV = torch.zeros_like(logits_DV) if whole_DV is None else whole_DV
                whole_DV.index_add_(0, pick, gradient, alpha=factor)
        return torch.stack(sums), torch.zeros_like(logits_DV) if whole_DV is None else whole_DV


def _pick(mask_D: Tensor, device: torch.device) -> Tensor | None:
    """Places of a mask in its block; None when that is all of them, so that nothing is copied.

    Masks stay on the host, where they are counted without waiting for a card."""
    return None if bool(mask_D.all()) else mask_D.nonzero().squeeze(-1).to(device)


def _of_teacher(
    bound: Bound, batch: Batch, taught_DV: Tensor | None, pick: Tensor | None, width: int
) -> Tensor | Top | None:
    """What a term reads of the teacher at its own tokens."""
    if bound.needs_choices and batch.choices_N is not None:
        # only this term's few tokens: a dense table of every supervised token would be as large as the logits
        return (batch.choices_N if pick is None else batch.choices_N[pick]).dense(width)
    if bound.needs_logits and batch.top_N is not None:
        return batch.top_N if pick is None else batch.top_N[pick]
    if not bound.needs_logits or taught_DV is None:
        return None
    return taught_DV if pick is None else taught_DV[pick]


def both(
    bound: Bound,
    logits_NV: Tensor,
    taught: Tensor | Top | None,
    target_N: Tensor,
    facts_N: Mapping[str, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """loss_N of a term and its gradient with respect to the logits: in closed form where the loss has one."""
    value, gradient = bound.reads(taught, facts_N or {})
    if gradient is not None:
        loss_N, gradient_NV = fused.gradient_of(bound, gradient, len(target_N))(logits_NV, taught, target_N)
        objective.check_shape(bound, loss_N, target_N)
        return loss_N, gradient_NV
    with torch.enable_grad():
        leaf_NV = logits_NV.detach().requires_grad_()
        loss_N = value(leaf_NV, taught, target_N, bound.params)
        objective.check_shape(bound, loss_N, target_N)
        (gradient_NV,) = torch.autograd.grad(loss_N.sum(), leaf_NV)
    return loss_N.detach(), gradient_NV.contiguous()


class _OnePass(torch.autograd.Function):
    """hidden_NH, weight_VH, bias_V → the sum, and sums_K without gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        batch: Batch,
        of: Sum,
        into: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        count, (to_hidden, to_weight, to_bias) = len(hidden_NH), ctx.needs_input_grad[:3]
        sums_K = hidden_NH.new_zeros(len(of.terms))
        hidden_grad = torch.empty_like(hidden_NH) if to_hidden else None
        made_here = to_weight and into is None
        weight_grad = torch.zeros_like(weight_VH) if made_here else into if to_weight else None
        bias_grad = torch.zeros_like(bias_V) if bias_V is not None and to_bias else None
        for begin in range(0, count, of.chunk_tokens):
            piece = slice(begin, begin + of.chunk_tokens)
            hidden_CH = hidden_NH[piece]
            logits_CV = of.product(hidden_CH, weight_VH, bias_V)
            found_K, gradient_CV = of.chunk(batch[piece], logits_CV)
            sums_K += found_K
            if hidden_grad is not None:
                hidden_grad[piece] = of.product(gradient_CV, weight_VH.t(), None)
            if weight_grad is not None:
                heads.add(weight_grad, gradient_CV, hidden_CH)
            if bias_grad is not None:
                bias_grad += gradient_CV.sum(0)
        ctx.made = (hidden_grad, weight_grad if made_here else None, bias_grad)
        ctx.mark_non_differentiable(sums_K)
        return (sums_K * sums_K.new_tensor(list(of.factors))).sum(), sums_K

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        # handed over, not kept: a gradient that nobody else holds becomes the weight's own without a copy
        made, ctx.made = ctx.made, None
        if made is None:
            raise RuntimeError("the gradient of this sum was already handed over")
        factor = float(given[0])
        return (
            *(None if one is None else one if factor == 1.0 else one.mul_(factor) for one in made),
            None,
            None,
            None,
        )


def values(hidden_NH: Tensor, head: nn.Linear, batch: Batch, terms: Sequence[Bound], chunk: int) -> Tensor:
    """values_K of `total`, by the same sums, and no gradient of anything."""
    bias_V = None if head.bias is None else head.bias.detach()
    divisors = _checked(batch, terms)
    of = Sum(terms, [1 / divisor for divisor in divisors], chunk, cap=capping.cap_of(head))
    with torch.no_grad():
        _, sums_K = _both_kinds(hidden_NH.detach(), head.weight.detach(), bias_V, batch, of, None)
    return sums_K / sums_K.new_tensor(divisors)


def _both_kinds(
    hidden_NH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, batch: Batch, of: Sum, into: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The sum, and sums_K without gradient: terms over logits through the head, chunk by chunk, terms over layers past
    it, and terms over other heads through those."""
    logits = [k for k, bound in enumerate(of.terms) if bound.loss.layers is None and not bound.loss.head]
    if len(logits) == len(of.terms):
        found: tuple[Tensor, Tensor] = _OnePass.apply(hidden_NH, weight_VH, bias_V, batch, of, into)
        return found
    parts: list[Tensor] = []
    sums: dict[int, Tensor] = {}
    if logits:
        alone = replace(of, terms=[of.terms[k] for k in logits], factors=[of.factors[k] for k in logits])
        whole, sums_K = _OnePass.apply(hidden_NH, weight_VH, bias_V, batch, alone, into)
        parts.append(whole)
        sums.update(zip(logits, sums_K, strict=True))
    for k, bound in enumerate(of.terms):
        if k not in sums:
            pick_N = _pick(batch.masks_N[bound.loss.mask], hidden_NH.device)
            if bound.loss.head:
                value = _of_head(bound, hidden_NH, batch, pick_N)
            else:
                assert batch.matched is not None
                value = matching.value(bound, batch.matched, batch.target_N, pick_N)
            parts.append(value * of.factors[k])
            sums[k] = value.detach()
    return torch.stack(parts).sum(), torch.stack([sums[k] for k in range(len(of.terms))])


def _of_head(bound: Bound, hidden_NH: Tensor, batch: Batch, pick_N: Tensor | None) -> Tensor:
    """Sum over its tokens of a term that trains a head of its own."""
    target_N = batch.target_N if pick_N is None else batch.target_N[pick_N]
    facts_N = {name: batch.facts_N[name] if pick_N is None else batch.facts_N[name][pick_N] for name in bound.facts}
    said_N = batch.heads[bound.loss.head](hidden_NH if pick_N is None else hidden_NH[pick_N]).squeeze(-1)
    # its log-odds beside 0 are the logits of two answers
    said_N2 = torch.stack((torch.zeros_like(said_N), said_N), -1)
    loss_N = bound.reads(None, facts_N)[0](said_N2, None, target_N, bound.params)
    objective.check_shape(bound, loss_N, target_N)
    total: Tensor = loss_N.sum()
    return total


def _checked(batch: Batch, terms: Sequence[Bound]) -> list[int]:
    """What each term is divided by. Raises Refusal when a term lacks what it reads of the teacher."""
    objective.check_given(terms, batch.teacher, batch.choices_N, batch.top_N)
    reading = [bound for bound in terms if bound.loss.layers is not None]
    if reading and batch.matched is None:
        raise Refusal(
            f"loss `{reading[0].name}` needs the layers of a teacher",
            action="give a teacher whose weights are here, or drop the term",
        )
    objective.check_facts(terms, batch.facts_N)
    for bound in terms:
        if bound.loss.head and bound.loss.head not in batch.heads:
            raise Refusal(
                f"loss `{bound.name}` trains the head `{bound.loss.head}`, and the student has none",
                action=f"add `{bound.loss.head}` to student.heads, or drop the term",
            )
    return batch.divisors(terms)


def total(
    hidden_NH: Tensor,
    head: nn.Linear,
    batch: Batch,
    terms: Sequence[Bound],
    weights: Sequence[float],
    chunk: int,
    into: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Σ_k weight_k · value_k, differentiable once and with respect to the student alone, and values_K in nat/token
    without gradient. A term without tokens is 0.

    `chunk`: tokens whose logits exist at one time. `into`: to what the gradient of the head's weights is added here and
    now, in the place of a second tensor of that size; for a batch that is a part of one, whose sum is not scaled.
    Raises Refusal when a term lacks what it reads of the teacher.
    """
    divisors = _checked(batch, terms)
    if batch.teacher is not None:
        batch = replace(batch, teacher=Side(batch.teacher.hidden_NH.detach(), batch.teacher.head))
    factors = [weight / divisor for weight, divisor in zip(weights, divisors, strict=True)]
    of = Sum(terms, factors, chunk, cap=capping.cap_of(head))
    whole, sums_K = _both_kinds(hidden_NH, head.weight, head.bias, batch, of, into)
    return whole, sums_K / sums_K.new_tensor(divisors)
