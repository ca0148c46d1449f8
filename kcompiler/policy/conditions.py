"""`when` of a rule × a spec → whether the rule is for it, and why not; and what is wrong where it is for no spec.

A condition is checked against the schema of a spec, and with the others beside it and the tiers of its pack: one that
can never hold would switch a rule off for everybody, and nobody would notice.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

from kcompiler import assets, tables
from kcompiler.diagnostic import Diagnostic, did_you_mean, suggest
from kcompiler.policy import path, shape
from kcompiler.policy.kind import NUMBER
from kcompiler.policy.load import LoadedPack, LoadedRule, available
from kcompiler.policy.rule import When, written
from runtime import catalog

_PACKS = path.parse("policies[*]")


def applies(pack: LoadedPack, loaded: LoadedRule, spec_values: Mapping[str, Any]) -> tuple[str, Diagnostic | None]:
    """Why the rule is not for this spec, or "" where it is; and what is wrong with its conditions, if anything is."""
    silent, slip = "", None
    for pointer, when in loaded.rule.conditions:
        unmet, problem = _met(loaded, pointer, when, spec_values)
        if problem is not None and problem.severity == "error":
            return "", problem
        silent, slip = silent or unmet, slip or problem
    return silent, next(_contradictions(pack, loaded), slip)


def _contradictions(pack: LoadedPack, loaded: LoadedRule) -> Iterator[Diagnostic]:
    """Conditions that cannot all hold, and one that no spec of the pack's tiers can meet."""
    conditions = loaded.rule.conditions
    for (_, first), (pointer, second) in itertools.combinations(conditions, 2):
        if said := _apart(first, second) or _apart(second, first):
            yield _unmet(loaded, pointer, said, "remove one of them, or make two rules")
    tiers = [str(one) for one in pack.pack.risk_tiers]
    for pointer, when in conditions:
        if when.spec == "risk_tier" and when.has is not None and not set(when.texts) & set(tiers):
            said = f"the pack is for risk tier {', '.join(tiers)}, and the rule for {', '.join(when.texts)}"
            yield _unmet(loaded, f"{pointer}/has", said, "widen `risk_tiers` in pack.yaml, or correct the rule's tier")


def _apart(first: When, second: When) -> str:
    """Why these two can never both hold, or ""."""
    if first.some is False and (second.some or second.has is not None) and _below(second.spec, first.spec):
        return f"there must be nothing at `{first.spec}`, and something at `{second.spec}`"
    one = all(isinstance(step, path.Field) for step in path.parse(first.spec).steps)
    if one and first.spec == second.spec and first.texts and second.texts and not set(first.texts) & set(second.texts):
        return f"`{first.spec}` cannot be {' or '.join(first.texts)}, and {' or '.join(second.texts)} as well"
    return ""


def _below(spec: str, above: str) -> bool:
    return spec == above or spec.startswith((f"{above}.", f"{above}["))


def _met(loaded: LoadedRule, pointer: str, when: When, spec_values: Mapping[str, Any]) -> tuple[str, Diagnostic | None]:
    """Why this condition does not hold, or ""."""
    parsed = path.parse(when.spec)
    values = [match.value for match in path.walk(parsed, spec_values) if not match.missing]
    places = _of_spec(parsed)
    if isinstance(places, shape.Lost) and not values:
        return "", no_field(loaded, f"{pointer}/spec", when.spec, places)
    if when.some is not None:
        there = any(value not in (None, [], {}, "") for value in values)
        said = f"`{when.spec}` is {'there' if there else 'not there'}"
        return "" if when.some is there else said, None
    nodes = [] if isinstance(places, shape.Lost) else shape.forms(places)
    for kind, way in (("array", "[*]"), ("object", ".<key>")):
        if any(node.get("type") == kind for node in nodes) or any(isinstance(value, _JSON[kind]) for value in values):
            return "", _unmet(loaded, f"{pointer}/spec", f"`{when.spec}` is {_SAID[kind]}", f"write `{when.spec}{way}`")
    found = {written(value) for value in values}
    # which packs there are no schema says, and the folders do
    packs = _packs(loaded) if parsed.steps == _PACKS.steps and not found.issuperset(when.texts) else []
    for text in when.texts:
        can = text in packs if packs else any(possible(node, text) for node in nodes)
        if text not in found and nodes and not can:
            known = packs or sorted({name for node in nodes for name in names(node)})
            said = f"`{when.spec}` can never be `{text}`"
            return "", _unmet(loaded, f"{pointer}/has", said, did_you_mean(text, known) if known else _wants(nodes))
    if not found.isdisjoint(when.texts):
        return "", None
    said = f"`{when.spec}` is {', '.join(sorted(found)) or 'not there'}, not {' or '.join(when.texts)}"
    open_ = [text for text in when.texts if text not in packs]
    slips = [(text, near) for text in open_ if (near := _slip(text, found - {""}, nodes))]
    return said, next((_near(loaded, f"{pointer}/has", when.spec, *one) for one in slips), None)


def _packs(loaded: LoadedRule) -> list[str]:
    """The packs that a spec can name: those that lie beside the one of this rule, and the shipped ones."""
    deep = loaded.tree.file.count("/") - 1  # policies/<pack>/<rule>/rule.yaml; the name of a pack may have parts
    return available([loaded.folder.parents[deep - 1], assets.folder("policies")])


def _slip(text: str, found: Iterable[str], nodes: Sequence[Mapping[str, Any]]) -> str:
    """Of names that a spec gives: the one of this spec that a text may be a slip of, ""  where there is none. Names
    that differ in their numbers, or in a word of one or two letters, are two names on purpose."""
    if any(names(node) or node.get("type") != "string" for node in nodes):
        return ""
    return next((one for one in suggest(text, found) if _words_of(one) != _words_of(text)), "")


def _words_of(text: str) -> list[str]:
    return [word for word in re.split(r"[^a-z]+", text.casefold()) if len(word) > 2]


def _near(loaded: LoadedRule, pointer: str, spec: str, text: str, near: str) -> Diagnostic:
    return loaded.tree.diagnostic(
        "KC6027",
        pointer,
        f"this spec has `{near}` at `{spec}`, and the rule is for `{text}`",
        severity="warning",
        label="the rule does not apply",
        help=did_you_mean(text, [near]),
        notes=("where another spec has it, nothing is wrong",),
    )


@lru_cache(maxsize=256)
def _of_spec(parsed: path.Path) -> list[shape.Place] | shape.Lost:
    """Where in the schema of a spec a path leads: many rules ask for the same few."""
    return shape.follow(parsed, shape.of_spec())


_JSON: Mapping[str, type] = {"array": list, "object": dict}
_SAID: Mapping[str, str] = {"array": "a list", "object": "an object"}


def names(node: Mapping[str, Any]) -> list[str]:
    """The values that a schema enumerates; of names of plug-ins, those that are installed here; of machines, those of
    which figures are known."""
    listed = [written(one) for one in node.get("enum", [node["const"]] if "const" in node else [])]
    listed += sorted(tables.hardware().profiles) if node.get("x-table") == "hardware" else []
    return [*listed, *catalog.names(node["x-room"])] if "x-room" in node else listed


def says(node: Mapping[str, Any]) -> bool:
    """Whether a schema says what may stand there at all."""
    return bool(names(node)) or "type" in node


def possible(node: Mapping[str, Any], text: str) -> bool:
    """Whether a value that is written like this satisfies the schema."""
    if listed := names(node):
        return text in listed
    types = node.get("type", [])
    number = Fraction(text) if re.fullmatch(NUMBER, text) else None
    for kind in [types] if isinstance(types, str) else types:
        if kind == "string":
            return _fits(node, text)
        if kind == "boolean" and text in ("true", "false"):
            return True
        if number is not None and (kind == "number" or (kind == "integer" and number.denominator == 1)):
            return _within(node, number)
    return False


def _fits(node: Mapping[str, Any], text: str) -> bool:
    """Whether a text is as long, and written, as the schema says."""
    long = node.get("minLength", 0) <= len(text) <= node.get("maxLength", len(text))
    return bool(long and ("pattern" not in node or re.search(node["pattern"], text)))


def _within(node: Mapping[str, Any], number: Fraction) -> bool:
    """Whether a number is between the ends of the schema, which may leave the ends themselves out."""
    ends = {name: Fraction(str(node[name])) for name in _ENDS if name in node}
    low, high = ends.get("minimum", number), ends.get("maximum", number)
    above, below = ends.get("exclusiveMinimum"), ends.get("exclusiveMaximum")
    return low <= number <= high and (above is None or number > above) and (below is None or number < below)


def _wants(nodes: Sequence[Mapping[str, Any]]) -> str:
    kinds_ = sorted({str(node["type"]) for node in nodes if isinstance(node.get("type"), str)})
    ends = [f"{word} {node[key]}" for node in nodes for key, word in _ENDS.items() if key in node]
    return " ".join([f"a spec has {' or '.join(kinds_)} there,", *ends]).rstrip(",")


_ENDS: Mapping[str, str] = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMinimum": "more than",
    "exclusiveMaximum": "less than",
}


def _unmet(loaded: LoadedRule, pointer: str, said: str, help_: str) -> Diagnostic:
    return loaded.tree.diagnostic(
        "KC6015",
        pointer,
        f"no spec can meet this condition: {said}",
        label="the rule would never apply",
        help=help_,
        notes=("schemas/spec.schema.json says what may stand there",),
    )


def no_field(loaded: LoadedRule, pointer: str, text: str, places: Sequence[shape.Place] | shape.Lost) -> Diagnostic:
    lost = places if isinstance(places, shape.Lost) else None
    return loaded.tree.diagnostic(
        "KC6011",
        pointer,
        f"the spec has nothing at `{text}`",
        label=f"no spec has `{lost.step}` there" if lost else "not in this spec",
        help=did_you_mean(lost.step, lost.known) if lost and lost.known else "look the path up in `kcompiler show`",
    )
