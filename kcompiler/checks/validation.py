"""Rows that a training looks at and does not learn from: of a split of their own, and by a metric that is there."""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic, did_you_mean
from kcompiler.source import Tree
from kcompiler.spec import Spec
from runtime.contract.splits import VALIDATION
from runtime.contract.validation import TOTAL


def _apart(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """What chooses a state neither judges it nor was learnt from."""
    for i, stage in enumerate(spec.training.stages):
        if stage.validation is not None and stage.validation.split != VALIDATION:
            test = stage.validation.split == "test"
            by = "judge it" if test else "it learns from"
            yield tree.diagnostic(
                "KC4614",
                f"/training/stages/{i}/validation/split",
                f"stage `{stage.name}` would choose its state by the rows that {by}",
                label="the test split" if test else "the training split",
                help="leave `split` out, and keep some of the rows to learn from with `validation: 0.05` in `data`",
            )


def _fed(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """There are rows to validate by where it is done, and it is done where there are rows."""
    fed = VALIDATION in spec.data.fed
    for i, stage in enumerate(spec.training.stages):
        if stage.validation is not None and stage.validation.split == VALIDATION and not fed:
            yield tree.diagnostic(
                "KC4503",
                f"/training/stages/{i}/validation",
                f"no source feeds the split `{VALIDATION}`",
                on="key",
                label=f"stage `{stage.name}` would have no rows to validate by",
                help="keep some of the rows to learn from with `validation: 0.05` in `data`, or add a source with "
                "`split: validation`",
                related=(tree.related("/data/sources", "the sources", "key"),),
            )
    if fed and not any(stage.validation for stage in spec.training.stages):
        at = "/data/validation" if "/data/validation" in tree.values else _source(spec)
        yield tree.diagnostic(
            "KC4533",
            at,
            "rows are kept for validation, and no stage validates",
            severity="warning",
            label="nothing looks at them, and they are not learnt from",
            help="write `validation: {every: 50, patience: 4}` in a stage, or learn from these rows",
        )


def _source(spec: Spec) -> str:
    index = next(i for i, source in enumerate(spec.data.sources) if source.split == VALIDATION)
    return f"/data/sources/{index}/split"


def _metric(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    for i, stage in enumerate(spec.training.stages):
        terms = [term.term for term in stage.losses]
        if stage.validation is not None and stage.validation.metric not in (TOTAL, *terms):
            named = stage.validation.metric
            yield tree.diagnostic(
                "KC4620",
                f"/training/stages/{i}/validation/metric",
                f"stage `{stage.name}` has no loss `{named}` to choose by",
                label=f"there are {', '.join(terms)}, and `{TOTAL}`",
                help=did_you_mean(named, [*terms, TOTAL]) or "add the loss, or choose by one that is there",
            )


def _patience(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Validations that could end a stage early come before its last step."""
    for i, stage in enumerate(spec.training.stages):
        found = stage.validation
        if found is not None and found.patience is not None and found.every * found.patience >= stage.steps:
            yield tree.diagnostic(
                "KC4626",
                f"/training/stages/{i}/validation/patience",
                f"stage `{stage.name}` cannot end early",
                severity="warning",
                label=f"{found.patience} validations, {found.every} steps apart, are {found.every * found.patience} "
                f"steps; the stage has {stage.steps}",
                help="validate more often, lower patience, or leave it out: the best state is kept in any case",
            )


CHECKS = (
    Check(_apart, "training"),
    Check(_fed, "training", "data"),
    Check(_metric, "training"),
    Check(_patience, "training"),
)
