"""A rule × the schema of the reports that it reads → where it names what they do not hold, at its line.

Asked when a pack is loaded, of what every report of a kind holds; and again of a plan, which fixes names that a schema
leaves open: its steps, its splits, the terms of a training (`x-keys` in the schemas says which).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from kcompiler import source
from kcompiler.diagnostic import Diagnostic, at, did_you_mean
from kcompiler.policy import path, shape
from kcompiler.policy.kind import UNFIXED, Fault, Fixed, Kind, Read
from kcompiler.policy.rule import Rule

#: a name that no report of this plan has
UNNAMED = "KC6027"


def wrong(tree: source.Tree, rule: Rule, kind: Kind, params: Any) -> list[Diagnostic]:
    """What a rule names that no report has which it is about, or that its kind of check cannot read."""
    about = [one for one in shape.kinds() if rule.covers(one)] or [rule.on]
    faults = dict.fromkeys(fault for one in about for fault in kind.faults(params, one, UNFIXED))
    if faults:
        return [_faulty(tree, fault) for fault in faults]
    idle = kind.idle(params, about)
    misread = [found for one in kind.reads(params) for found in _misread(tree, rule, one)]
    return misread if idle is None else [_faulty(tree, idle), *misread]


def unnamed(
    tree: source.Tree, kind: Kind, params: Any, report: str, step: str, fixed: Fixed, *, blocks: bool
) -> Iterator[Diagnostic]:
    """What a rule without such faults names that a plan fixes otherwise: in the report of this kind that the step
    makes. `fixed`: kind of report → the names in that of this plan."""
    faults = list(kind.faults(params, report, fixed))
    for fault in faults:
        yield replace(
            _faulty(tree, fault), code=UNNAMED, severity="error" if blocks else "warning", notes=_why(report, step)
        )
    for read in () if faults else kind.reads(params):
        name = read.of or report
        start = shape.of_report(name, fixed.get(name, {}))
        found = None if start is None else shape.follow(path.parse(read.text), start)
        if isinstance(found, shape.Lost):
            yield tree.diagnostic(
                UNNAMED,
                _written(tree, read),
                f"the report `{name}` of this plan has nothing at `{read.text}`",
                severity="error" if blocks else "warning",
                label=f"no `{found.step}` is there",
                help=did_you_mean(found.step, found.known) or "remove the path: nothing of the kind is in this plan",
                notes=_why(name, "" if read.of else step),
            )


def _why(report: str, step: str) -> tuple[str, ...]:
    by = f"step `{step}` makes it; " if step else ""
    return (f"{by}what a plan fixes of it is called `{shape.KEYS}` in schemas/report.{report}.schema.json",)


#: why an expression is refused → the code of that cause
_FAULTS = {
    "absent": "KC6041", "path": "KC6041", "name": "KC6041", "word": "KC6041", "constant": "KC6041", "schema": "KC6041",
    "types": "KC6042", "mixed": "KC6042", "unit": "KC6042", "division": "KC6042", "index": "KC6042",
    "function": "KC6042", "compare": "KC6004", "nothing": "KC6043", "empty": "KC6043", "idle": "KC6060",
}  # fmt: skip


def _faulty(tree: source.Tree, fault: Fault) -> Diagnostic:
    """An expression that a gate must not rest on, at the place in its text."""
    pointer = f"/params/{fault.key}" if fault.key else "/kind"
    text = str(tree.get(pointer))
    place = tree.place(pointer, "value")
    shown = " ".join(text[fault.at : fault.at + 40].split()) or "the end"
    within = tree.written(pointer).find(text)
    if place.line == place.end_line and within >= 0:  # written as it is: the place is a character of the line
        offset = within + fault.at
        width = min(len(shown), place.end - place.start - offset) or 1
        place = place._replace(
            column=place.column + offset,
            start=place.start + offset,
            end_column=place.column + offset + width,
            end=place.start + offset + width,
        )
    return at(
        place,
        code=_FAULTS.get(fault.rule, "KC6040"),
        severity="error" if fault.sure else "warning",
        summary=fault.message,
        file=tree.file_of(pointer),
        pointer=pointer,
        label=f"here: `{shown}`",
        help=fault.advice,
    )


def _misread(tree: source.Tree, rule: Rule, read: Read) -> Iterator[Diagnostic]:
    """A path that leads nowhere in the report it is about, by that report's schema, or to what the kind cannot read."""
    for kind in [read.of] if read.of else [one for one in shape.kinds() if rule.covers(one)]:
        start = shape.of_report(kind)
        if start is None:
            continue
        found = shape.follow(path.parse(read.text), start)
        if isinstance(found, shape.Lost):
            label, help_ = f"`{found.step}` is not in it", did_you_mean(found.step, found.known)
        elif read.leaves and not any(shape.reads(one, read.leaves) for one in found):
            label, help_ = "something else stands there", f"name a path that leads to a {read.leaves[0]}"
        elif read.unit and (units := shape.units(found)) and units != {read.unit}:
            yield _other_unit(tree, read, kind, units)
            continue
        else:
            continue
        yield tree.diagnostic(
            "KC6014",
            _written(tree, read),
            f"no report `{kind}` has a {read.leaves[0] if read.leaves else 'place'} at `{read.text}`",
            label=label,
            help=help_,
            notes=(f"schemas/report.{kind}.schema.json says what such a report holds",),
        )


def _other_unit(tree: source.Tree, read: Read, kind: str, units: set[str]) -> Diagnostic:
    """A rule speaks of one unit and the report of another: it would be an error at every run, after everything."""
    several = len(units) > 1
    shown = ", ".join(f"`{one}`" for one in sorted(units))
    return tree.diagnostic(
        "KC6020",
        "/params/unit",
        f"`{read.text}` of report `{kind}` is {'in several units' if several else f'in {shown}'}, "
        f"the rule speaks of `{read.unit}`",
        label=f"there: {shown}" if several else "another unit",
        help="make a rule for each of them" if several else f"write `unit: {_plain(units)}`, and a threshold in it",
        notes=(f"schemas/report.{kind}.schema.json says what such a report holds",),
    )


def _plain(units: set[str]) -> str:
    """The unit as YAML has it: the pure number's is a text."""
    (unit,) = units
    return f'"{unit}"' if unit.isdigit() else unit


def _written(tree: source.Tree, read: Read) -> str:
    """Where the path stands: one of several, or the only one."""
    pointer = f"/params/{read.key}"
    value = tree.get(pointer)
    return source.child(pointer, value.index(read.text)) if isinstance(value, list) else pointer
