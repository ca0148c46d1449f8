"""A finished run → the summary people read: steps with times and reasons, metrics, gates, verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kcompiler.render.human import inert, shortened

if TYPE_CHECKING:
    from kcompiler.audit import Audit


#: outcome → the mark in front of a gate's line
_MARK = {
    "pass": "✓",
    "waived": "~",
    "skipped": "-",
    "fail": "✗",
    "inconclusive": "?",
    "not_evaluated": "?",
    "error": "!",
}


#: a number this deep in a report is shown when it is about all items, not about one slice of them
_WHOLE = (".all", ".span_f1", ".json_validity", ".tool_selection", ".nll", ".perplexity")


def table(rows: Sequence[Sequence[str]], indent: str = "  ") -> list[str]:
    """Left-aligned columns, as wide as their widest cell; the last one runs free."""
    if not rows:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    return [
        (indent + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])).rstrip()
        for row in rows
    ]


def steps(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line per step: what happened, how long its result took to make, and why."""
    cells = []
    for row in rows:
        took = f"{row['wall_s']:.1f} s" if row["wall_s"] is not None else ""
        cells.append([row["step"], row["action"], took, shortened(row["why"])])
    return "\n".join(["steps", *table(cells)]) + "\n"


def metrics(reports: Mapping[str, Mapping[str, Any]]) -> str:
    """The numbers of the evaluation reports, each with its unit and the items behind it."""
    rows = [[one["step"], one["path"], show(one["datum"])] for one in measured(reports)]
    return "\n".join(["metrics", *table(rows)]) + "\n" if rows else ""


def measured(reports: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Those numbers, each as step, dotted path and datum."""
    return [
        {"step": step, "path": path, "datum": dict(datum)}
        for step, report in sorted(reports.items())
        if str(report.get("kind", "")).startswith("eval.")
        for path, datum in datums(report.get("data", {}), depth=3)
        if path.count(".") < 2 or (path.endswith(_WHOLE) and not path.startswith("baselines."))
    ]


def datums(data: Any, path: str = "", depth: int = 2) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every datum down to a depth, with its dotted path."""
    if not isinstance(data, Mapping):
        return
    if "tag" in data and "unit" in data:
        yield path, data
    elif depth:
        for key in sorted(data):
            yield from datums(data[key], f"{path}.{key}" if path else key, depth - 1)


def show(datum: Mapping[str, Any], *, ends: bool = True) -> str:
    """A datum as people write it; with the ends of its interval, unless these stand elsewhere."""
    if datum["tag"] == "unavailable":
        return f"unavailable: {datum.get('reason', '')}"
    value = datum["value"]
    number = f"{value:.4g}" if isinstance(value, float) else str(value)
    interval = f" [{datum['low']:.4g}, {datum['high']:.4g}]" if ends and "low" in datum and "high" in datum else ""
    counts = f" ({datum['k']} of {datum['n']})" if "k" in datum else f" (n = {datum['n']})" if "n" in datum else ""
    unit = "" if datum["unit"] in ("ratio", "flag", "1") else f" {datum['unit']}"
    estimate = " estimated" if datum["tag"] == "estimated" else ""
    return f"{number}{unit}{interval}{counts}{estimate}"


def gates(verdict: Mapping[str, Any], *, full: bool = False) -> str:
    """One line per rule. Unless `full`, rules that pass on several reports are folded, and so are all that wait for a
    report that no step has given: what is wrong must not drown in what could not be asked yet."""
    rows = []
    folded: dict[str, list[Mapping[str, Any]]] = {}
    waiting = [] if full else [one for one in verdict["outcomes"] if waits(one, verdict)]
    for outcome in verdict["outcomes"]:
        if outcome["outcome"] == "pass" and not full:
            folded.setdefault(outcome["rule"], []).append(outcome)
        elif outcome not in waiting:
            rows.append(_gate(outcome, outcome["step"]))
    for several in folded.values():
        rows.append(_gate(several[0], several[0]["step"] if len(several) == 1 else f"{len(several)} reports"))
    text = ["gates", *table(rows)]
    for step in dict.fromkeys(outcome["step"] for outcome in waiting):
        count = sum(outcome["step"] == step for outcome in waiting)
        text.append(f"  ?  {count} rule{'s' if count > 1 else ''} on {step}: no report yet")
    counts = ", ".join(f"{count} {word}" for word, count in sorted(verdict["counts"].items()) if count)
    text.append(f"verdict  {verdict['verdict']}   {counts}")
    for outcome in verdict["outcomes"]:
        if outcome["blocks"] and outcome not in waiting:
            text.append(f"  ✗ {outcome['rule']} on {outcome['step']}: {outcome['reason']}")
            if outcome["remedy"]:
                text.append(f"    remedy: {outcome['remedy']}")
        elif outcome["outcome"] == "waived":
            text.append(f"  ~ {outcome['rule']} on {outcome['step']}: {outcome['reason']}")
        elif outcome.get("advisory"):
            text.append(f"  ! {outcome['rule']} on {outcome['step']}: {outcome['reason']}")
    return "\n".join(text) + "\n"


def outcomes(found: Sequence[Mapping[str, Any]]) -> str:
    """One line per rule of a part of the plan, and what is to be done where it does not pass; "" for no rule."""
    lines = table([_gate(one, one["step"]) for one in found])
    for one in found:
        if one["blocks"]:
            lines += [f"  ✗ {one['rule']} on {one['step']}: {one['reason']}", f"    remedy: {one['remedy']}"]
    return "\n".join(["gates", *lines]) + "\n" if lines else ""


def explanations(found: Sequence[Mapping[str, Any]]) -> str:
    """Each rule with what decided it, where both sides stand, and what would change it."""
    lines: list[str] = []
    for one in found:
        lines.append(f"{_MARK[one['outcome']]} {one['rule']}: {one['title']}")
        lines.append(f"    {one['outcome']}{', blocks' if one['blocks'] else ''}: {one['reason']}")
        place, at = one["rule_at"], one["report_at"]
        asked = "" if place is None else f"{place['file']}:{place['line']}:{place['column']}"
        lines.append(f"    asked by  {asked or 'a pack that is not here as the plan has it'}")
        lines.append(f"    decided   in the report of {at['step']}{' at ' + at['pointer'] if at['pointer'] else ''}")
        if one["distance"]:
            lines.append(f"    distance  {one['distance']}  ({one['observed']}, asked {one['threshold']})")
        if one["counterfactual"]:
            lines.append(f"    {one['counterfactual']}")
        lines += _tree(one["tree"], 2)
        if one["remedy"]:
            lines.append(f"    remedy: {one['remedy']}")
    return "\n".join(map(inert, lines)) + "\n" if lines else ""


def _tree(parts: Sequence[Mapping[str, Any]], depth: int) -> list[str]:
    """Each part of an expression under the one that it is a part of."""
    lines = []
    for part in parts:
        lines.append(f"{'  ' * depth}{part['value']:<8} {part['text']}")
        lines += _tree(part["parts"], depth + 1)
    return lines


def waits(outcome: Mapping[str, Any], verdict: Mapping[str, Any]) -> bool:
    """Whether a rule was not asked only because the step it judges has given no report."""
    return outcome["outcome"] == "not_evaluated" and outcome["step"] not in verdict["reports"]


def _gate(outcome: Mapping[str, Any], where: str) -> list[str]:
    measured = f"{outcome['observed']}" + (f"  (asked {outcome['threshold']})" if outcome["threshold"] else "")
    return [_MARK[outcome["outcome"]], outcome["rule"], where, outcome["outcome"], measured]


def audit(result: Audit) -> str:
    """What was recomputed, then each finding with its subject."""
    counted = ", ".join(f"{count} {what}" for what, count in result.checked.items())
    lines = [f"recomputed  {counted or 'nothing'}"]
    if result.verdict:
        lines.append(f"verdict     {result.verdict}")
    lines += [f"standing    {line}" for line in result.standing]
    rows = [[finding.code, finding.severity, finding.subject, finding.message] for finding in result.findings]
    return "\n".join([*lines, *table(rows, indent=""), f"audit       {result.word}"]) + "\n"
