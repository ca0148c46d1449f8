"""An expression over the report's data → true, or the part of it that is not.

The language is a strict subset of CEL (`kcompiler/policy/cel`): `report` is the data of the rule's report, `other` that
of the kind that `of` names. What other kinds say shorter is written with them; this one is for what they cannot say.
The expression is read as the list of its `&&`: the first that is not true decides, and what it compared is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

from pydantic import Field

from kcompiler.policy import cel, path, shape
from kcompiler.policy.cel import vacuous
from kcompiler.policy.cel.evaluate import At, Run
from kcompiler.policy.cel.syntax import Binary, Call, Literal, Node, Unary
from kcompiler.policy.cel.types import BOOL, Thing, Type, said
from kcompiler.policy.comparison import Need, Op, distance, rates_floored
from kcompiler.policy.kind import UNFIXED, Closed, Fault, Fixed, Judged, Kind, Read, broken, lacking, text_of

_COMPARISONS: Mapping[str, Op] = {"<": "<", "<=": "<=", ">": ">", ">=": ">=", "==": "=="}
#: fields of a datum: what a rule reads of a report is the datum
_FIELDS = ("value", "unit", "tag", "n", "k", "low", "high", "tp", "fp", "fn", "by", "reason")


class Params(Closed):
    """`that` must be true; `of` is the kind of a second report, which it may read as `other`."""

    that: str = Field(min_length=1)
    of: str = Field(default="", pattern=r"^([a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*)?$")
    #: of each datum that is read
    need: Need = Need()
    #: of each rate that is read, the least number of items behind it; fewer are inconclusive
    rates_min_n: int | None = Field(default=None, ge=1)


def _variables(kind: str, of: str, fixed: Fixed) -> dict[str, Type]:
    """What stands in a report of each kind, in those of a plan that fixes these names.

    Raises Refused where there is no schema to say so.
    """
    found: dict[str, Type] = {}
    for name, one in (("report", kind), ("other", of)):
        if not one:
            continue
        place = shape.of_report(one, fixed.get(one, {}))
        if place is None:
            raise cel.Refused("schema", f"no schema says what a report `{one}` holds", 0, "use another kind of check")
        found[name] = Thing((place,))
    return found


@lru_cache(maxsize=512)
def _compiled(text: str, kind: str, of: str) -> cel.Typed:
    return _typed(text, kind, of, {})


def _typed(text: str, kind: str, of: str, fixed: Fixed) -> cel.Typed:
    typed = cel.compiled(text, _variables(kind, of, fixed))
    if typed.type != BOOL:
        raise cel.Refused("types", f"a rule is true or false, and this is {said(typed.type)}", typed.tree.at)
    for name in ("report", *(["other"] if of else [])):
        if not any(read.startswith(f"{name}.") for read in typed.reads):
            raise cel.Refused("constant", f"it reads nothing of `{name}`", 0, f"name a path that begins `{name}.`")
    return typed


def faults(params: Params, kind: str, fixed: Fixed = UNFIXED) -> Iterator[Fault]:
    """What is wrong with the expression over reports of this kind: at most one."""
    try:
        if fixed:
            _typed(params.that, kind, params.of, fixed)
        else:
            _compiled(params.that, kind, params.of)
    except cel.Refused as refused:
        yield Fault("that", refused.rule, refused.message, refused.at, refused.advice)


#: whether a report makes a part false → why it asks nothing
_IDLE = {
    "never": "no report can make this false",
    "empty": "only a report that holds nothing there can make this false",
    "tried": "no report makes this false, of all that were tried",
    "doubtful": "no report was found that makes this false",
    "point": "one number of all alone makes this false, which no report holds but by chance",
}


#: how to ask for what such an expression asks at most
_THERE = {
    "never": "that something was measured at all is asked by `kind: presence`",
    "empty": "that it holds something is asked by `kind: presence` or `size(…) >= 1` alone",
    "point": "what may not be is asked by `<` and `>`",
}


def idle(params: Params, about: Sequence[str]) -> Fault | None:
    """That the expression is true of every report, or a part of it is."""
    found = vacuous.idle([_compiled(params.that, kind, params.of) for kind in about])
    if found is None:
        return None
    little = "next to nothing" if found.part.how == "point" else "nothing"
    part = "" if found.whole else f"; this part of the rule asks {little}"
    return Fault(
        "that",
        "idle",
        f"{_IDLE[found.part.how]}{part}",
        0 if found.whole else found.part.node.at,
        f"ask what can be otherwise; {_THERE.get(found.part.how, _THERE['never'])}",
        sure=found.alone and found.part.how != "doubtful",
    )


def _reads(params: Params) -> list[Read]:
    """The data it reads, as paths of rules."""
    found: dict[Read, None] = {}
    for kind in shape.kinds():
        try:
            typed = _compiled(params.that, kind, params.of)
        except cel.Refused:
            continue
        for text in typed.reads:
            name, _, place = re.sub(r"\[[A-Za-z_]\w*\]", ".*", re.sub(r"\[\d+\]", "[*]", text)).partition(".")
            above, _, last = place.rpartition(".")
            shown = above if last in _FIELDS and above else place
            if name in ("report", "other") and shown and _is_path(shown):
                found[Read("that", shown, (), params.of if name == "other" else "")] = None
    return list(found)


def _is_path(text: str) -> bool:
    """Whether the language of paths can say it: not every key of an object is a word."""
    try:
        path.parse(text)
    except path.BadPath:
        return False
    return True


def _parts(node: Node) -> list[Node]:
    if isinstance(node, Binary) and node.op == "&&":
        return [*_parts(node.left), *_parts(node.right)]
    return [node]


def _told(run: Run, node: Node) -> tuple[Fraction, str, str]:
    """Of a comparison of numbers: how far inside it is, what was observed, what was asked; else zero and nothing."""
    if not isinstance(node, Binary) or node.op not in _COMPARISONS:
        return Fraction(0), "", ""
    left, right = run.value(node.left), run.value(node.right)
    if isinstance(left, bool) or isinstance(right, bool):
        return Fraction(0), "", ""
    if not isinstance(left, int | Fraction) or not isinstance(right, int | Fraction):
        return Fraction(0), "", ""
    margin = distance(_COMPARISONS[node.op], Fraction(left), Fraction(right))
    return margin, text_of(Fraction(left)), f"{node.op} {text_of(Fraction(right))}"


def _looks(node: Node) -> bool:
    """Whether the part only asks whether something is there: then evidence is missing, and nothing has failed."""
    return (isinstance(node, Call) and node.function == "has") or (isinstance(node, Binary) and node.op == "in")


def _part(run: Run, text: str, node: Node) -> Judged:
    written = " ".join(text[node.at : node.end].split())
    shown = written if len(written) <= 160 else f"{written[:157]}…"
    del run.reads[:]
    try:
        holds = run.truth(node)
        pointer = run.reads[0] if run.reads else ""
        count = len(set(run.reads))
        if not holds and _looks(node):
            return lacking(f"`{shown}`: it is not there", pointer)
        margin, observed, threshold = _told(run, node)
    except cel.Unsound as why:
        return broken(f"`{shown}`: {why.reason}", why.pointer)
    except cel.Undecided as why:
        return Judged(word="inconclusive", reason=f"`{shown}`: {why.reason}", pointer=why.pointer)
    except cel.Lacking as why:
        return lacking(f"`{shown}`: {why.reason}", why.pointer)
    there = f", with {observed}" if observed else ""
    return Judged(
        word="pass" if holds else "fail",
        reason=f"`{shown}` is {'true' if holds else 'false'}{there}",
        pointer=pointer,
        observed=observed or ("true" if holds else "false"),
        threshold=threshold or "true",
        distance=text_of(margin) if observed else "",
        matches=count,
        margin=margin,
    )


def judge(params: Params, report: Mapping[str, Any], _expect: object, other: Mapping[str, Any] | None) -> Judged:
    try:
        typed = _compiled(params.that, str(report["kind"]), params.of)
    except cel.Refused as refused:
        return broken(f"the rule cannot be read: {refused.message}")
    values = {"report": At(report["data"], "/data")}
    if params.of:
        if other is None:
            return lacking(f"no report `{params.of}`")
        values["other"] = At(other["data"], "/data")
    run = Run(typed, values, params.need, params.rates_min_n)
    least, count = None, 0
    nodes = _parts(typed.tree)
    for number, node in enumerate(nodes):
        found = _part(run, params.that, node)
        if found.word == "fail":
            rest = [_part(run, params.that, one) for one in nodes[number + 1 :]]
            failed = [one.margin for one in rest if one.word == "fail"]
            tags = frozenset().union(*(one.tags for one in rest))
            return replace(found, beside=tags, margin=min([found.margin, *failed]))
        if found.word != "pass":
            return found
        count += found.matches
        least = (
            found
            if least is None or (found.distance and (not least.distance or found.margin < least.margin))
            else least
        )
    assert least is not None
    if not count:
        return lacking("no datum was read: what it looked for is not there")
    return replace(least, matches=count)


def parts(params: Params, report: Mapping[str, Any], other: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The expression as a tree: what each part of `&&`, `||` and `!`, and each side of a comparison, came to."""
    try:
        typed = _compiled(params.that, str(report["kind"]), params.of)
    except cel.Refused:
        return []
    values = {"report": At(report["data"], "/data")}
    if params.of:
        if other is None:
            return []
        values["other"] = At(other["data"], "/data")
    return [_told_of(Run(typed, values, params.need, params.rates_min_n), params.that, typed.tree)]


def _told_of(run: Run, text: str, node: Node) -> dict[str, Any]:
    run = replace(run, steps=0, reads=[])
    try:
        value = run.value(node)
        shown = text_of(Fraction(value)) if isinstance(value, int | Fraction) and not isinstance(value, bool) else value
        came = str(shown).lower() if isinstance(value, bool) else "…" if isinstance(value, At | tuple) else str(shown)
    except (cel.Unsound, cel.Undecided, cel.Lacking) as why:
        came = f"undecided: {why.reason}"
    reads = list(dict.fromkeys(run.reads))
    below = _below(node)
    return {
        "text": _whole(" ".join(text[node.at : node.end].split())),
        "value": came,
        "reads": reads,
        "parts": [_told_of(run, text, one) for one in below],
    }


def _whole(shown: str) -> str:
    """A part with the brackets around its ends, which belong to no part of their own."""
    opened = shown.count("(") - shown.count(")")
    return "(" * -opened + shown + ")" * opened


def _below(node: Node) -> list[Node]:
    """The parts that a person wants to see by themselves; a literal says what it is."""
    if isinstance(node, Binary) and (node.op in ("&&", "||") or node.op in _COMPARISONS or node.op == "!="):
        return [one for one in (node.left, node.right) if not isinstance(one, Literal)]
    return [node.of] if isinstance(node, Unary) and node.op == "!" else []


KIND = Kind(
    name="assert",
    measures=None,
    version=1,
    params=Params,
    judge=judge,
    reads=_reads,
    faults=faults,
    idle=idle,
    parts=parts,
    other=lambda params: str(params.of),
    floored=rates_floored,
)
