"""Stages that train with rounded weights: there is something to round, it stays as it was trained, and it is trained.

What is rounded is the recipe's; a recipe that no package holds is refused where it is written (`recipe`).
"""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts import sizes
from kcompiler.source import Tree
from kcompiler.spec import Spec
from kcompiler.spec.training import Stage
from runtime.contract.qat import LATE, rounded, untrained
from runtime.contract.recipe import COARSE


def _aware(spec: Spec) -> Iterator[tuple[int, Stage, str]]:
    """(number, stage, place of its `qat`) of those that train with rounded weights."""
    for i, stage in enumerate(spec.training.stages):
        if stage.qat is not None:
            yield i, stage, f"/training/stages/{i}/qat"


def _rounds(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """The recipe stores matrices in integers, and all others as they are trained anyway."""
    for _, stage, at in _aware(spec):
        tensors = list(sizes.tensors(spec.student.architecture))
        others = untrained(spec.quantization, tensors)
        if not rounded(spec.quantization, tensors) and not others:
            yield tree.diagnostic(
                "KC4950",
                at,
                f"stage `{stage.name}` has no weights to round: the recipe stores every matrix in float16",
                on="key",
                label="would train as it does without this",
                help="store matrices as `int8` or `int4` in `quantization`, or remove `qat`",
                related=(tree.related("/quantization/default", "what matrices get", "key"),),
            )
        for name, said in list(others.items())[:1]:
            several = f", and {len(others) - 1} more matrices" if len(others) > 1 else ""
            yield tree.diagnostic(
                "KC4951",
                at,
                f"stage `{stage.name}` cannot train what the recipe makes of every matrix",
                on="key",
                label=f"`{name.removesuffix('.weight')}` is stored {said}{several}",
                detail="the values of a palette are fitted to the weights, and a mask to their sizes: one step "
                "moves all of them, and no gradient says how",
                help="store these as `int8`, `int4` or `fp16`, or remove `qat`: palettes and masks are made afterwards",
                related=(tree.related("/quantization", "the recipe", "key"),),
            )


def _stays(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Nothing moves the weights after they were trained."""
    last = len(spec.training.stages) - 1
    for i, stage, at in _aware(spec):
        if i != last:
            after = spec.training.stages[-1].name
            yield tree.diagnostic(
                "KC4953",
                at,
                f"stage `{stage.name}` is not the one whose student is exported",
                on="key",
                label=f"`{after}` comes after it, and moves the weights away from what was rounded",
                help=f"move `qat` to stage `{after}`, or make this stage the last",
                related=(tree.related(f"/training/stages/{last}/name", "the last stage is exported"),),
            )
        elif spec.quantization.calibration is not None:
            yield tree.diagnostic(
                "KC4952",
                at,
                f"stage `{stage.name}` trains weights that calibration would choose anew",
                on="key",
                label="the package would not hold what was trained",
                help="remove `calibration` from `quantization`, or `qat` from the stage",
                related=(tree.related("/quantization/calibration", "moves the weights of each matrix", "key"),),
            )


def _trains(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Some step is made with rounded weights, and the state that is kept is of one that was."""
    for i, stage, at in _aware(spec):
        assert stage.qat is not None
        first, start = stage.qat.first(stage.steps), f"{at}/start"
        if first >= stage.steps:
            yield tree.diagnostic(
                "KC4954",
                start,
                f"no step of stage `{stage.name}` is made with rounded weights",
                label=f"after {first} of {stage.steps} steps there is none left",
                help=f"lower it: {max(0, stage.steps - 1) / stage.steps:g} leaves one",
            )
        elif first and stage.validation is not None:
            yield tree.diagnostic(
                "KC4955",
                start,
                f"stage `{stage.name}` would choose among states with and without rounded weights",
                label=f"validation begins before step {first}, from which on weights are rounded",
                detail="losses of float32 weights are lower, and say nothing of the package",
                help="write `start: 0.0` and, before it, a stage without `qat` to go on from; or remove `validation`",
                related=(tree.related(f"/training/stages/{i}/validation", "keeps the best state", "key"),),
            )


def _exact(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Products read the numbers that the package holds, and not a rounding of them."""
    precision = spec.execution.precision
    for _, stage, at in _aware(spec):
        if precision != "fp32":
            yield tree.diagnostic(
                "KC4956",
                at,
                f"stage `{stage.name}` would round its weights twice",
                on="key",
                label=f"products in {precision} round what `quantization` made of them again",
                help="write `precision: fp32` in `execution`, or remove `qat`",
                related=(tree.related("/execution/precision", "the precision"),),
            )


def _gains(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Integers of eight bits lose less than two trainings are apart."""
    for _, stage, at in _aware(spec):
        names = rounded(spec.quantization, sizes.tensors(spec.student.architecture))
        if names and not any(spec.quantization.of(name).weights in COARSE for name in names):
            yield tree.diagnostic(
                "KC4957",
                at,
                f"stage `{stage.name}` trains for a rounding that costs little: every matrix has eight bits or more",
                severity="note",
                on="key",
                label="a student that is rounded afterwards was as good where it was measured",
                help="compare it with the same spec without `qat`, or store weights in `int4`",
                related=(tree.related("/quantization/default", "what matrices get", "key"),),
            )


def _late(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Weights are rounded once what they are to become is nearly settled, unless the stage goes on from such ones."""
    for _, stage, at in _aware(spec):
        assert stage.qat is not None
        if stage.from_ is None and stage.qat.start < LATE:
            start = f"{at}/start"
            yield tree.diagnostic(
                "KC4958",
                start if start in tree.values else at,
                f"stage `{stage.name}` rounds weights that are still far from what they will be",
                severity="note",
                label=f"from {stage.qat.start:g} of its steps on",
                help=f"write `start: {LATE:g}` or later, or round in a stage of its own that goes on `from` this one",
            )


CHECKS = (
    Check(_rounds, "training", "quantization", "student"),
    Check(_stays, "training", "quantization"),
    Check(_trains, "training"),
    Check(_exact, "training", "execution"),
    Check(_gains, "training", "quantization", "student"),
    Check(_late, "training"),
)
