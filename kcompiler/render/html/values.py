"""Data of reports → numbers and short texts; what has another form than expected is None or "", never an error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

#: seconds and bytes are written in larger units from here on
_SCALES: Mapping[str, tuple[tuple[float, str], ...]] = {
    "B": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")),
}


def number(datum: object) -> float | None:
    """The value of a datum, or a plain number; None for what is none, or not finite."""
    value = datum.get("value") if isinstance(datum, Mapping) else datum
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def short(value: float, unit: str = "") -> str:
    """A number as people write it, with its unit."""
    for size, name in _SCALES.get(unit, ()):
        if abs(value) >= size:
            return f"{value / size:.4g} {name}"
    if unit == "s" and abs(value) < 100:
        return f"{value:.3g} s"
    whole = float(value).is_integer() and abs(value) < 1e15
    text = f"{int(value):,}" if whole else f"{value:.4g}"
    return text if unit in ("", "1", "ratio", "flag", "count") else f"{text} {unit}"


def amount(datum: object) -> str:
    """A datum as people write it: the value, or why there is none."""
    if not isinstance(datum, Mapping):
        return ""
    value = number(datum)
    if value is None:
        return f"not known: {datum.get('reason', 'no number')}"
    estimate = " (estimated)" if datum.get("tag") == "estimated" else ""
    return short(value, str(datum.get("unit", ""))) + estimate


def at(data: Any, *names: str) -> Any:
    """What stands below names, None where nothing does."""
    for name in names:
        data = data.get(name) if isinstance(data, Mapping) else None
    return data


def fixed(value: float) -> str:
    """A coordinate: one digit behind the point, never a negative zero."""
    return f"{round(value, 1) + 0.0:.1f}"
