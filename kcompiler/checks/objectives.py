"""The sum of losses: does it train the answer at all, and is it the sum that was meant."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.source import Tree
from kcompiler.spec import Spec
from kcompiler.spec.training import Loss, Stage
from runtime import catalog
from runtime.contract import Loss as Plugin
from runtime.contract.optimizer import Optimizer

#: a term so many times the sum of all others trains alone
DOMINANT = 10
#: weight below which a term is lost in the rounding of the others
NEGLIGIBLE = 1e-6


def _stages(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    for i, stage in enumerate(spec.training.stages):
        pointer = f"/training/stages/{i}"
        yield from _terms(stage, tree, pointer)
        yield from _weights(stage, tree, pointer)
        for t, term in enumerate(stage.losses):
            yield from _schedule(stage, term, tree, f"{pointer}/losses/{t}/schedule")
        yield from _shares(stage, tree, pointer)
        yield from _idle(stage, tree, pointer)
        yield from _warm_up(tree, pointer, f"stage `{stage.name}`", stage.optimizer, stage.steps)
        yield from _end_of_nothing(tree, pointer, stage.optimizer)


def _teacher(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """A teacher that the pipeline trains itself warms up as well."""
    optimizer, steps = (getattr(spec.teacher.params, name, None) for name in ("optimizer", "steps"))
    if isinstance(optimizer, Optimizer) and isinstance(steps, int):
        yield from _warm_up(tree, "/teacher", "the teacher's training", optimizer, steps)
        yield from _end_of_nothing(tree, "/teacher", optimizer)


def _warm_up(tree: Tree, pointer: str, what: str, optimizer: Optimizer, steps: int) -> Iterator[Diagnostic]:
    if optimizer.warmup_steps >= steps:
        at = f"{pointer}/optimizer/warmup_steps"
        yield tree.diagnostic(
            "KC4606",
            at if at in tree.values else f"{pointer}/steps",
            f"{what} ends before its learning rate has warmed up",
            severity="warning",
            label=f"{optimizer.warmup_steps} steps of warm-up, {steps} steps in all",
            help="lower optimizer.warmup_steps",
        )


def _end_of_nothing(tree: Tree, pointer: str, optimizer: Optimizer) -> Iterator[Diagnostic]:
    """A rate that stays has no end to fall to: whoever writes one expects that it falls."""
    at = f"{pointer}/optimizer/final_fraction"
    if optimizer.decay == "constant" and at in tree.values:
        yield tree.diagnostic(
            "KC4632",
            at,
            "`final_fraction` has no effect: with `decay: constant` the learning rate stays at its peak",
            label="nothing reads this",
            help="remove it, or write `decay: cosine`",
        )


def _alive(term: Loss) -> bool:
    """Whether a term ever counts: float32 keeps seven digits, so that less than a millionth of a gradient is lost."""
    return term.weight >= NEGLIGIBLE or (term.schedule is not None and term.schedule.to >= NEGLIGIBLE)


def _terms(stage: Stage, tree: Tree, pointer: str) -> Iterator[Diagnostic]:
    first: dict[str, int] = {}
    for t, term in enumerate(stage.losses):
        if term.term in first:
            yield tree.diagnostic(
                "KC4603",
                f"{pointer}/losses/{t}/term",
                f"stage `{stage.name}` has the loss `{term.term}` twice",
                label="again",
                help="add the weights up in one term",
                related=(tree.related(f"{pointer}/losses/{first[term.term]}/term", "first here"),),
            )
        first.setdefault(term.term, t)


def _covers(loss: Plugin) -> str:
    """What of an answer a term teaches to say; the head that it trains, where that is not the one for words."""
    return loss.head or loss.mask


def _weights(stage: Stage, tree: Tree, pointer: str) -> Iterator[Diagnostic]:
    alive = [term for term in stage.losses if _alive(term)]
    if not alive:
        yield tree.diagnostic(
            "KC4601",
            f"{pointer}/losses",
            f"stage `{stage.name}` trains nothing",
            on="key",
            label=f"every weight is below {NEGLIGIBLE:g}",
            help="give at least one term a weight above 0",
        )
        return
    losses = [catalog.load("losses", term.term) for term in alive]
    if all(loss.layers is not None for loss in losses):
        yield tree.diagnostic(
            "KC4615",
            f"{pointer}/losses",
            f"no loss of stage `{stage.name}` trains what the student says",
            on="key",
            label=f"only its layers: {', '.join(loss.name for loss in losses)}",
            help="add a term over logits, such as kl or ce_truth, in this stage: a stage of its own for layers is no "
            "longer trained",
        )
    elif not any(_covers(loss) == "response" and loss.layers is None for loss in losses):
        yield tree.diagnostic(
            "KC4602",
            f"{pointer}/losses",
            f"no loss of stage `{stage.name}` covers the whole response",
            on="key",
            label=f"only spans: {', '.join(sorted({_covers(loss) for loss in losses if loss.layers is None}))}",
            help="add a term over the response, such as kl or ce_truth: what is between the spans, and the end of the "
            "answer, would stay untrained",
        )
    total = math.fsum(term.weight for term in stage.losses)
    if not math.isclose(total, 1.0, abs_tol=1e-6):
        yield tree.diagnostic(
            "KC4604",
            f"{pointer}/losses",
            f"the weights of stage `{stage.name}` do not add up to 1",
            on="key",
            severity="note",
            label=f"they add up to {total:g}",
            help="harmless if meant: it scales the gradient, and with it the clip norm",
        )


def _shares(stage: Stage, tree: Tree, pointer: str) -> Iterator[Diagnostic]:
    """Terms that never count, and a term beside which the others hardly do."""
    alive = [(t, term) for t, term in enumerate(stage.losses) if _alive(term)]
    for t, term in enumerate(stage.losses):
        if alive and not _alive(term):
            yield tree.diagnostic(
                "KC4607",
                f"{pointer}/losses/{t}/weight",
                f"loss `{term.term}` never counts",
                severity="warning",
                label=f"its weight stays below {NEGLIGIBLE:g}",
                help="remove the term, or give it a weight",
            )
    ends = [(term.weight, term.weight if term.schedule is None else term.schedule.to) for _, term in alive]
    for (t, term), mine in zip(alive, ends, strict=True):
        rest = [math.fsum(end[i] for end in ends) - mine[i] for i in (0, 1)]
        if len(alive) > 1 and all(mine[i] > DOMINANT * rest[i] * (1 + 1e-9) for i in (0, 1)):
            yield tree.diagnostic(
                "KC4608",
                f"{pointer}/losses/{t}/weight",
                f"beside loss `{term.term}` the others of stage `{stage.name}` hardly count",
                severity="warning",
                label=f"{mine[0]:g}, the others together {rest[0]:g}",
                detail=f"more than {DOMINANT} times the sum of the others, from the first step to the last",
                help="remove the others if they are not meant, or raise their weights",
            )


def _weight_at(term: Loss, step: int) -> float:
    """The weight of a term at a step: as declared, on the line to `to`, or `to`."""
    course = term.schedule
    if course is None or step <= course.from_step:
        return term.weight
    if step >= course.until_step:
        return course.to
    return term.weight + (course.to - term.weight) * (step - course.from_step) / (course.until_step - course.from_step)


def _idle(stage: Stage, tree: Tree, pointer: str) -> Iterator[Diagnostic]:
    """The sum is linear between the schedules' corners: it is 0 over a stretch exactly when it is 0 at both ends."""
    courses = [term.schedule for term in stage.losses if term.schedule is not None]
    if not any(map(_alive, stage.losses)) or any(c.from_step >= c.until_step for c in courses):
        return
    inner = {min(step, stage.steps) for c in courses for step in (c.from_step, c.until_step)}
    corners = sorted({0, stage.steps} | inner)
    for first, last in pairwise(corners):
        if not any(_weight_at(term, step) for term in stage.losses for step in (first, last)):
            yield tree.diagnostic(
                "KC4609",
                f"{pointer}/losses",
                f"stage `{stage.name}` trains nothing for {last - first} of its {stage.steps} steps",
                on="key",
                label=f"every weight is 0 from step {first} to step {last}",
                help=f"end the stage at step {first}, or keep a term above 0"
                if first
                else "let one term begin above 0",
            )
            return


def _gradients(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Softened by T, a divergence has a gradient 1/T² as large; a loss that does not give it back says so."""
    for s, stage in enumerate(spec.training.stages):
        for t, term in enumerate(stage.losses):
            temperature = getattr(term.params, "temperature", None)
            squared = catalog.load("losses", term.term).semantics.get("temperature_squared")
            if not isinstance(temperature, int | float) or squared is not False or temperature == 1:
                continue
            at = f"/training/stages/{s}/losses/{t}/temperature"
            factor = temperature**2
            yield tree.diagnostic(
                "KC4610",
                at if at in tree.values else f"/training/stages/{s}/losses/{t}/term",
                f"the temperature of loss `{term.term}` changes how much it counts",
                severity="warning",
                label=f"T = {temperature:g} divides its gradient by about {factor:g}",
                detail="this loss does not multiply by T² (Hinton, Vinyals and Dean, arXiv 1503.02531, 2.1)",
                help=f"use temperature 1, a loss with the factor such as kl, or a weight {factor:g} times as large",
            )


def _schedule(stage: Stage, term: Loss, tree: Tree, pointer: str) -> Iterator[Diagnostic]:
    if term.schedule is None:
        return
    if term.schedule.from_step >= term.schedule.until_step:
        yield tree.diagnostic(
            "KC4605",
            f"{pointer}/until_step",
            f"the schedule of loss `{term.term}` ends before it begins",
            label=f"from step {term.schedule.from_step} until step {term.schedule.until_step}",
            help="make until_step larger than from_step",
        )
    elif term.schedule.until_step > stage.steps:
        yield tree.diagnostic(
            "KC4605",
            f"{pointer}/until_step",
            f"the schedule of loss `{term.term}` ends after its stage",
            label=f"step {term.schedule.until_step} of {stage.steps}",
            help=f"lower it to {stage.steps}: the weight {term.schedule.to:g} is never reached",
        )


def _names(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """A stage's name stands in the journal, the reports and the package: it must not promise another training."""
    for s, stage in enumerate(spec.training.stages):
        if stage.qat is None and "qat" in stage.name.split("-"):
            yield tree.diagnostic(
                "KC4611",
                f"/training/stages/{s}/name",
                f"stage `{stage.name}` would not be quantization-aware",
                label="it trains in float32; the package is quantized when it is converted",
                help="write `qat: {}` in it, or give it another name",
            )


CHECKS = (
    Check(_names, "training"),
    Check(_stages, "training"),
    Check(_teacher, "teacher"),
    Check(_gradients, "training"),
)
