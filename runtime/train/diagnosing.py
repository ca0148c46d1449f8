"""A training step that met a number which is not finite → where it comes from, in words: rows, model, module, loss.

The rows of the step go through student, teacher and losses once more, each alone, with every module looked at. That
costs a step and is done once, because the run ends with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from runtime.contract.objective import Top
from runtime.train import objective, onepass, whence
from runtime.train.batches import Batch
from runtime.train.teaching import Teacher, hidden_of
from runtime.train.whence import named

if TYPE_CHECKING:
    from runtime.train.loop import Trainer


def _is_number(logits: Tensor) -> bool:
    """-inf is what a teacher excludes; NaN and +inf are no logits."""
    return not bool((logits.isnan() | logits.isposinf()).any())


def _of_student(trainer: Trainer, batch: Batch) -> str:
    """The part of the student that gives no finite number for these rows; "" where there is none."""
    with torch.no_grad(), whence.traced(trainer.student) as trace:
        hidden_NH = hidden_of(trainer.student, batch.groups, trainer.place)
        finite = whence.finite(hidden_NH) and whence.finite(trainer.head(hidden_NH))
    return trace.words if trace.module else "" if finite else "from its head on"


def _of_teacher(trainer: Trainer, batch: Batch) -> str:
    if trainer.teacher is None:
        return ""
    with torch.no_grad():
        taught = trainer.teacher.given(batch)
        if isinstance(taught, Top):
            return "" if _is_number(taught.log_NK) else "in what is stored of it"
        if whence.finite(taught.hidden_NH) and _is_number(taught.head(taught.hidden_NH)):
            return ""
        if not isinstance(trainer.teacher, Teacher):
            return "in what is stored of it"
        with whence.traced(trainer.teacher.model) as trace:
            hidden_of(trainer.teacher.model, batch.groups, trainer.place)
    return trace.words if trace.module else "from its head on"


def _of_loss(trainer: Trainer, batch: Batch) -> str:
    """Of finite logits: the term whose value, or gradient in the logits, in the student, is not finite."""
    hidden_NH, read = trainer._given(batch, objective.totals(batch.masks_N), trainer.teacher)
    hidden_NH = hidden_NH.detach().requires_grad_()
    for bound in trainer.terms:
        whole, values_K = onepass.total(hidden_NH, trainer.head, read, [bound], [1.0], trainer.params.chunk_tokens)
        if not whence.finite(values_K):
            return f"the value of loss `{bound.name}`, of finite logits"
        # a term over layers does not read what the head reads
        (found_NH,) = torch.autograd.grad(whole, hidden_NH, allow_unused=True)
        if found_NH is not None and not whence.finite(found_NH):
            return f"the gradient of loss `{bound.name}`, of finite logits"
    return ""


def _of_gradient(trainer: Trainer, batch: Batch) -> str:
    """Of finite losses: the tensor of the student, next to the loss, whose gradient is not finite."""
    names = [name for name, parameter in trainer.student.named_parameters() if parameter.requires_grad]
    for bound in trainer.terms:
        with whence.ordered(trainer.student) as ran:
            hidden_NH, read = trainer._given(batch, objective.totals(batch.masks_N), trainer.teacher)
        whole, _ = onepass.total(hidden_NH, trainer.head, read, [bound], [1.0], trainer.params.chunk_tokens)
        found = torch.autograd.grad(whole, trainer.parameters, allow_unused=True)
        wrong = [name for name, one in zip(names, found, strict=True) if one is not None and not whence.finite(one)]
        if wrong:
            # a gradient goes backwards: of those it spoils, the tensor that was read last is its first
            first = max(wrong, key=lambda name: _last(ran, name.rpartition(".")[0]))
            return f"the gradient of loss `{bound.name}` in `{first}`"
    return ""


def _last(ran: Sequence[str], module: str) -> int:
    """When a module ended the last time; -1 for one that did not run."""
    return max((place for place, name in enumerate(ran) if name == module), default=-1)


def _looked(trainer: Trainer, rows: Sequence[int]) -> Iterator[str]:
    """What is wrong, with the rows that it is wrong for; the cause before what follows from it."""
    batches = {row: trainer.corpus.batch([row]) for row in dict.fromkeys(rows)}
    for who, look in (
        ("the student gives numbers that are not finite {}", _of_student),
        ("the teacher gives numbers that are not finite {}", _of_teacher),
        ("{} is not finite", _of_loss),
        ("{} is not finite", _of_gradient),
    ):
        found: dict[str, list[str]] = {}
        for row, batch in batches.items():
            if words := look(trainer, batch):
                found.setdefault(words, []).append(trainer.corpus.names[row])
        for words, names in found.items():
            yield f"{who.format(words)}, for {named(names)}"


def place_of(trainer: Trainer, rows: Sequence[int]) -> str:
    """Where the step over these rows first met a number that is not finite."""
    try:
        return next(_looked(trainer, rows), "no row of the step brings it about alone")
    except RuntimeError as error:
        # what is known is said all the same: that the step failed matters more than where
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        return f"where it comes from could not be looked for ({first[:120]})"
