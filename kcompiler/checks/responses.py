"""What rows are answered with × who will judge it → refused here, and not by the last step of the run.

A registry of tools says which calls a row may hold, and a suite which answers it permits; a generator knows which tools
it has words for; a suite that is used twice, or for some rows only, says which.
"""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic, did_you_mean
from kcompiler.facts import registry
from kcompiler.facts.paths import kind, located
from kcompiler.facts.rows import Read, Row, readable
from kcompiler.facts.ruling import ruled_by_suites
from kcompiler.source import Tree
from kcompiler.spec import Spec
from kcompiler.spec.data import FileSource, GeneratorSource
from kcompiler.spec.evaluation import Part, Suite
from runtime import catalog
from runtime.contract import calls, toolset
from runtime.contract.rows import REJECTED

#: further rows that a message names
_NAMED = 3


#: where a suite is there that takes such rows as they are
_RULED = (
    "; rows of the benchmark of suite `{0}` are taken as they are in a source of `split: test` that no other suite "
    "reads (`rows: {{source: …}}` says which one reads)"
)


def _calls(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """Calls in rows fit the registry."""
    path = located(spec.data.tools, world) if spec.data.tools else None
    tools = registry.tools(path) if path is not None and kind(path) == "file" else ()
    valid = toolset.validators(tools) if tools else {}
    ruling = [suite for suite in spec.evaluation.suites if catalog.load("suites", suite.use).own_rules]
    for read in readable(spec.data, world):
        if ruled_by_suites(spec, read.source):
            continue
        wrong = [(row, why) for row in read.content.rows if (why := calls.why_not_row(row.whole, valid))]
        if wrong:
            own = bool(wrong[0][0].whole.get("tools"))
            yield tree.diagnostic(
                "KC4517",
                f"/data/sources/{read.index}/path",
                f"source `{read.source.name}` holds a response that is no call "
                + ("the tools beside its messages allow" if own else "the registry allows"),
                label=f"{wrong[0][0].place}: {wrong[0][1]}",
                help="correct the row, or the declaration of the tool"
                + (_RULED.format(ruling[0].name) if ruling else "")
                if "messages" in wrong[0][0].whole
                else 'write calls as tool.call{"name":…,"args":{…}}, with arguments that fit the registry',
                notes=tuple(f"{row.place}: {why}" for row, why in wrong[1 : 1 + _NAMED]),
                related=() if own else (tree.related("/data/tools", "the registry"),),
            )


def _permitted(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """Every row that a suite judges is answered by what the suite permits."""
    for i, suite in enumerate(spec.evaluation.suites):
        permits = catalog.load("suites", suite.use).permits
        if permits is None:
            continue
        permitted = list(permits(suite.params))
        for read in readable(spec.data, world):
            wrong = [row for row in judged(spec, suite, read) if row.response not in permitted]
            if wrong:
                yield tree.diagnostic(
                    "KC4518",
                    f"/evaluation/suites/{i}/use",
                    f"suite `{suite.name}` would judge rows by answers that are not theirs",
                    label=f"{wrong[0].place}: {_short(wrong[0].response)} is none of {len(permitted)}",
                    help="list the answers of these rows in the suite, or take the suite that suits them",
                    notes=(f"permitted: {', '.join(map(_short, permitted[:5]))}{', …' if permitted[5:] else ''}",),
                    related=(tree.related(f"/data/sources/{read.index}/path", "the rows come from here"),),
                )


def _judgeable(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """Every row that a suite judges by its own answer has an answer of the declared form."""
    for i, suite in enumerate(spec.evaluation.suites):
        unfit = catalog.load("suites", suite.use).unfit
        if unfit is None:
            continue
        for read in readable(spec.data, world):
            wrong = [(row, why) for row in judged(spec, suite, read) if (why := unfit(suite.params, row.response))]
            if wrong:
                yield tree.diagnostic(
                    "KC5520",
                    f"/evaluation/suites/{i}/use",
                    f"suite `{suite.name}` cannot judge {len(wrong):,} of its rows by their own answers",
                    label=f"{wrong[0][0].place}: {wrong[0][1]}: {_short(wrong[0][0].response)}",
                    help="declare the `match` these answers have, name with `rows: {source: …}` the source it is for, "
                    "or correct the rows",
                    notes=tuple(f"{row.place}: {why}" for row, why in wrong[1 : 1 + _NAMED]),
                    related=(tree.related(f"/data/sources/{read.index}/path", "the rows come from here"),),
                )


def _wanted(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """What a row declares to be right can be judged, and is what the row itself answers."""
    path = located(spec.data.tools, world) if spec.data.tools else None
    tools = registry.tools(path) if path is not None and kind(path) == "file" else ()
    for i, suite in enumerate(spec.evaluation.suites):
        misfit = catalog.load("suites", suite.use).misfit
        if misfit is None:
            continue
        for read in readable(spec.data, world):
            taken = list(judged(spec, suite, read))
            wrong = [(row, why) for row in taken if (why := misfit(row.whole, tools, suite.params))]
            if wrong:
                yield tree.diagnostic(
                    "KC4850",
                    f"/evaluation/suites/{i}/use",
                    f"suite `{suite.name}` cannot judge {len(wrong):,} of its rows by what they want",
                    label=f"{wrong[0][0].place}: {wrong[0][1]}",
                    help="correct `wanted` of these rows or their responses, or name with `rows: {source: …}` the "
                    "source it is for",
                    notes=tuple(f"{row.place}: {why}" for row, why in wrong[1 : 1 + _NAMED]),
                    related=(tree.related(f"/data/sources/{read.index}/path", "the rows come from here"),),
                )


def _asked_any(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """A suite that is asked by rows of a kind has some."""
    for i, suite in enumerate(spec.evaluation.suites):
        reads = [read for read in readable(spec.data, world) if not read.content.wrong]
        if len(reads) < len(spec.data.sources):
            continue
        rows = [row.whole for read in reads for row in judged(spec, suite, read)]
        if rows and not catalog.load("suites", suite.use).select(rows, "student", suite.params):
            yield tree.diagnostic(
                "KC4851",
                f"/evaluation/suites/{i}/use",
                f"suite `{suite.name}` would be asked none of its {len(rows):,} rows",
                label="no row declares what it asks for",
                help="declare `wanted: {facts: […]}` in rows of this split, or remove the suite",
            )


def _paired(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """Every row that a suite judges as a pair is one. A generator makes none."""
    for i, suite in enumerate(spec.evaluation.suites):
        if not catalog.load("suites", suite.use).pairs:
            continue
        reads = {read.index: read for read in readable(spec.data, world)}
        for at, source in enumerate(spec.data.sources):
            if suite.rows is not None and suite.rows.source not in (None, source.name):
                continue
            if source.split not in ("auto", suite.split):
                continue
            read = reads.get(at)
            rows = list(judged(spec, suite, read)) if read is not None else []
            wrong = [row for row in rows if REJECTED not in row.whole]
            if wrong or isinstance(source, GeneratorSource):
                part = "generator" if isinstance(source, GeneratorSource) else "path"
                yield tree.diagnostic(
                    "KC5526",
                    f"/evaluation/suites/{i}/use",
                    f"suite `{suite.name}` judges preference pairs, and source `{source.name}` has other rows",
                    label=f"{wrong[0].place}: only one answer" if wrong else "a generator makes no pairs",
                    help="map `fields: {prompt: …, chosen: …, rejected: …}` there, or name with `rows: {source: …}` of "
                    "the suite the source that has them",
                    notes=tuple(row.place for row in wrong[1 : 1 + _NAMED]),
                    related=(tree.related(f"/data/sources/{at}/{part}", "the rows come from here"),),
                )


def _answered(row: Row) -> bool:
    """Whether a row brings an answer; KC4525 says that others are not judged by."""
    return bool(row.response)


def judged(spec: Spec, suite: Suite, read: Read) -> Iterator[Row]:
    """The rows of a file that a suite will be given."""
    yield from taken(spec, read, suite.split, suite.rows)


def taken(spec: Spec, read: Read, split: str, part: Part | None) -> Iterator[Row]:
    """The rows of a file that are in a split, and in a part of it."""
    if part is not None and part.source not in (None, read.source.name):
        return
    for row in filter(_answered, read.content.rows):
        own = spec.data.shares.split_of(read.source.split, row.prompt)
        if own == split and (part is None or part.class_ in (None, row.whole["class"])):
            yield row


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:39]}…")


def _worded(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """A generator that works over tools can do so over these."""
    path = located(spec.data.tools, world) if spec.data.tools else None
    tools = registry.tools(path) if path is not None and kind(path) == "file" else ()
    for i, source in enumerate(spec.data.sources):
        if not tools or not isinstance(source, GeneratorSource):
            continue
        unfit = catalog.load("generators", source.generator).unfit
        why = unfit(tools) if unfit else ""
        if why:
            yield tree.diagnostic(
                "KC4471",
                f"/data/sources/{i}/generator",
                f"generator `{source.generator}` cannot work over this registry",
                label=why,
                help="declare only tools it knows, as they are, or bring rows of your own (kind: jsonl)",
                related=(tree.related("/data/tools", "the registry"),),
            )


def _ids(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """A suite that is used twice has two names."""
    first: dict[str, int] = {}
    for i, suite in enumerate(spec.evaluation.suites):
        if suite.name in first:
            at = f"/evaluation/suites/{i}/id" if suite.id else f"/evaluation/suites/{i}/use"
            yield tree.diagnostic(
                "KC4472",
                at,
                f"two suites are called `{suite.name}`",
                label=f"step `evaluate-{suite.name}` is taken",
                help=f"give this one an id of its own, such as `id: {suite.name}-2`",
                related=(tree.related(f"/evaluation/suites/{first[suite.name]}/use", "by this suite"),),
            )
        first.setdefault(suite.name, i)


def _parts(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """The part of the rows that a suite is for exists."""
    sources = {source.name: source for source in spec.data.sources}
    for i, suite in enumerate(spec.evaluation.suites):
        if suite.rows is None:
            continue
        at, name = f"/evaluation/suites/{i}/rows", suite.rows.source
        if name is not None and name not in sources:
            yield tree.diagnostic(
                "KC4473",
                f"{at}/source",
                f"no data source is called `{name}`",
                label=f"suite `{suite.name}` would have no rows",
                help=did_you_mean(name, sources) or f"sources: {', '.join(sources)}",
            )
        elif name is not None and sources[name].split not in ("auto", suite.split):
            yield tree.diagnostic(
                "KC4473",
                f"{at}/source",
                f"source `{name}` gives no row to the split `{suite.split}`",
                label=f"suite `{suite.name}` would have no rows",
                help="take a source of that split, or write `split: auto` there",
            )
        elif suite.rows.class_ is not None:
            reads = [read for read in readable(spec.data, world) if name in (None, read.source.name)]
            whole = len(reads) == (len(sources) if name is None else 1) and not any(r.content.wrong for r in reads)
            if whole and not any(True for read in reads for _ in judged(spec, suite, read)):
                classes = sorted({row.whole["class"] for read in reads for row in read.content.rows})
                yield tree.diagnostic(
                    "KC4473",
                    f"{at}/class",
                    f"no row of class `{suite.rows.class_}` is in the split `{suite.split}`",
                    label=f"suite `{suite.name}` would have no rows",
                    help=did_you_mean(suite.rows.class_, classes) or "take a class that rows of this split have",
                )


def _asked(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Prompts without responses are trained on only, and everything that is trained on them reads the teacher's."""
    asked = [i for i, one in enumerate(spec.data.sources) if isinstance(one, FileSource) and one.responses == "teacher"]
    for i in asked:
        if spec.data.sources[i].split != "train":
            yield tree.diagnostic(
                "KC4525",
                f"/data/sources/{i}/responses",
                "rows that are judged have an answer of their own",
                label=f"split `{spec.data.sources[i].split}`: the teacher would judge by its own opinion",
                help="write `split: train`, and judge by another source",
            )
    why = _unread(spec) if asked else None
    if why is not None:
        yield tree.diagnostic(
            "KC4524",
            f"/data/sources/{asked[0]}/responses",
            "nobody answers these prompts for everything that is trained on them",
            label=why[1],
            help=why[2],
            related=(tree.related(why[0], "here", "key"),),
        )


def _unread(spec: Spec) -> tuple[str, str, str] | None:
    """(pointer, what is wrong, what to do) where the teacher's text is not given, or not all that is learnt from."""
    if "text" not in spec.teacher.signals:
        return (
            "/teacher",
            "the teacher gives no text",
            "write `signals: [text]`: teachers of source openai and recorded answer, and those whose weights are here",
        )
    for i, stage in enumerate(spec.training.stages):
        if not any("text" in catalog.load("losses", term.term).needs for term in stage.losses):
            return (
                f"/training/stages/{i}/losses",
                f"stage `{stage.name}` learns from responses of the file",
                "train on the teacher's text in it: {term: sequence_kd, weight: 1.0}",
            )
    if "ce_only" in spec.evaluation.baselines:
        return (
            "/evaluation/baselines",
            "the baseline `ce_only` learns from responses of the file",
            "remove it: without the teacher there is nothing to learn from these rows",
        )
    return None


CHECKS = (
    Check(_asked, "data", "teacher", "training", "evaluation"),
    Check(_calls, "data", "evaluation"),
    Check(_permitted, "data", "evaluation"),
    Check(_judgeable, "data", "evaluation"),
    Check(_wanted, "data", "evaluation"),
    Check(_asked_any, "data", "evaluation"),
    Check(_paired, "data", "evaluation"),
    Check(_worded, "data"),
    Check(_ids, "evaluation"),
    Check(_parts, "data", "evaluation"),
)
