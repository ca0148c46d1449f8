"""Section `evaluation.runners`: who is asked, whether it can be, and whether anybody asks."""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.checks.responses import judged
from kcompiler.diagnostic import Diagnostic, did_you_mean
from kcompiler.facts.paths import wrong_folder, wrong_path
from kcompiler.facts.rows import readable
from kcompiler.facts.runners import OWN, Way, answers, asked, by_first_tokens, ways
from kcompiler.facts.teacher import has_weights
from kcompiler.source import Tree
from kcompiler.spec import Spec
from runtime import catalog
from runtime.contract import Suite, gguf_limits, windows
from runtime.contract.architecture import Architecture
from runtime.contract.gguf_model import WRITTEN


def _names(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    seen: dict[str, Way] = {}
    for way in ways(spec):
        key = "name" if f"{way.pointer}/name" in tree.values else "use"
        if way.name in OWN:
            yield tree.diagnostic(
                "KC4835",
                f"{way.pointer}/{key}",
                f"`{way.name}` is what suites call a model of this spec",
                label="items would not say whose they are",
                help=f"call it otherwise, such as `name: {way.name}-{way.kind.name}`",
            )
        elif way.name in seen:
            yield tree.diagnostic(
                "KC4411",
                f"{way.pointer}/{key}",
                f"two runners are called `{way.name}`",
                label="again",
                help="give each its own name",
                related=(tree.related(f"{seen[way.name].pointer}/use", "the first"),),
            )
        seen.setdefault(way.name, way)


def _named(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """What suites say of runners: each is declared, and can do what the suite asks."""
    known = {way.name: way for way in ways(spec)}
    for i, suite in enumerate(spec.evaluation.suites):
        declared: Suite = catalog.load("suites", suite.use)
        for j, name in enumerate(suite.runners or ()):
            way = known.get(name)
            if way is None:
                yield tree.diagnostic(
                    "KC4836",
                    f"/evaluation/suites/{i}/runners/{j}",
                    f"no further runner is called `{name}`",
                    label="a model of this spec is asked without being named" if name in OWN else "",
                    help=did_you_mean(name, list(known)) or "declare it in evaluation.runners, or remove it here",
                )
            elif not answers(way, declared, suite.params):
                yield tree.diagnostic(
                    "KC4837",
                    f"/evaluation/suites/{i}/runners/{j}",
                    f"a runner `{way.kind.name}` cannot answer suite `{suite.use}`",
                    label=_lacking(way, declared),
                    help="leave it out here, or take another suite",
                    related=(tree.related(f"{way.pointer}/use", "this one"),),
                )


def _lacking(way: Way, suite: Suite) -> str:
    if suite.compare is not None:
        return "it compares the answers of this spec's own models with each other"
    if way.kind.able(way.params).issuperset(suite.asks):
        return "it asks for replies of several tokens, and the server tells how likely the first is"
    needs = sorted(set(suite.asks) - way.kind.able(way.params))
    without = f"it has no `{', '.join(needs)}`"
    return f"{without} without `{way.kind.scores_by}`" if way.kind.scores_by and needs == ["score"] else without


def _briefly(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """Rows that a runner is asked by first tokens are answered by one."""
    for i, written in enumerate(spec.evaluation.suites):
        suite: Suite = catalog.load("suites", written.use)
        brief = [way for way in asked(spec, written) if by_first_tokens(way, suite)]
        if not brief or suite.replies is None:
            continue
        replies = set(suite.replies(written.params))
        for read in readable(spec.data, world):
            wrong = [row for row in judged(spec, written, read) if row.response not in replies]
            if wrong:
                yield tree.diagnostic(
                    "KC4837",
                    f"/evaluation/suites/{i}/use",
                    f"runner `{brief[0].name}` cannot answer {len(wrong):,} rows of suite `{written.name}`",
                    label=f"{wrong[0].place}: {wrong[0].response[:40]!r} is none of the first tokens that "
                    "the server is asked for",
                    help="name with `rows: {source: …}` rows that are answered by one of "
                    f"{', '.join(sorted(replies))}, or leave the runner out with `runners: []`",
                    related=(tree.related(f"{brief[0].pointer}/use", "this one"),),
                )


def _questioned(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    heard = {way.name for suite in spec.evaluation.suites for way in asked(spec, suite)}
    for way in ways(spec):
        if way.name not in heard:
            able = [name for name in catalog.names("suites") if answers(way, catalog.load("suites", name))]
            yield tree.diagnostic(
                "KC4838",
                f"{way.pointer}/use",
                f"no suite questions the runner `{way.name}`",
                label="nobody asks it",
                help=f"add a suite that it can answer ({', '.join(able)}), or remove it",
            )


def _of(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Whose answers a runner gives: of a model that is here, in a form that it has."""
    for way in ways(spec):
        at = f"{way.pointer}/of" if f"{way.pointer}/of" in tree.values else f"{way.pointer}/use"
        why = ""
        if way.of == "teacher" and not has_weights(spec):
            why = "the teacher of this spec only answers, and is questioned by no suite"
        elif way.of == "teacher" and way.from_plan == "package":
            why = "the package is the student's"
        elif way.from_plan == "gguf" and (lacking := _unwritten(spec, way.of)):
            why = lacking
        elif way.of and way.kind.forges:
            why = "it says what rows want to hear, and is nobody's answer"
        elif way.kind.forges and way.name != way.kind.name:
            # its lines are known by its name, whoever reads them later
            at, why = f"{way.pointer}/name", ""
            yield tree.diagnostic(
                "KC4839",
                at,
                f"runner `{way.kind.name}` keeps its own name",
                label="under another its lines would look like a model's answers",
                help="remove `name`",
            )
        if why:
            yield tree.diagnostic(
                "KC4839",
                at,
                f"runner `{way.name}` cannot be asked in the place of the {way.of}",
                label=why,
                help="write `of: student`" if way.of == "teacher" and way.from_plan else "remove `of`, or the runner",
            )


def _forging(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """What a runner says that computes no answer passes no gate, and so no verdict is reached."""
    for way in ways(spec):
        if way.kind.forges:
            yield tree.diagnostic(
                "KC4907",
                f"{way.pointer}/use",
                f"no verdict passes beside runner `{way.name}`",
                severity="warning",
                label="it says what each row wants to hear: its report is forged, and a gate blocks on that",
                help=f"ask it aside, `kcompiler evaluate SPEC --runner {way.kind.name} --to DIR`, and remove it before "
                "`apply`",
            )


def _recorded(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """What was recorded of a runner that computes no answer is nobody's answer either."""
    forging = {name for name in catalog.names("runners") if catalog.load("runners", name).forges}
    for way in ways(spec):
        who = getattr(way.params, "runner", None)
        if way.kind.name == "recorded" and who in forging:
            yield tree.diagnostic(
                "KC4844",
                f"{way.pointer}/runner",
                f"what runner `{who}` said is nobody's answer",
                label="it said what each row wants to hear; recorded, it would look like a model's",
                help="name a runner of that file that asked a model",
            )


def _unwritten(spec: Spec, of: str) -> str:
    """Why no GGUF file is what a model is whose architecture is declared, or ""."""
    a = spec.student.architecture if of == "student" else getattr(spec.teacher.params, "architecture", None)
    if not isinstance(a, Architecture):
        return ""
    if a.family not in WRITTEN:
        return f"a `{a.family}` has no place in a GGUF file; written are {', '.join(WRITTEN)}"
    name, layers = WRITTEN[a.family], windows.types(a) if windows.pattern(a) else []
    scaled = {} if a.rope_scaling is None else a.rope_scaling.parameters()
    return gguf_limits.rotation(name, scaled) or gguf_limits.attention(
        name, a.sliding_window, layers, tied=a.tie_word_embeddings
    )


def _places(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    for way in ways(spec):
        if way.place:
            pointer = f"{way.pointer}/{way.kind.place}"
            if way.kind.place_kind == "file":
                yield from wrong_path(tree, world, pointer, way.place, folder=False)
            else:
                yield from wrong_folder(tree, world, pointer, way.place)


CHECKS = (
    Check(_names, "evaluation"),
    Check(_named, "evaluation"),
    Check(_briefly, "evaluation", "data"),
    Check(_questioned, "evaluation"),
    Check(_of, "evaluation", "student", "teacher"),
    Check(_forging, "evaluation"),
    Check(_recorded, "evaluation"),
    Check(_places, "evaluation"),
)
