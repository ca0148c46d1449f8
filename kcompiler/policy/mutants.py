"""A rule → the rules somebody may have meant to write instead, each with one slip in what decides.

Derived from the params model of the rule's kind, so that a new kind has its mutants without being named here: every
choice taken the other way, every number moved by one step, every list without one of its items, every path led to a
neighbour that the report also has. What the loader refuses is no mutant, and what no report could tell apart is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from kcompiler.policy import interval, kinds, path, shape
from kcompiler.policy.cel import syntax
from kcompiler.policy.comparison import Op
from kcompiler.policy.datum import RATE, BadDatum, Datum, read
from kcompiler.policy.kind import NUMBER, UNFIXED, Closed, Kind, Read, text_of
from kcompiler.policy.load import LoadedRule

Report = Mapping[str, Any]
#: of the units that are not the rule's own, the one that a mutant speaks of
_UNITS = ("1", "item")
_STRICT = {">=": ">", ">": ">=", "<=": "<", "<": "<="}


#: Slips that are asked for only where a report with one datum changed would tell them. One in a `side` of a paired
#: comparison ends in an error, never in a pass: the pair decides. How much evidence is demanded can often be told only
#: by another whole report, whose numbers agree, and an estimate is often no evidence beside what follows from it.
UNASKED = frozenset({"side", "tag", "min_n", "rates_min_n", "min_matches"})


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One slip: `sort` is one word for what slipped, `what` says it, `change` is what differs in the obligation."""

    sort: str
    what: str
    change: Mapping[str, Any]

    @property
    def asked(self) -> bool:
        """Whether a blocking rule's cases must notice it, whatever it takes to tell it."""
        return self.sort not in UNASKED


def of(loaded: LoadedRule, report: Report | None) -> list[Mutant]:
    """Every mutant of a rule; `report` is that of its passing case, whose neighbours a path may be led to."""
    kind, params = kinds.load(loaded.rule.kind), loaded.params
    whole = params.model_dump(mode="json", by_alias=True)
    made = [_moded(word) for word in ("warn", "skip") if loaded.rule.mode == "block"]
    for sort, what, changed in _fields(loaded, kind, params, whole, report):
        if _loads(loaded, kind, changed) and not _same(params, whole, changed, loaded.rule.on):
            made.append(Mutant(sort=sort, what=what, change={"params": changed}))
    return list({str(one.change): one for one in made}.values())


def _moded(word: str) -> Mutant:
    reason = "a slip" if word == "skip" else ""
    return Mutant(sort="mode", what=f"mode {word} in place of block", change={"mode": word, "reason": reason})


def _loads(loaded: LoadedRule, kind: Kind, params: Mapping[str, Any]) -> bool:
    """Whether the loader would let a rule with these params pass: what it refuses needs no case."""
    try:
        typed = kind.params.model_validate(params)
    except ValidationError:
        return False
    if kind.expects(typed) != (loaded.rule.expect is not None) or kind.other(typed) != kind.other(loaded.params):
        return False
    about = [one for one in shape.kinds() if loaded.rule.covers(one)] or [loaded.rule.on]
    return not any(kind.faults(typed, one, UNFIXED) for one in about if _faulty(kind, typed, one)) and all(
        _leads(loaded, one) for one in kind.reads(typed)
    )


def _faulty(kind: Kind, params: Closed, about: str) -> bool:
    return any(True for _ in kind.faults(params, about, UNFIXED))


def _leads(loaded: LoadedRule, read_: Read) -> bool:
    """As the loader asks it: the path leads to what the kind can read, in the unit that the rule names."""
    for name in [read_.of] if read_.of else [one for one in shape.kinds() if loaded.rule.covers(one)]:
        start = shape.of_report(name)
        if start is None:
            continue
        found = shape.follow(path.parse(read_.text), start)
        if isinstance(found, shape.Lost):
            return False
        if read_.leaves and not any(shape.reads(one, read_.leaves) for one in found):
            return False
        units = shape.units(found)
        if read_.unit and units and units != {read_.unit}:
            return False
    return True


Slip = tuple[str, str, dict[str, Any]]


def _fields(
    loaded: LoadedRule, kind: Kind, params: BaseModel, whole: dict[str, Any], report: Report | None
) -> Iterator[Slip]:
    """(sort, what, params with one slip)."""
    paths = {read_.key for read_ in kind.reads(loaded.params)}
    for name, field in type(params).model_fields.items():
        value = whole.get(name)
        for sort, what, other in _values(name, field.annotation, value, loaded, report, paths):
            yield sort, what, {**whole, name: other}
        nested = getattr(params, name)
        if isinstance(nested, BaseModel):
            for sort, what, other in _fields(loaded, kind, nested, nested.model_dump(mode="json"), None):
                yield sort, f"{name}.{what}", {**whole, name: other}


def _values(
    name: str, annotation: Any, value: Any, loaded: LoadedRule, report: Report | None, paths: set[str]
) -> Iterator[tuple[str, str, Any]]:
    """(sort, what, another value) of one key."""
    if value is None or isinstance(value, dict):
        return
    if isinstance(value, bool):
        yield name, f"{name} {not value}", not value
    elif options := _options(annotation):
        sort = "operator" if name == "op" else name
        yield from ((sort, f"{name} {one} in place of {value}", one) for one in options if one != value)
    elif isinstance(value, int):
        if _optional(annotation):
            yield name, f"no {name}", None
        else:
            yield from ((name, f"{name} {value + by} in place of {value}", value + by) for by in (-1, 1))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if len(value) > 1 or name not in paths:
                yield "path", f"{name} without {item}", [*value[:index], *value[index + 1 :]]
            for other in _neighbours(item, report) if name in paths else ():
                yield "path", f"{name} {other} in place of {item}", [*value[:index], other, *value[index + 1 :]]
    elif name == "unit":
        other = next(one for one in _UNITS if one != value)
        yield "unit", f"unit {other} in place of {value}", other
    elif isinstance(value, str) and re.fullmatch(NUMBER, value):
        for other in _stepped(loaded, Fraction(value), value, report):
            yield "threshold", f"{name} {other} in place of {value}", other
    elif name in paths and loaded.rule.kind == "assert":
        yield from (("expression", what, text) for what, text in _expressions(value, report))
    elif isinstance(value, str) and name in paths:
        paired = name != "paired" and getattr(loaded.params, "paired", None) is not None
        sort = "side" if paired else "path"
        yield from ((sort, f"{name} {other} in place of {value}", other) for other in _neighbours(value, report))
        if _optional(annotation):
            yield "path", f"no {name}", None


def _parts(annotation: Any) -> tuple[Any, ...]:
    return _parts(get_args(annotation)[0]) if get_origin(annotation) is Annotated else get_args(annotation)


def _options(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _optional(annotation: Any) -> bool:
    return type(None) in _parts(annotation)


def _neighbours(text: str, report: Report | None) -> Iterator[str]:
    """The same path with one name in it that stands beside the one that was written, in the report of a case; with one
    name in the place of all, or all in the place of one."""
    if report is None:
        return
    steps = path.parse(text).steps
    for index, step in enumerate(steps):
        above = [match.value for match in path.walk(path.Path("", steps[:index]), report["data"]) if not match.missing]
        if isinstance(step, path.Where):
            yield _joined(steps, index, path.Every())
            keys = {str(item[step.key]) for one in above if isinstance(one, list) for item in one if step.key in item}
            yield from (_joined(steps, index, path.Where(step.key, one)) for one in sorted(keys - {step.value}))
            continue
        names = sorted({key for one in above if isinstance(one, dict) for key in one})
        names = [one for one in names if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", one)]
        if isinstance(step, path.Field):
            yield from (_joined(steps, index, path.Field(one)) for one in names if one != step.name)
        elif isinstance(step, path.Values):
            yield from (_joined(steps, index, path.Field(one)) for one in names[:1])


_Steps = tuple[path.Field | path.Every | path.Values | path.Where, ...]


def _joined(steps: _Steps, index: int, other: path.Field | path.Every | path.Where) -> str:
    parts = []
    for at, step in enumerate([*steps[:index], other, *steps[index + 1 :]]):
        if isinstance(step, path.Field):
            parts.append(f".{step.name}" if at else step.name)
        elif isinstance(step, path.Where):
            parts.append(f"[?{step.key}={step.value}]")
        else:
            parts.append(".*" if isinstance(step, path.Values) else "[*]")
    return "".join(parts)


def _stepped(loaded: LoadedRule, limit: Fraction, written: str, report: Report | None) -> list[str]:
    """The number moved to both sides: by one item of those that stand behind the datum, else by its last digit."""
    whole = loaded.params.model_dump(mode="json", by_alias=True)
    data = _data(loaded, report)
    if whole.get("unit") == RATE and "on" in whole and data:
        return [text_of(one) for one in _by_item(limit, whole["op"], whole["on"], data[0]) if one is not None]
    step = Fraction(1, 10 ** len(written.partition(".")[2]))
    if whole.get("unit") == RATE and data and data[0].n:
        step = Fraction(1, data[0].n)
    return [_number(limit - step), _number(limit + step)]


def _number(value: Fraction) -> str:
    """As a rule may write it: exact where it is short, else nine decimals."""
    shown = text_of(value)
    return shown.lstrip("~") if "~" not in shown else text_of(Fraction(round(value * 10**9), 10**9))


def _data(loaded: LoadedRule, report: Report | None) -> list[Datum]:
    found = []
    for one in kinds.load(loaded.rule.kind).reads(loaded.params):
        for match in path.walk(path.parse(one.text), report["data"]) if report is not None and not one.of else ():
            try:
                found.append(read(match.value))
            except BadDatum:
                continue
    return [one for one in found if one.k is not None and one.n]


def _by_item(limit: Fraction, op: Op, on: str, datum: Datum) -> list[Fraction | None]:
    """The limits at which one item more, and one fewer, of the datum's n passes."""
    assert datum.n is not None
    n = datum.n

    def seen(k: int) -> Fraction | None:
        if not 0 <= k <= n:
            return None
        value = Fraction(k, n) if on == "point" else interval.lower(k, n) if on == "low" else interval.upper(k, n)
        return Fraction(round(value * 10**9), 10**9)

    upwards = op in (">=", ">")
    passing = [k for k in range(n + 1) if inside(op, on, k, n, limit)]
    if not passing or op == "==":
        return [limit - Fraction(1, n), limit + Fraction(1, n)]
    edge = passing[0] if upwards else passing[-1]
    return [seen(edge - 1), seen(edge + 1)]


def inside(op: Op, on: str, k: int, n: int, limit: Fraction) -> bool:
    from kcompiler.policy.comparison import holds

    value = Fraction(k, n) if on == "point" else interval.lower(k, n) if on == "low" else interval.upper(k, n)
    return holds(op, value, limit)


def _expressions(text: str, report: Report | None) -> Iterator[tuple[str, str]]:
    """An expression with one slip: a comparison, a number, one of its conditions left out."""
    for node in _nodes(syntax.parse(text)):
        if isinstance(node, syntax.Binary) and node.op in (">=", "<=", ">", "<", "==", "!=", "&&", "||"):
            between = slice(node.left.end, node.right.at)
            at = node.left.end + text[between].find(node.op)
            swaps = {"==": ("!=",), "!=": ("==",), "&&": ("||",), "||": ("&&",)}
            for op in swaps.get(node.op, tuple(one for one in (">=", "<=", ">", "<") if one != node.op)):
                yield f"`{op}` in place of `{node.op}`", text[:at] + op + text[at + len(node.op) :]
        if isinstance(node, syntax.Literal) and isinstance(node.value, int | Fraction):
            written = text[node.at : node.end]
            if isinstance(node.value, bool) or not re.fullmatch(NUMBER, written):
                continue
            step = Fraction(1, 10 ** len(written.partition(".")[2]))
            for other in (Fraction(written) - step, Fraction(written) + step):
                shown = text_of(other) if "." not in written or "." in text_of(other) else f"{text_of(other)}.0"
                yield f"{shown} in place of {written}", text[: node.at] + shown + text[node.end :]


def _nodes(tree: Any) -> Iterator[Any]:
    yield tree
    for value in vars(tree).values():
        for one in value if isinstance(value, tuple) else [value]:
            if hasattr(one, "at") and hasattr(one, "end"):
                yield from _nodes(one)


def _same(params: Closed, whole: Mapping[str, Any], changed: Mapping[str, Any], kind: str) -> bool:
    """Whether no report could tell the two apart: a bound that the domain of the number already is."""
    was, now = whole.get("op"), changed.get("op")
    if whole.get("min_matches") != changed.get("min_matches"):
        texts = whole.get("metric", whole.get("at", []))
        # a name leads to one place or to none, and none is never a pass
        return all(isinstance(step, path.Field) for text in texts for step in path.parse(text).steps)
    if was is None or "metric" not in whole:
        return False
    lowest, highest = _domain(kind, whole)
    limit = whole.get("threshold")
    if limit is None or was == now:
        return False
    edge = Fraction(str(limit))
    if whole.get("unit") == RATE and whole.get("on", "point") != "point" and _STRICT.get(str(was)) == now:
        return True  # nine decimals of an end of counts are never exactly a limit
    pair = {str(was), str(now)}
    return (pair == {"==", "<="} and lowest == edge) or (pair == {"==", ">="} and highest == edge)


def _domain(kind: str, whole: Mapping[str, Any]) -> tuple[Fraction | None, Fraction | None]:
    """The least and the largest number that the schema lets stand at the rule's paths."""
    start = shape.of_report(kind)
    texts: Sequence[str] = whole["metric"] if isinstance(whole["metric"], list) else [whole["metric"]]
    found = [] if start is None else [shape.follow(path.parse(text), start) for text in texts]
    ends = [shape.range_of(places) for places in found if not isinstance(places, shape.Lost)]
    if not ends or len(ends) < len(texts):
        return None, None
    lows, highs = {low for low, _ in ends}, {high for _, high in ends}
    return (lows.pop() if len(lows) == 1 else None), (highs.pop() if len(highs) == 1 else None)
