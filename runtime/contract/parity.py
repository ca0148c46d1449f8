"""Items of several runners to the same rows → how far each two of them are apart. No tensors: the auditor reads it too.

`right` of an item is its part of that name, or that its line gives no reason why it is not; parts called `f1` (or
`…_f1`) are compared as well. `gap` is the largest of these differences as a distance: its upper end is the unfavourable
end of the interval that lies farther from zero. Two ways to ask *one* model should have none; of two models it says how
far they are apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from runtime.contract.report import measured, unavailable
from runtime.contract.statistics.paired import difference, wins
from runtime.contract.statistics.rates import rate

#: rows that are named of those two runners disagree about
MOST_NAMED = 1000
#: the reason of a line that an earlier run does not have
NOT_RECORDED = "not_recorded"
GAP = "item/item"
#: the port of the items that a suite's own runners answered
OWN_ITEMS = "items"


def port_of(runner: str) -> str:
    """The port of a further runner's items."""
    return f"items_{runner}"


def right(line: Mapping[str, Any]) -> bool:
    """Whether nothing is wrong with an item: where a suite says so of each, that counts."""
    said = line["parts"].get("right")
    return said if isinstance(said, bool) else not line["reason"]


def asked(name: str, lines: Sequence[Mapping[str, Any]], why: str = "") -> dict[str, Any]:
    """What one runner's items come to; `why` it could not be asked, or "". Of items that were not recorded nobody knows
    whether they are right, and of the others no rate is one of all."""
    lost = sum(line["reason"] == NOT_RECORDED for line in lines)
    why = why or (f"{lost} of {len(lines)} items are not recorded" if lost else "")
    reasons = Counter(str(line["reason"]) or "right" for line in lines)
    return {
        "runner": name,
        "items": measured(len(lines), "item"),
        "right": unavailable(why, "ratio") if why else rate(sum(map(right, lines)), len(lines)),
        "reasons": {reason: rate(count, len(lines)) for reason, count in sorted(reasons.items())},
    }


def pairs(
    lines: Mapping[str, Sequence[Mapping[str, Any]]], models: Mapping[str, str], seed: int
) -> dict[str, dict[str, Any]]:
    """Every two runners: under `ways` those that ask one model, under `models` the others. `models` maps a runner to
    whose answers it gives, "" for a model of its own.

    Raises ValueError where two runners were asked something else about one row.
    """
    found: dict[str, dict[str, Any]] = {"ways": {}, "models": {}}
    for one, other in combinations(lines, 2):
        same = models[one] and models[one] == models[other]
        found["ways" if same else "models"][f"{one} and {other}"] = compared(lines[one], lines[other], seed)
    return found


def compared(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """Two runners on the rows that both were asked. Raises ValueError for a row that they were asked differently."""
    theirs = {line["row"]: line for line in other}
    both = [(line, theirs[line["row"]]) for line in one if line["row"] in theirs]
    for mine, its in both:
        if mine["prompt"] != its["prompt"]:
            raise ValueError(
                f"row `{mine['row']}`: runner `{mine['runner']}` and runner `{its['runner']}` were asked differently"
            )
    apart = [str(mine["row"]) for mine, its in both if _parts(mine) != _parts(its)]
    lost = sum(NOT_RECORDED in (mine["reason"], its["reason"]) for mine, its in both)
    differences = {"right": wins([right(mine) for mine, _ in both], [right(its) for _, its in both])}
    if both:
        # rows have the parts that their data set gives them, whatever is answered: those of the first are those of all
        for part in (name for name in both[0][0]["parts"] if name == "f1" or name.endswith("_f1")):
            numbers = [[line["parts"].get(part) for line in side] for side in zip(*both, strict=True)]
            known = [pair for pair in zip(*numbers, strict=True) if None not in pair]
            differences[part] = difference([a for a, _ in known], [b for _, b in known], GAP, seed)
    return {
        "items": measured(len(both), "item"),
        "difference": differences,
        "gap": unavailable(f"{lost} items are not recorded", GAP) if lost else _gap(differences),
        "disagreeing": rate(len(apart), len(both)),
        "other_text": _other_text(both),
        "rows": apart[:MOST_NAMED],
    }


def _other_text(both: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> dict[str, Any]:
    """How many texts are not the same, where texts were asked for: of scores the last digits differ between ways."""
    texts = [(_text(mine["output"]), _text(its["output"])) for mine, its in both]
    known = [(a, b) for a, b in texts if a is not None and b is not None]
    return rate(sum(a != b for a, b in known), len(known))


def _text(output: Any) -> str | None:
    text = output.get("text") if isinstance(output, Mapping) else output
    return text if isinstance(text, str) else None


def _parts(line: Mapping[str, Any]) -> list[Any]:
    """What an item is worth, without the numbers that two ways to compute one thing may round otherwise."""
    return [line["reason"], sorted((name, part) for name, part in line["parts"].items() if isinstance(part, bool))]


def _gap(differences: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The difference that may be largest, as a distance."""
    for one in differences.values():
        if one["tag"] != "measured":
            return unavailable(str(one["reason"]), GAP)
    name, most = max(differences.items(), key=lambda pair: max(abs(pair[1]["low"]), abs(pair[1]["high"])))
    ends = sorted((abs(most["low"]), abs(most["high"])))
    return measured(
        abs(most["value"]),
        GAP,
        n=most["n"],
        low=0.0 if most["low"] <= 0.0 <= most["high"] else min(ends[0], abs(most["value"])),
        high=max(ends[1], abs(most["value"])),
        confidence=most["confidence"],
        interval=most["interval"],
        of=name,
    )
