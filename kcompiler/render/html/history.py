"""Lines of the journal → how earlier runs of the spec ended, and what earlier results of its evaluations measured.

Only what is there: a run whose lines were kept, a report that still lies in the store. Nothing is filled in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kcompiler.policy import evidence
from kcompiler.render.html.run import Run, committed_of
from kcompiler.render.html.values import fixed, number, short
from kcompiler.render.human_run import measured

#: runs and results that are looked back at, and numbers that are followed
RUNS, RESULTS, MOST = 30, 20, 40
WIDTH, HEIGHT, MARGIN = 120, 24, 3


def section(run: Run) -> dict[str, Any]:
    """The runs, the oldest first, and each number with two results or more."""
    runs = _runs(run)[-RUNS:]
    passed = [one["passed"] for one in runs if one["passed"] is not None]
    return {
        "runs": runs,
        "gates": spark(passed) if len(passed) > 1 else None,
        "numbers": _numbers(run)[:MOST],
    }


def _runs(run: Run) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for line in run.lines:
        key = f"{line.content['run']}"
        if line.type == "run_opened" and line.data.get("spec") == run.name:
            found[key] = {
                "run": key,
                "when": str(line.content["ts"]),
                "same": line.data.get("plan") == run.digest,
                "forged": False,
                "passed": None,
                "asked": None,
                "blocking": [],
                "ended": "no end is recorded",
            }
        elif key in found and line.type == "gate_evaluated" and line.data.get("step") == "":
            counts = line.data.get("counts")
            if isinstance(counts, Mapping) and all(type(count) is int for count in counts.values()):
                found[key]["passed"], found[key]["asked"] = counts.get("pass", 0), sum(counts.values())
            blocking = line.data.get("blocking")
            found[key]["blocking"] = [str(one) for one in blocking] if isinstance(blocking, list) else []
        elif key in found and line.type == "run_closed":
            found[key]["ended"] = str(line.data.get("outcome", ""))
    return list(found.values())


def _numbers(run: Run) -> list[dict[str, Any]]:
    """Of each number of an evaluation its values over the results that lie here."""
    found: dict[tuple[str, str], list[float]] = {}
    units: dict[tuple[str, str], str] = {}
    for step in run.evaluations:
        name = str(step["id"])
        for report in _reports(run, name):
            for one in measured({name: report}):
                value = number(one["datum"])
                if value is not None:
                    found.setdefault((name, one["path"]), []).append(value)
                    units[name, one["path"]] = str(one["datum"].get("unit", ""))
    return [
        {"step": step, "path": path, "spark": spark(values, units[step, path])}
        for (step, path), values in found.items()
        if len(values) > 1
    ]


def _reports(run: Run, step: str) -> list[Mapping[str, Any]]:
    """The reports of the newest results of a step that still lie in the store, the oldest first."""
    pins = dict.fromkeys(
        str(record["gives"].get("report", {}).get("digest"))
        for record in committed_of(run, step)
        if not record["forged"]
    )
    found = []
    for pin in list(pins)[-RESULTS:]:
        folder = run.stored(pin)
        try:
            known = None if folder is None else evidence.read((folder / evidence.FILE).read_bytes())
        except OSError:
            known = None
        # what no longer has its digest is no result
        if known is not None and known.report is not None and known.artifact == pin:
            found.append(known.report)
    return found


def spark(values: Sequence[float], unit: str = "") -> dict[str, Any]:
    """A small line, and the same in words."""
    low, high = min(values), max(values)
    wide, tall = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN
    points = [
        (
            MARGIN + wide * nth / max(1, len(values) - 1),
            HEIGHT - MARGIN - tall * ((value - low) / (high - low) if high > low else 0.5),
        )
        for nth, value in enumerate(values)
    ]
    return {
        "points": " ".join(f"{fixed(x)},{fixed(y)}" for x, y in points),
        "dot": [fixed(one) for one in points[-1]],
        "count": len(values),
        "first": short(values[0], unit),
        "last": short(values[-1], unit),
        "low": short(low, unit),
        "high": short(high, unit),
    }
