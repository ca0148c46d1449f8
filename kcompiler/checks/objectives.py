"""The sum of losses: does it train the answer at all, and is it the sum that was meant."""

from __future__ import annotations

import math
from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.source import Tree
from kcompiler.spec import Spec
from kcompiler.spec.training import Loss, Stage
from runtime import catalog


def _stages(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    for i, stage in enumerate(spec.training.stages):
        pointer = f"/training/stages/{i}"
        yield from _terms(stage, tree, pointer)
        yield from _weights(stage, tree, pointer)
        for t, term in enumerate(stage.losses):
            yield from _schedule(stage, term, tree, f"{pointer}/losses/{t}/schedule")
        if stage.optimizer.warmup_steps >= stage.steps:
            at = f"{pointer}/optimizer/warmup_steps"
            yield tree.diagnostic(
                "KC4606",
                at if at in tree.values else f"{pointer}/steps",
                f"stage `{stage.name}` ends before its learning rate has warmed up",
                severity="warning",
                label=f"{stage.optimizer.warmup_steps} steps of warm-up, {stage.steps} steps in all",
                help="lower optimizer.warmup_steps",
            )


def _alive(term: Loss) -> bool:
    """Whether a term ever counts."""
    return term.weight > 0 or (term.schedule is not None and term.schedule.to > 0)


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


def _weights(stage: Stage, tree: Tree, pointer: str) -> Iterator[Diagnostic]:
    alive = [term for term in stage.losses if _alive(term)]
    if not alive:
        yield tree.diagnostic(
            "KC4601",
            f"{pointer}/losses",
            f"stage `{stage.name}` trains nothing",
            on="key",
            label="every weight is 0",
            help="give at least one term a weight above 0",
        )
        return
    if not any(catalog.load("losses", term.term).mask == "response" for term in alive):
        yield tree.diagnostic(
            "KC4602",
            f"{pointer}/losses",
            f"no loss of stage `{stage.name}` covers the whole response",
            on="key",
            label=f"only spans: {', '.join(sorted({catalog.load('losses', term.term).mask for term in alive}))}",
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


CHECKS = (Check(_stages, "training"),)
