"""Section `evaluation.judge`: who compares answers, whether anybody asks, and by what it is judged itself."""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.checks.responses import taken
from kcompiler.diagnostic import Diagnostic, did_you_mean
from kcompiler.facts.paths import wrong_folder, wrong_path
from kcompiler.facts.rows import readable
from kcompiler.facts.runners import own
from kcompiler.source import Tree
from kcompiler.spec import Spec
from runtime import catalog
from runtime.contract import Suite
from runtime.contract.places import MODELS
from runtime.contract.splits import TEST
from runtime.contract.verdicts import CLAUSES, VERDICTS

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
                help="name one: `judge: {model: models:NAME, rows: {source: NAME}}` in evaluation, or one behind a "
                "server with `server: {base_url: …, model: …, top_logprobs: 20}` in the place of `model`",
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
    if declared.model is not None and declared.model.startswith(MODELS):
        yield from wrong_folder(tree, world, place, declared.model)
    elif declared.model is not None:
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


def _one(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """A judge is one model."""
    declared = spec.evaluation.judge
    if declared is None or (declared.model is None) != (declared.server is None):
        return
    if declared.model is None:
        yield tree.diagnostic(
            "KC4878",
            _FIELD,
            "this judge is nobody",
            on="key",
            label="neither `model` nor `server`",
            help="write `model: models:NAME` for a folder, or `server: {base_url: …, model: …, top_logprobs: 20}`",
        )
        return
    yield tree.diagnostic(
        "KC4878",
        f"{_FIELD}/server",
        "this judge is two models",
        on="key",
        label="a server beside a folder",
        help="remove `model` or `server`: what one of them is worth says nothing about the other",
        related=(tree.related(f"{_FIELD}/model", "the folder"),),
    )


def _telling(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """A server tells how likely each verdict is, and nothing that is longer than a token."""
    declared = spec.evaluation.judge
    if declared is None or declared.server is None:
        return
    written = declared.server.top_logprobs
    if written < len(VERDICTS):
        key = f"{_FIELD}/server/top_logprobs"
        yield tree.diagnostic(
            "KC4879",
            key if key in tree.values else f"{_FIELD}/server",
            "this server would not say how likely each verdict is",
            on="value" if key in tree.values else "key",
            label=f"{written} likeliest tokens for the {len(VERDICTS)} verdicts {', '.join(VERDICTS)}"
            if written
            else "no `top_logprobs`: it is asked for texts alone",
            help="write `top_logprobs: 20`, or the most that the server gives; a verdict that is not among the "
            "likeliest stops the step",
        )
    for read in readable(spec.data, world):
        wrong = [row for row in taken(spec, read, TEST, declared.rows) if row.response in CLAUSES]
        if wrong:
            yield tree.diagnostic(
                "KC4837",
                f"{_FIELD}/rows" if declared.rows is not None else f"{_FIELD}/server",
                f"a judge behind a server cannot answer {len(wrong):,} of the rows that it is evaluated by",
                on="key",
                label=f"{wrong[0].place}: {wrong[0].response!r} is of several tokens, and the server tells how likely "
                "the first is",
                help="name with `rows: {source: …}` pairs that ask for the verdict, not for the clause, or take a "
                "folder for a judge",
            )


CHECKS = (
    Check(_one, "evaluation"),
    Check(_asked, "evaluation", "teacher"),
    Check(_rows, "evaluation", "data"),
    Check(_telling, "evaluation", "data"),
)
