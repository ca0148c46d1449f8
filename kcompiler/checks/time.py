"""Budgets of time against what the declared trainings take on the declared machine, at least."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

from kcompiler.checks import Check, World
from kcompiler.checks.memory import trainer
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts.models import teacher_architectures
from kcompiler.facts.time import Least, of_training, seconds
from kcompiler.source import Tree
from kcompiler.spec import Spec
from kcompiler.tables import Machine


def _trainings(spec: Spec, machine: Machine) -> Iterator[tuple[str, Least]]:
    """(what, its least time) of everything that a run trains."""
    for _, architecture in teacher_architectures(spec):
        made = spec.teacher.params
        least = of_training(architecture, getattr(made, "steps", 0), getattr(made, "batch_size", 0), machine)
        if least is not None:
            yield "the teacher", least
    for stage in spec.training.stages:
        least = of_training(spec.student.architecture, stage.steps, stage.batch_size, machine)
        if least is not None:
            yield f"stage `{stage.name}`", least
            for baseline in spec.evaluation.baselines:
                yield f"stage `{stage.name}` of the baseline {baseline}", least


def _within(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    machine, where = trainer(spec.hardware)
    if machine is None:
        return
    found = list(_trainings(spec, machine))
    needed = sum((least.seconds for _, least in found), Fraction(0))
    if needed <= Fraction(str(spec.budgets.wall_s)):
        return
    yield tree.diagnostic(
        "KC4720",
        "/budgets/wall_s",
        "the trainings alone take longer than the whole run may",
        label=f"{spec.budgets.wall_s:g} s allowed, {machine.title} needs {seconds(needed)} at least",
        help=f"allow at least {math.ceil(needed):,} s, train fewer steps or a smaller student, or name a faster "
        "machine in hardware.training_profile",
        notes=tuple(f"{what}: {least.how} = {seconds(least.seconds)}" for what, least in found),
        related=(tree.related(where, "the machine that trains"),),
    )


CHECKS = (Check(_within, "budgets", "training", "student", "teacher", "hardware", "evaluation"),)
