"""Each known way to spoil a distillation objective is caught by the check that names it.

Most are real bugs of public trainers: an unshifted mask (DistillKit), a T² that is printed but not trained (axolotl),
a mask that is accepted and ignored (Liger #974), a term without gradient (axolotl #3660).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from runtime import catalog
from runtime.contract import Loss
from runtime.train import batches, objective, onepass
from tests.tensor.losses import checks
from tests.tensor.losses.bench import DIVERGENCES

Patch = pytest.MonkeyPatch


def mutate_losses(patch: Patch, change: Callable[[Loss], Loss]) -> None:
    load = catalog.load

    def mutated(room: str, name: str) -> Any:
        return change(load(room, name)) if room == "losses" else load(room, name)

    patch.setattr(catalog, "load", mutated)


def invert_shift(patch: Patch) -> None:
    """Logits at position i are held against token i."""
    build = batches.Corpus.__init__

    def shifted(self: batches.Corpus, *given: Any, **named: Any) -> None:
        build(self, *given, **named)
        self._before_S = self._before_S + 1

    patch.setattr(batches.Corpus, "__init__", shifted)


def drop_temperature_squared(patch: Patch) -> None:
    def change(loss: Loss) -> Loss:
        if not loss.divergence:
            return loss
        return replace(loss, gradient=None, value=lambda s, t, y, p: loss.value(s, t, y, p) / p.temperature**2)

    mutate_losses(patch, change)


def print_but_not_train_temperature_squared(patch: Patch) -> None:
    """The value is right and the gradient is T² too small."""

    def change(loss: Loss) -> Loss:
        if not loss.divergence:
            return loss

        def value(s: Tensor, t: Tensor, y: Tensor, p: Any) -> Tensor:
            right = loss.value(s, t, y, p)
            trained = right / p.temperature**2
            return trained + (right - trained).detach()

        return replace(loss, gradient=None, value=value)

    mutate_losses(patch, change)


def swap_teacher_and_student(patch: Patch) -> None:
    mutate_losses(
        patch,
        lambda loss: (
            replace(loss, gradient=None, value=lambda s, t, y, p: loss.value(t, s, y, p)) if loss.divergence else loss
        ),
    )


def drop_mask(patch: Patch) -> None:
    """Every supervised token counts for every term."""
    total = onepass.total

    def unmasked(hidden: Tensor, head: Any, batch: onepass.Batch, *rest: Any) -> Any:
        masks = {mask: torch.ones_like(flags) for mask, flags in batch.masks_N.items()}
        return total(hidden, head, replace(batch, masks_N=masks), *rest)

    patch.setattr(onepass, "total", unmasked)


def one_denominator(patch: Patch) -> None:
    """All terms are divided by the number of response tokens."""
    totals = objective.totals

    def same(masks: Mapping[str, Tensor]) -> dict[str, int]:
        found = totals(masks)
        return dict.fromkeys(found, found["response"])

    patch.setattr(objective, "totals", same)


def chunk_means(patch: Patch) -> None:
    """Each chunk is averaged by itself, as a micro-batch is in DistillKit: the chunk size changes the objective."""
    chunk = onepass.Sum.chunk

    def means(self: onepass.Sum, batch: onepass.Batch, logits: Tensor) -> tuple[Tensor, Tensor]:
        sizes = [max(int(batch.masks_N[bound.loss.mask].sum()), 1) for bound in self.terms]
        sums, gradient = chunk(self, batch, logits)
        return sums / torch.tensor(sizes), gradient

    patch.setattr(onepass.Sum, "chunk", means)


def detach_hard_label(patch: Patch) -> None:
    """A term with a value and no gradient (axolotl #3660)."""
    mutate_losses(
        patch,
        lambda loss: (
            replace(loss, gradient=None, value=lambda s, t, y, p: loss.value(s.detach(), t, y, p) + 0 * s.sum(-1))
            if loss.name == "ce_truth"
            else loss
        ),
    )


def supervise_the_prompt(patch: Patch) -> None:
    """Every token but the first is learnt, as if it were of the response (the origin's D10)."""
    build = batches.Corpus.__init__

    def wide(self: batches.Corpus, names: Any, examples: Any, *given: Any, **named: Any) -> None:
        whole = [
            replace(one, masks={**one.masks, "response": [at > 0 for at in range(len(one.ids))]}) for one in examples
        ]
        build(self, names, whole, *given, **named)

    patch.setattr(batches.Corpus, "__init__", wide)


CAUGHT_BY: list[tuple[Callable[[Patch], None], Callable[[], None]]] = [
    (invert_shift, checks.check_shift),
    (drop_temperature_squared, checks.check_temperature_squared),
    (print_but_not_train_temperature_squared, lambda: checks.check_gradient("kl")),
    (swap_teacher_and_student, checks.check_direction),
    (drop_mask, checks.check_mask),
    (one_denominator, checks.check_denominator),
    (chunk_means, checks.check_denominator),
    (detach_hard_label, lambda: checks.check_gradient("ce_truth")),
]


#: of each divergence that is not in those checks by itself, what is no matter of the loss alone
PATH: list[tuple[Callable[[Patch], None], Callable[[], None]]] = [
    (mutant, partial(checks.check_values, (name,)))
    for name in DIVERGENCES
    for mutant in (invert_shift, chunk_means, supervise_the_prompt)
]


@pytest.mark.parametrize(
    ("mutant", "check"), PATH, ids=[f"{mutant.__name__}-{check.args[0][0]}" for mutant, check in PATH]
)
def test_mutant_of_the_path_is_caught_in_each_divergence(
    mutant: Callable[[Patch], None], check: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        check()


@pytest.mark.parametrize(("mutant", "check"), CAUGHT_BY, ids=[mutant.__name__ for mutant, _ in CAUGHT_BY])
def test_mutant_is_caught(
    mutant: Callable[[Patch], None], check: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    check()
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        check()
