"""Reports of trainings → curves to draw: total, each loss term and validation, at most so many points each.

Of many points two of each stretch stay, its lowest and its highest, so that a spike does not disappear.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kcompiler.render.html.run import Run
from kcompiler.render.html.values import at, fixed, number, short

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 320, 150, 8, 18, 8
#: points that are drawn of one curve, rows of the table beside them, trainings, curves of one
POINTS, ROWS, MOST, PANELS = 240, 12, 40, 24
#: what is so many times its smallest value is drawn on a logarithmic scale
MANY = 20
Point = tuple[float, float]


def section(run: Run) -> list[dict[str, Any]]:
    """One entry a training that has a curve."""
    trained = {step: report for step, report in run.reports.items() if report.get("kind") == "training"}
    found = []
    for step, report in sorted(trained.items())[:MOST]:
        named = [(name, points) for name, points in _named(report.get("data", {})) if points]
        if named:
            found.append(
                {
                    "step": step,
                    "panels": [_panel(name, points) for name, points in named[:PANELS]],
                    "left": len(named[PANELS:]),
                    "table": _table(named[:6]),
                    "names": [name for name, _ in named[:6]],
                    "said": _said(report.get("data", {})),
                }
            )
    return found


def _named(data: Any) -> Iterable[tuple[str, list[Point]]]:
    total, terms = _points(at(data, "total")), at(data, "terms")
    found = sorted(terms.items()) if isinstance(terms, Mapping) else []
    curves = [(f"term {name}", _points(at(term, "curve"))) for name, term in found]
    # a loss of one term alone is that term
    alone = len(curves) == 1 and curves[0][1] == total
    yield f"total, which is {curves[0][0]}" if alone else "total", total
    yield from [] if alone else curves
    yield f"validation ({at(data, 'validation', 'metric') or 'metric'})", _points(at(data, "validation", "curve"))


def _points(curve: Any) -> list[Point]:
    """(step, value) of what has both, in the order of steps."""
    if not isinstance(curve, Sequence) or isinstance(curve, str):
        return []
    pairs = [(number(at(one, "step")), number(at(one, "value"))) for one in curve]
    return sorted((x, y) for x, y in pairs if x is not None and y is not None)


def thinned(points: Sequence[Point], most: int = POINTS) -> list[Point]:
    """At most `most` of the points, first and last among them: of each stretch the lowest and the highest."""
    if len(points) <= most:
        return list(points)
    inner, count = points[1:-1], max(1, (most - 2) // 2)
    kept = [points[0]]
    for nth in range(count):
        part = inner[nth * len(inner) // count : (nth + 1) * len(inner) // count]
        if part:
            kept += sorted({min(part, key=lambda one: (one[1], one[0])), max(part, key=lambda one: (one[1], one[0]))})
    return [*kept, points[-1]]


def _panel(name: str, points: Sequence[Point]) -> dict[str, Any]:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    left, right, low, high = min(xs), max(xs), min(ys), max(ys)
    logs = low > 0 and high / low >= MANY
    scale = math.log if logs else float
    wide, tall = (right - left) or 1.0, (scale(high) - scale(low)) or 1.0
    drawn = [
        (
            LEFT + (WIDTH - 2 * LEFT) * (x - left) / wide,
            HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (scale(y) - scale(low)) / tall,
        )
        for x, y in thinned(points)
    ]
    lowest = min(points, key=lambda one: (one[1], one[0]))
    return {
        "name": name,
        "logs": logs,
        "points": " ".join(f"{fixed(x)},{fixed(y)}" for x, y in drawn),
        "dot": [fixed(one) for one in drawn[-1]],
        "left": short(left),
        "right": short(right),
        "low": f"{low:.4g}",
        "high": f"{high:.4g}",
        "count": len(points),
        "drawn": len(drawn),
        "said": f"from {ys[0]:.4g} at step {short(xs[0])} to {ys[-1]:.4g} at step {short(xs[-1])}, "
        f"lowest {lowest[1]:.4g} at step {short(lowest[0])}",
    }


def _table(named: Sequence[tuple[str, Sequence[Point]]]) -> list[list[str]]:
    """Rows of step and value of each curve, evenly picked, first and last among them."""
    steps = sorted({x for _, points in named for x, _ in points})
    if len(steps) > ROWS:
        steps = [steps[nth * (len(steps) - 1) // (ROWS - 1)] for nth in range(ROWS)]
    known = [dict(points) for _, points in named]
    return [[short(x), *(f"{one[x]:.4g}" if x in one else "" for one in known)] for x in steps]


def _said(data: Any) -> list[tuple[str, str]]:
    """What stands beside curves."""
    found = []
    for name, words in (
        ("steps", "steps made"),
        ("rows", "rows"),
        ("tokens_seen", "tokens"),
        ("parameters", "parameters"),
    ):
        value = number(at(data, name))
        if value is not None:
            found.append((words, short(value)))
    best = number(at(data, "validation", "best", "value"))
    step = number(at(data, "validation", "best", "step"))
    if best is not None and step is not None:
        found.append(("best on validation", f"{best:.4g} at step {short(step)}"))
    return found
