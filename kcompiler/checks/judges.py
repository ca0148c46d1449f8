"""Section `evaluation.judge`: who compares answers, whether anybody asks, and by what it is judged itself."""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic, did_you_mean
from kcompiler.facts.paths import wrong_folder, wrong_path
from kcompiler.facts.runners import own
from kcompiler.source import Tree
from kcompiler.spec import Spec
from runtime import catalog
from runtime.contract import Suite
from runtime.contract.places import MODELS

_FIELD = "/evaluation/judge"


def _asked(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    declared = spec.evaluation.judge
    asking = False
    for i, written in enumerate(spec.evaluation.suites):
        suite: Suite = catalog.load("suites", written.use)
        if suite.judge is None:
            continue
        asking = True
        pointer = f"/evaluation/suites/{i}"
        if declared is None:
            yield tree.diagnostic(
                "KC4875",
                f"{pointer}/use",
                f"suite `{suite.name}` asks a judge, and this spec has none",
                label="nobody would compare the answers",
                help="name one: `judge: {model: models:NAME, rows: {source: NAME}}` in evaluation",
            )
        here = own(spec, suite)
        for name in (one for one in suite.judge(written.params) if one not in here):
            yield tree.diagnostic(
                "KC4877",
                f"{pointer}/second" if f"{pointer}/second" in tree.values else f"{pointer}/use",
                f"no model of this spec answers as `{name}`",
                label="there is nobody to compare with",
                help="write `second: ce_only` and `baselines: [ce_only]`, or take a teacher whose weights are here",
            )
    if declared is not None and not asking:
        yield tree.diagnostic(
            "KC4876",
            _FIELD,
            "no suite asks this judge",
            label="it would compare nothing",
            help="add a suite `judged`, or remove the judge",
        )


def _rows(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    declared = spec.evaluation.judge
    if declared is None:
        return
    place = f"{_FIELD}/model"
    if declared.model.startswith(MODELS):
        yield from wrong_folder(tree, world, place, declared.model)
    else:
        yield from wrong_path(tree, world, place, declared.model, folder=True)
    names = [source.name for source in spec.data.sources]
    if declared.rows is not None and declared.rows.source is not None and declared.rows.source not in names:
        yield tree.diagnostic(
            "KC4473",
            f"{_FIELD}/rows/source",
            f"no data source is called `{declared.rows.source}`",
            label="the judge would be judged by nothing",
            help=did_you_mean(declared.rows.source, names) or "name the source of pairs with an objective outcome",
        )


CHECKS = (Check(_asked, "evaluation", "teacher"), Check(_rows, "evaluation", "data"))
