"""The graph of a plan → the names that it fixes in each report, and rules that name anything else there.

A report's schema leaves open how the steps of a run, the splits of a data set or the terms of a training are called,
and says by `x-keys` which fact of a plan it is: one of `FACTS`. A misspelt name would otherwise be found only when the
report is there, after everything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any

from kcompiler import policy
from kcompiler.diagnostic import Diagnostic
from kcompiler.graph import Graph, Node
from kcompiler.policy import kinds, reading
from runtime.contract import speed
from runtime.contract.splits import TEST, TRAIN, VALIDATION


def unnamed(graph: Graph, packs: policy.Policy, asked: Sequence[Mapping[str, Any]]) -> Iterator[Diagnostic]:
    """Every place of a rule that names what no report of this plan has."""
    rules = {rule.name: rule for pack in packs.packs for rule in pack.rules}
    for one in asked:
        loaded = rules[one["rule"]]
        if one["mode"] == "skip":
            continue
        step, other = (str(one.get(key, "")).removeprefix("step:") for key in ("from", "against"))
        kind = kinds.load(loaded.rule.kind)
        fixed = {one["report"]: names(graph, step)}
        if other:
            fixed[kind.other(loaded.params)] = names(graph, other)
        yield from reading.unnamed(
            loaded.tree, kind, loaded.params, one["report"], step, fixed, blocks=one["mode"] == "block"
        )


def names(graph: Graph, step: str) -> dict[str, Sequence[str]]:
    """Fact → the names that the plan fixes in the report of this step, of each fact that it knows; `apply` is the
    maker of the report on the run."""
    found = {fact: known for fact, ask in FACTS.items() if (known := _asked(graph, step, ask)) is not None}
    return {"steps": [node.id for node in graph.nodes], **found}


Fact = Callable[[Mapping[str, Any]], Iterable[str] | None]


def _asked(graph: Graph, step: str, ask: Fact) -> list[str] | None:
    """What the parameters of the step say, or those of the nearest step that it takes something of."""
    waiting, seen = deque([step] if step in graph else []), set[str]()
    while waiting:
        node: Node = graph[waiting.popleft()]
        known = ask(node.params)
        if known is not None:
            return sorted({*known})
        for reference in node.takes.values():
            name = reference.removeprefix("step:").partition("#")[0]
            if reference.startswith("step:") and name not in seen:
                seen.add(name)
                waiting.append(name)
    return None


def _splits(params: Mapping[str, Any]) -> Iterable[str] | None:
    """A data set has two splits always, and a third where a share or a source is kept for it."""
    if "held_out" not in params:
        return None
    third = params["validation"] or any(one["split"] == VALIDATION for one in params["sources"])
    return [TRAIN, TEST, *([VALIDATION] if third else [])]


def _sources(params: Mapping[str, Any]) -> Iterable[str] | None:
    return [one["name"] for one in params["sources"]] if "held_out" in params else None


def _terms(params: Mapping[str, Any]) -> Iterable[str] | None:
    listed = params.get("losses", params.get("terms"))
    return [one["term"] for one in listed] if isinstance(listed, list) else None


def _functions(params: Mapping[str, Any]) -> Iterable[str] | None:
    return [*(f"prefill_{length}" for length in params["prefill"]), "decode"] if "prefill" in params else None


def _runners(params: Mapping[str, Any]) -> Iterable[str] | None:
    found: Iterable[str] | None = params.get("runners", params.get("models"))
    return found


def _pairs(params: Mapping[str, Any]) -> Iterable[str] | None:
    models = params.get("models")
    return None if models is None else [f"{one} and {other}" for one, other in permutations(models, 2)]


def _prompts(params: Mapping[str, Any]) -> Iterable[str] | None:
    return [speed.named(length) for length in params["prompts"]] if "prompts" in params else None


def _categories(params: Mapping[str, Any]) -> Iterable[str] | None:
    answers = params.get("params", {}).get("answers")
    return answers if isinstance(answers, Mapping) else None


#: what stands at `x-keys` of a report's schema → the parameters of a step → the names
FACTS: Mapping[str, Fact] = {
    "splits": _splits,
    "sources": _sources,
    "terms": _terms,
    "functions": _functions,
    "runners": _runners,
    "pairs": _pairs,
    "prompts": _prompts,
    "categories": _categories,
}
#: those, and that of the steps themselves
KNOWN = ("steps", *FACTS)
