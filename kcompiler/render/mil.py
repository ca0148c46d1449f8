"""What the verb `mil` found → text: arrays and their ranges, findings of a run, what a unit would not take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

#: places of one rule that are written out
_SHOWN = 3


def ran(data: Mapping[str, Any]) -> str:
    """One run: its inputs, outputs and state, and what was found on the way."""
    lines = [f"{data['function']}   {data['mode']}"]
    for what, mark in (("inputs", "<"), ("outputs", ">"), ("state", "=")):
        rows = data[what]
        width = max((len(name) for name in rows), default=0)
        lines += [f"{mark} {name:<{width}}  {_array(one)}" for name, one in rows.items()]
    return "\n".join([*lines, *_found(data["findings"])])


def checked(one: Mapping[str, Any]) -> str:
    """One function that was held against itself."""
    head = f"{'wrong' if wrong(one) else 'ok'}   {one['function']}   {one['mode']}"
    second = one["coremltools"]
    read = f"not read a second time: {second['unavailable']}"
    if not second["unavailable"]:
        read = f"coremltools reads {'others' if second['differ'] else 'the same'}: {second['values']:,} values"
    return "\n".join([head, *_found(one), *(f"! {line}" for line in second["differ"]), f"  {read}"])


def wrong(one: Mapping[str, Any]) -> list[str]:
    """What is wrong with a function that was checked, one line each."""
    return [*one["wrong"], *one["coremltools"]["differ"]]


def _found(findings: Mapping[str, Any]) -> list[str]:
    lines = [f"! {line}" for line in findings["wrong"]]
    lines += [
        f"  headroom {peak['headroom']:.3g} at {peak['op']} {peak['value']} (largest {peak['magnitude']:.6g})"
        for peak in findings["tightest"][:1]
    ]
    if findings["flushed"]:
        lines.append(f"  {findings['flushed']:,} elements vanish in float16")
    return lines


def _array(one: Mapping[str, Any]) -> str:
    shape = f"{one['dtype']} ({', '.join(map(str, one['shape']))})"
    if "text" in one:
        return f"text   {one['text']}"
    if one["least"] is None:
        return f"{shape}   no finite element"
    size = 1
    for length in one["shape"]:
        size *= length
    odd = f", {size - one['finite']:,} not finite" if one["finite"] < size else ""
    return f"{shape}   {one['least']:.6g} … {one['greatest']:.6g}, mean {one['mean']:.6g}{odd}"


def linted(found: Iterable[Mapping[str, Any]]) -> str:
    """What a unit would not take, by rule, the gravest first, each with its first places and its source."""
    order = ("error", "warning", "note")
    rows = sorted(found, key=lambda one: (order.index(one["severity"]), one["rule"]))
    lines = []
    for (severity, rule), group in groupby(rows, key=lambda one: (one["severity"], one["rule"])):
        places = list(group)
        head = places[0]
        lines.append(f"{severity}  {rule}: {head['says']}   {len(places):,}×   ({head['systems']})")
        for one in places[:_SHOWN]:
            what = f"   {one['what']}" if one["what"] else ""
            lines.append(f"  {one['function']}: {one['op']} {one['value']}{what}")
        if len(places) > _SHOWN:
            lines.append(f"  … and {len(places) - _SHOWN:,} more")
        lines += [f"  help: {head['do']}", f"  note: {head['source']} ({head['kind']})"]
    return "\n".join(lines)
