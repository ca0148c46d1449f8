"""Terms over layers and two models → the pairs of layers of each, what is trained for them beside the student, and
their values. What is read of the models is gathered by `runtime.train.layers`.

Letters: N supervised tokens, H hidden width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from runtime.contract import Refusal
from runtime.contract.layers import ATTENTION, STATES, Pair, Shape, fault
from runtime.train import objective
from runtime.train.layers import Read, Wanted
from runtime.train.objective import Bound


class Matching(nn.Module):
    """The pairs of layers of each term that reads layers, and what is trained for them beside the student: for each
    pair of states whose widths differ a matrix, teacher's width x student's."""

    def __init__(self, terms: Sequence[Bound], student: Shape, teacher: Shape, seed: int) -> None:
        """The matrices are drawn from the seed, each by its own name. Raises Refusal for layers that are not there, and
        for those that cannot be compared."""
        super().__init__()
        self.pairs: dict[str, list[Pair]] = {}
        self.projections = nn.ParameterDict()
        for number, bound in enumerate(terms):
            reads = bound.loss.layers
            if reads is None:
                continue
            if why := fault(reads, bound.params, student, teacher):
                raise Refusal(f"loss `{bound.name}`: {why[1]}", action=why[2])
            self.pairs[bound.name] = list(reads.pairs(bound.params, student.layers, teacher.layers))
            if reads.projects and student.width != teacher.width:
                made = torch.Generator().manual_seed((seed * 1_000_003 + number) % 2**63)
                for pair in self.pairs[bound.name]:
                    drawn_GH = torch.randn(teacher.width, student.width, generator=made) / student.width**0.5
                    self.projections[_key(bound.name, pair)] = nn.Parameter(drawn_GH)
        #: names of the terms that compare attention maps
        self.of_maps = {bound.name for bound in terms if bound.loss.layers and bound.loss.layers.signal == ATTENTION}
        self.student = self._wanted(terms, lambda pair: pair.student)
        self.teacher = self._wanted(terms, lambda pair: pair.teacher)

    def _wanted(self, terms: Sequence[Bound], side: Callable[[Pair], int]) -> Wanted:
        found: dict[str, set[int]] = {STATES: set(), ATTENTION: set()}
        for bound in terms:
            if bound.loss.layers is not None:
                found[bound.loss.layers.signal].update(side(pair) for pair in self.pairs[bound.name])
        return Wanted(frozenset(found[STATES]), frozenset(found[ATTENTION]))

    def projected(self, name: str, pair: Pair, states_NH: Tensor) -> Tensor:
        """The student's states in the teacher's width."""
        key = _key(name, pair)
        return states_NH @ self.projections[key].t() if key in self.projections else states_NH

    @property
    def projects(self) -> dict[str, dict[Pair, tuple[int, ...]]]:
        """Term → pair of layers → shape of the matrix that is trained for it."""
        return {
            name: {
                pair: tuple(self.projections[_key(name, pair)].shape)
                for pair in found
                if _key(name, pair) in self.projections
            }
            for name, found in self.pairs.items()
        }


def _key(name: str, pair: Pair) -> str:
    return f"{name}-{pair.student}-{pair.teacher}"


@dataclass(frozen=True, slots=True)
class Matched:
    """What the terms over layers read of one batch."""

    matching: Matching
    student: Read
    teacher: Read


def constant(taught: Tensor) -> Tensor:
    """Nothing is learnt by the teacher, whoever gathered what it says."""
    return taught.detach()


def value(bound: Bound, matched: Matched, target_N: Tensor, pick_N: Tensor | None) -> Tensor:
    """The sum of a term over its tokens, differentiable with respect to the student and what is trained beside it.
    `pick_N`: places of its tokens among all that are supervised; None: it has all of them."""
    reads = bound.loss.layers
    assert reads is not None
    found, mine_N = matched.matching.pairs[bound.name], target_N if pick_N is None else target_N[pick_N]
    sums: list[Tensor] = []
    for pair in found:
        student = matched.student.of(reads.signal, pair.student)
        teacher = constant(matched.teacher.of(reads.signal, pair.teacher))
        if pick_N is not None:
            student, teacher = student.index_select(0, pick_N), teacher.index_select(0, pick_N)
        loss_N = bound.loss.value(matched.matching.projected(bound.name, pair, student), teacher, mine_N, bound.params)
        objective.check_shape(bound, loss_N, mine_N)
        sums.append(loss_N.sum())
    return torch.stack(sums).sum() / len(found)
