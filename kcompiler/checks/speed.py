"""Benchmarks, and what answers cost: lengths that the shapes hold, different names, and a baseline that is one."""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts.paths import located, wrong_path
from kcompiler.facts.speed import lengths_of, never_compared, not_pinned
from kcompiler.source import Tree
from kcompiler.spec import Spec
from runtime import catalog

#: methods of a runner that write
TEXTS = frozenset({"generate", "write"})
#: tokens of an answer, at least
FEWEST = 2


def _names(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    seen: dict[str, int] = {}
    for i, asked in enumerate(spec.evaluation.benchmarks):
        if asked.id in seen:
            first = f"/evaluation/benchmarks/{seen[asked.id]}"
            yield tree.diagnostic(
                "KC4880",
                f"/evaluation/benchmarks/{i}",
                f"two benchmarks are called `{asked.id}`",
                label="its step would be the other one's",
                help="give each an `id` of its own",
                related=(tree.related(first, "the first of them"),),
            )
        seen.setdefault(asked.id, i)


def _lengths(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    context, longest = spec.shapes.decode.context, max(spec.shapes.prefill)
    for i, asked in enumerate(spec.evaluation.benchmarks):
        pointer, room = f"/evaluation/benchmarks/{i}", context - asked.new_tokens
        if not lengths_of(spec, asked):
            least = min(spec.shapes.prefill)
            yield tree.diagnostic(
                "KC4882",
                pointer,
                f"no prefill leaves room for {asked.new_tokens:,} new tokens in a context of {context:,}",
                label="nothing would be measured",
                help=f"write `new_tokens: {context - least}` or fewer"
                if context - least >= FEWEST
                else "write shorter `prompts`, and `new_tokens` for which they leave room",
            )
        for j, length in enumerate(asked.prompts or ()):
            if j and length <= (asked.prompts or ())[j - 1]:
                yield tree.diagnostic(
                    "KC4884",
                    f"{pointer}/prompts/{j}",
                    "lengths of prompts ascend, each once",
                    label=f"{length:,} comes after {(asked.prompts or ())[j - 1]:,}",
                    help=f"write {sorted(set(asked.prompts or ()))}",
                )
            if length > min(longest, room):
                most = f"the longest prefill takes {longest:,}"
                if room < longest:
                    most = f"{asked.new_tokens:,} new ones leave {max(0, room):,} of the context"
                yield tree.diagnostic(
                    "KC4881",
                    f"{pointer}/prompts/{j}",
                    "a prompt of this length cannot be answered by the package",
                    label=f"{length:,} tokens, {most}",
                    help=f"write {min(longest, room)} or fewer" if room > 0 else "ask for fewer `new_tokens`",
                )


def _efficiency(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    for i, written in enumerate(spec.evaluation.suites):
        suite = catalog.load("suites", written.use)
        if written.efficiency and (suite.answered or suite.judge is not None or suite.asks.isdisjoint(TEXTS)):
            yield tree.diagnostic(
                "KC4885",
                f"/evaluation/suites/{i}/efficiency",
                f"suite `{suite.name}` has no answers whose tokens could be counted",
                label="its items are no single texts",
                help="remove this, or ask for it in a suite in which models write, such as gold",
            )


def _baseline(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    for i, asked in enumerate(spec.evaluation.benchmarks):
        if asked.baseline is None:
            continue
        pointer = f"/evaluation/benchmarks/{i}/baseline"
        wrong = list(wrong_path(tree, world, pointer, asked.baseline, folder=False))
        yield from wrong
        path = located(asked.baseline, world)
        if wrong or path is None:
            continue
        if why := not_pinned(path):
            yield tree.diagnostic(
                "KC4883",
                pointer,
                "nothing can be compared with this baseline",
                label=why,
                help="take this line out, measure, and pin that: kcompiler bench SPEC --pin PATH",
            )
        elif apart := never_compared(spec, asked, path):
            yield tree.diagnostic(
                "KC4895",
                pointer,
                "this baseline was not measured as this benchmark is",
                label=apart[0],
                help="ask for what it has; or take this line out, pin what is asked now, and write it again: "
                "kcompiler bench SPEC --pin PATH",
                notes=tuple(apart[1:]),
            )


CHECKS = (
    Check(_efficiency, "evaluation"),
    Check(_names, "evaluation"),
    Check(_lengths, "evaluation", "shapes"),
    Check(_baseline, "evaluation", "shapes", "execution"),
)
