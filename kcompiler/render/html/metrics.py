"""Reports of evaluations → their numbers with what lies around each: its interval, and the bound that a gate asks.

Where a report states an interval, that is drawn; behind k of n stands the exact one at 95 % (Clopper and Pearson).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kcompiler.render.html.run import Run
from kcompiler.render.html.values import fixed, number, short
from kcompiler.render.human_run import measured, show
from kcompiler.result import RuleOutcome
from runtime.contract.statistics.intervals import exact_interval

#: pixels of a plot: its width, and its margin for the ends of a line
WIDTH, MARGIN, HEIGHT = 200, 6, 22
#: numbers that are drawn of one evaluation, and evaluations
MOST, MOST_STEPS = 120, 60
_ASKED = re.compile(r"(?P<op>>=|<=|==|>|<) (?P<bound>-?[0-9]+(\.[0-9]+)?)\Z")
_FROM_COUNTS = "exact 95 % interval of k of n"


def section(run: Run, outcomes: Sequence[RuleOutcome]) -> list[dict[str, Any]]:
    """One entry an evaluation with its rows."""
    return _evaluations(run.reports, _bounds(outcomes))


def _evaluations(
    reports: Mapping[str, Mapping[str, Any]], bounds: Mapping[tuple[str, str], list[tuple[str, float, str]]]
) -> list[dict[str, Any]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for one in measured(reports):
        found.setdefault(one["step"], []).append(one)
    return [_evaluation(step, rows, bounds) for step, rows in list(found.items())[:MOST_STEPS]]


def _bounds(outcomes: Iterable[RuleOutcome]) -> dict[tuple[str, str], list[tuple[str, float, str]]]:
    """(step, pointer) → what is asked of the datum there: operator, bound, rule."""
    found: dict[tuple[str, str], list[tuple[str, float, str]]] = {}
    for one in outcomes:
        asked = _ASKED.match(one.threshold)
        if asked is not None and one.evidence.pointer:
            place = (one.step, one.evidence.pointer)
            found.setdefault(place, []).append((asked["op"], float(asked["bound"]), one.rule))
    return found


def _evaluation(
    step: str, rows: Sequence[Mapping[str, Any]], bounds: Mapping[tuple[str, str], list[tuple[str, float, str]]]
) -> dict[str, Any]:
    told: list[dict[str, Any]] = []
    kinds: dict[str, str] = {}

    def asked_of(one: Mapping[str, Any]) -> list[tuple[str, float, str]]:
        return bounds.get((step, "/data/" + str(one["path"]).replace(".", "/")), [])

    # what a gate reads comes first
    for one in sorted(rows, key=lambda one: not asked_of(one))[:MOST]:
        datum, path, asked = one["datum"], str(one["path"]), asked_of(one)
        low, high, kind = _interval(datum)
        if kind:
            kinds.setdefault(kind, str(len(kinds) + 1))
        told.append(
            {
                "path": path,
                "text": show(datum, ends=False),
                "unit": str(datum.get("unit", "")),
                "value": number(datum),
                "low": low,
                "high": high,
                "interval": f"{low:.4g} to {high:.4g}" if low is not None and high is not None else "",
                "kind": kinds.get(kind, ""),
                "asked": [
                    {"text": f"{op} {bound:g}", "bound": bound, "rule": rule.rpartition("/")[2]}
                    for op, bound, rule in asked
                ],
            }
        )
    scales = _scales(told)
    for row in told:
        row["plot"] = _plot(row, scales.get(row["unit"]))
    ends = [f"{unit}: {short(low)} to {short(high)}" for unit, (low, high) in scales.items()]
    return {
        "step": step,
        "rows": told,
        "left": len(rows[MOST:]),
        "scales": "; ".join(ends),
        "kinds": [(number, kind) for kind, number in kinds.items()],
    }


def _interval(datum: Mapping[str, Any]) -> tuple[float | None, float | None, str]:
    low, high = number(datum.get("low")), number(datum.get("high"))
    if low is not None and high is not None and low <= high:
        confidence = number(datum.get("confidence"))
        sure = f" at {confidence * 100:g} %" if confidence is not None else ""
        return low, high, f"{datum.get('interval', 'interval')}{sure}, as reported"
    k, n = datum.get("k"), datum.get("n")
    if type(k) is int and type(n) is int and 0 <= k <= n and n > 0 and datum.get("unit") == "ratio":
        low, high = exact_interval(k, n)
        return low, high, _FROM_COUNTS
    return None, None, ""


def _scales(rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """Unit → ends of the axis that all rows of this unit share: 0 to 1 for a rate, else around 0 and all that is drawn.
    Only of units in which something has an interval."""
    found: dict[str, tuple[float, float]] = {}
    for unit in dict.fromkeys(row["unit"] for row in rows if row["low"] is not None):
        mine = [row for row in rows if row["unit"] == unit and row["value"] is not None and _drawn(row)]
        ends = [end for row in mine for end in (row["value"], row["low"], row["high"]) if end is not None]
        ends += [one["bound"] for row in mine for one in row["asked"]]
        low, high = min(0.0, *ends), max(0.0, *ends)
        found[unit] = (min(low, 0.0), max(high, 1.0)) if unit == "ratio" else (low, high if high > low else low + 1)
    return found


def _drawn(row: Mapping[str, Any]) -> bool:
    """A number alone is read; a dot of it says nothing more."""
    return row["low"] is not None or bool(row["asked"])


def _plot(row: Mapping[str, Any], scale: tuple[float, float] | None) -> dict[str, Any] | None:
    """Coordinates; None for what has no axis."""
    if scale is None or row["value"] is None or not _drawn(row):
        return None
    low, high = scale
    wide = WIDTH - 2 * MARGIN

    def x(value: float) -> str:
        return fixed(MARGIN + wide * (value - low) / (high - low))

    return {
        "value": x(row["value"]),
        "low": x(row["low"]) if row["low"] is not None else "",
        "high": x(row["high"]) if row["high"] is not None else "",
        "zero": x(0.0),
        "bounds": [x(one["bound"]) for one in row["asked"]],
    }
