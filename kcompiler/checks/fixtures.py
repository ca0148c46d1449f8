"""What tools are answered from, against the registry and the suites that need it."""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.checks.responses import judged
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts import registry
from kcompiler.facts.paths import kind, located, wrong_path
from kcompiler.facts.rows import readable
from kcompiler.source import Tree
from kcompiler.spec import Spec
from runtime import catalog
from runtime.contract import Refusal, scenario
from runtime.contract import fixtures as reader

#: further lines and rows that a message names
_NAMED = 3


def _folder(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """The folder is one of fixtures, made for this registry."""
    written = spec.data.fixtures
    if not written:
        return
    wrong = list(wrong_path(tree, world, "/data/fixtures", written, folder=True))
    path, tools = located(written, world), located(spec.data.tools, world) if spec.data.tools else None
    if wrong or path is None or kind(path) != "folder":
        yield from wrong
        return
    found: list[Refusal] = []
    known = registry.tools(tools) if tools is not None and kind(tools) == "file" else ()
    try:
        reader.load(path, known, place=written, wrong=found)
    except Refusal as refusal:
        found.append(refusal)
    if found:
        yield tree.diagnostic(
            "KC4840",
            "/data/fixtures",
            f"the fixtures cannot answer: {found[0].message}",
            label=f"{found[0].place} ({found[0].code})",
            help=found[0].action,
            notes=tuple(f"{one.place}: {one.message}" for one in found[1 : 1 + _NAMED]),
        )


def _answered(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """A suite that lets models call tools is answered from somewhere, and what answers is asked."""
    asking = [i for i, suite in enumerate(spec.evaluation.suites) if catalog.load("suites", suite.use).answered]
    if asking and not spec.data.fixtures:
        yield tree.diagnostic(
            "KC4841",
            f"/evaluation/suites/{asking[0]}/use",
            f"suite `{spec.evaluation.suites[asking[0]].use}` lets models call tools, and nothing answers them",
            label="no fixtures",
            help="record them (kcompiler fixtures record), and name their folder in data.fixtures",
            related=(tree.related("/data", "no `fixtures` here", "key"),),
        )
    if spec.data.fixtures and not asking:
        yield tree.diagnostic(
            "KC4842",
            "/data/fixtures",
            "no suite is answered from these fixtures",
            severity="warning",
            label="declared, never used",
            help="add suite scenarios, or remove data.fixtures",
        )


def _rows(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """Rows that are judged as scenarios are scenarios."""
    for i, suite in enumerate(spec.evaluation.suites):
        if not catalog.load("suites", suite.use).answered:
            continue
        for read in readable(spec.data, world):
            wrong = [(row, why) for row in judged(spec, suite, read) if (why := scenario.unfit(row.whole))]
            if wrong:
                yield tree.diagnostic(
                    "KC4843",
                    f"/evaluation/suites/{i}/use",
                    f"suite `{suite.use}` judges scenarios, and source `{read.source.name}` has other rows",
                    label=f"{wrong[0][0].place}: {wrong[0][1]}",
                    help="declare what these rows want in `wanted`, or name with `rows: {source: …}` of the suite the "
                    "source that has scenarios",
                    notes=tuple(f"{row.place}: {why}" for row, why in wrong[1 : 1 + _NAMED]),
                    related=(tree.related(f"/data/sources/{read.index}/path", "the rows come from here"),),
                )


CHECKS = (
    Check(_folder, "data"),
    Check(_answered, "data", "evaluation"),
    Check(_rows, "data", "evaluation"),
)
