"""Outcomes of rules and what explains them → what blocks, with its places and what to do, and all by pack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kcompiler.render.html.run import Run
from kcompiler.result import RuleOutcome

Card = dict[str, Any]
#: outcome → its mark and its words; a mark never stands alone
WORDS: Mapping[str, tuple[str, str]] = {
    "pass": ("✓", "passed"),
    "fail": ("✗", "failed"),
    "waived": ("~", "waived"),
    "inconclusive": ("?", "undecided"),
    "not_evaluated": ("?", "not evaluated"),
    "skipped": ("-", "skipped"),
    "error": ("!", "error"),
}
#: of what blocks, what failed before what could not be decided
_URGENCY = ("fail", "error", "inconclusive", "not_evaluated", "skipped", "waived", "pass")
#: rules that are shown one by one of a pack, and cards of one sort; the rest is counted
MOST, MOST_CARDS = 2000, 100


def section(outcomes: Sequence[RuleOutcome], run: Run | None, key: str) -> dict[str, Any]:
    """Everything about gates; `key` makes their ids differ from those of another run on the page."""
    excused = run.excused if run is not None else {}
    cards = [
        {**_card(one, run, f"{key}-gate-{number}"), "waiver": excused.get((one.rule, one.step))}
        for number, one in enumerate(outcomes, start=1)
    ]
    waiting = [one for one in cards if one["waits"]]
    told = [one for one in cards if not one["waits"]]
    sorts = {
        "blocking": sorted((one for one in told if one["blocks"]), key=lambda one: _URGENCY.index(one["status"])),
        "waived": [one for one in told if one["status"] == "waived"],
        "advisory": [one for one in told if not one["blocks"] and one["status"] not in ("pass", "waived", "skipped")],
    }
    packs: dict[str, list[Card]] = {}
    for one in cards:
        packs.setdefault(one["pack"], []).append(one)
    counts = {word: sum(one["status"] == word for one in cards) for word in WORDS}
    return {
        "total": len(cards),
        "counts": [(*WORDS[word], count) for word, count in counts.items() if count],
        **{name: found[:MOST_CARDS] for name, found in sorts.items()},
        "more": {name: len(found[MOST_CARDS:]) for name, found in sorts.items()},
        "blocks": len(sorts["blocking"]),
        "waits": sum(one["blocks"] for one in waiting),
        "waiting": _waiting(waiting),
        "packs": [
            {
                "name": pack,
                "rows": sorted(found, key=lambda one: not one["blocks"])[:MOST],
                "left": len(found[MOST:]),
                "passed": sum(one["status"] == "pass" for one in found),
                "count": len(found),
                "open": any(one["blocks"] for one in found),
            }
            for pack, found in packs.items()
        ],
        "linked": {one["id"] for found in sorts.values() for one in found[:MOST_CARDS]},
    }


def _waiting(cards: Sequence[Card]) -> list[dict[str, Any]]:
    """Rules that were not asked because their step has given no report, by step."""
    steps = dict.fromkeys(one["step"] for one in cards)
    return [{"step": step, "count": sum(one["step"] == step for one in cards)} for step in steps]


def _card(one: RuleOutcome, run: Run | None, key: str) -> Card:
    known: Mapping[str, Any] = run.explained.get((one.rule, one.step), {}) if run is not None else {}
    at = known.get("rule_at")
    rule_at = f"{at['file']}:{at['line']}:{at['column']}" if at else one.declared.text
    reached = run is not None and run.verdict is not None and one.step in run.verdict["reports"]
    mark, words = WORDS[one.status]
    return {
        "id": key,
        "rule": one.rule,
        "pack": one.pack,
        "title": one.title or one.rule,
        "step": one.step,
        "report": one.report,
        "status": one.status,
        "mark": mark,
        "words": words,
        "mode": one.mode,
        "blocks": one.blocks,
        "waits": run is not None and one.status == "not_evaluated" and not reached,
        "reason": one.reason,
        "remedy": one.remedy,
        "observed": one.observed,
        "threshold": one.threshold,
        "distance": one.distance,
        "evidence": one.evidence.text,
        "pointer": one.evidence.pointer,
        "file": one.evidence.text.partition("#")[0],
        "rule_at": rule_at,
        "counterfactual": str(known.get("counterfactual", "")),
        "advisory": str(known.get("advisory", "")),
        "tree": list(_tree(known.get("tree", ()), 0)),
    }


def _tree(parts: Sequence[Mapping[str, Any]], depth: int) -> list[str]:
    """Each part of an expression under the one that it is a part of."""
    lines = []
    for part in parts:
        lines.append(f"{'  ' * depth}{part['value']:<8} {part['text']}")
        lines += _tree(part["parts"], depth + 1)
    return lines


def sentence(found: Mapping[str, Any]) -> str:
    """What the gates amount to, in one sentence."""
    total, blocks, waits = found["total"], found["blocks"], found["waits"]
    passed = sum(count for _, words, count in found["counts"] if words == "passed")
    if not total:
        return "No gate was asked."
    waived = len(found["waived"]) + found["more"]["waived"]
    also = f", {waived} waived" if waived else ""
    waiting = f"{waits} wait{'s' if waits == 1 else ''} for reports that no step has given"
    if not blocks:
        return f"{passed} of {total} gates passed{also}, and {waiting if waits else 'none blocks'}."
    named = [f"“{one['title']}” on {one['step']}" for one in found["blocking"][:3]]
    left = f", and {blocks - len(named)} more" if blocks > len(named) else ""
    verb = f"{blocks} of {total} gates block{'s' if blocks == 1 else ''}"
    return f"{verb}: {'; '.join(named)}{left}. {passed} passed{also}{f', {waiting}' if waits else ''}."
