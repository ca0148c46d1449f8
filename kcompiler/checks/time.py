"""Budgets of time and of accelerators against what the declared trainings take on the declared machine, at least."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

from kcompiler.checks import Check, World
from kcompiler.checks.memory import trainer
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts.models import teacher_architectures
from kcompiler.facts.placing import device
from kcompiler.facts.time import Least, of_training, seconds
from kcompiler.source import Tree
from kcompiler.spec import Spec
from kcompiler.tables import Machine
from runtime import catalog

_HOUR_S = 3600


def _trainings(spec: Spec, machine: Machine) -> Iterator[tuple[str, Least]]:
    """(what, its least time) of everything that a run trains."""
    for _, architecture in teacher_architectures(spec):
        made = spec.teacher.params
        least = of_training(architecture, getattr(made, "steps", 0), getattr(made, "batch_size", 0), machine)
        if least is not None:
            yield "the teacher", least
    for stage in spec.training.stages:
        least = of_training(spec.student.architecture, stage.steps, stage.batch_size, machine, stage.validation)
        if least is not None:
            yield f"stage `{stage.name}`", least
            for baseline in spec.evaluation.baselines:
                yield f"stage `{stage.name}` of the baseline {baseline}", least


def _accelerated(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Hours of accelerators are those of one card at least, for as long as the trainings take on it."""
    machine, where = trainer(spec)
    if device(spec) == "cpu":
        return
    if machine is None:
        yield from _unnamed(spec, tree)
        return
    found = list(_trainings(spec, machine))
    needed = sum((least.seconds for _, least in found), Fraction(0))
    allowed = Fraction(str(spec.budgets.gpu_hours)) * _HOUR_S
    if needed <= allowed:
        return
    hours = Fraction(math.ceil(needed * 10**4 / _HOUR_S), 10**4)
    yield tree.diagnostic(
        "KC4728",
        "/budgets/gpu_hours",
        "the trainings alone take more hours of accelerators than there are",
        label=f"{spec.budgets.gpu_hours:g} allowed, on {machine.title} they take {seconds(needed)} at least",
        help=f"allow at least {float(hours):g}, train fewer steps or a smaller student, or write `device: cpu` under "
        "execution",
        notes=tuple(f"{what}: {least.how} = {seconds(least.seconds)}" for what, least in found),
        related=(tree.related(where, "the machine that trains"),),
    )


def _unnamed(spec: Spec, tree: Tree) -> Iterator[Diagnostic]:
    """Of a machine that nobody named it is known that it takes some time, and no more. (A name that nobody knows is a
    mistake of its own.)"""
    trains = bool(spec.training.stages) or catalog.load("teachers", spec.teacher.source).step == "bootstrap"
    if not trains or spec.budgets.gpu_hours > 0 or spec.hardware.training_profile is not None:
        return
    yield tree.diagnostic(
        "KC4728",
        "/budgets/gpu_hours",
        "the trainings alone take more hours of accelerators than there are",
        label=f"none allowed, and models are trained on `{device(spec)}`",
        help="allow some, or write `device: cpu` under execution; name the machine that trains as "
        "hardware.training_profile, and its least time is reckoned",
        related=(tree.related("/execution/device", "a card is held while it trains"),),
    )


def _within(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    machine, where = trainer(spec)
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


CHECKS = (
    Check(_within, "budgets", "training", "student", "teacher", "hardware", "evaluation", "execution"),
    Check(_accelerated, "budgets", "training", "student", "teacher", "hardware", "evaluation", "execution"),
)
