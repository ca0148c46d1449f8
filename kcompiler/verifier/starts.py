"""Reports on steps that begin × the lines of a journal that set aside for them → where they differ.

Standard library only. Such a report is made of what the committed line of its step repeats of the line that says that
the step begins: whoever changes it has to change both, and then the sums no longer are those of the lines before.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, Mapping, Optional, Sequence, Tuple

from kcompiler.verifier import facts, ledger
from kcompiler.verifier.reading import text_at

_APART = 1e-5
#: budget → what a line sets aside of it, and how many of its units one of the budget is
_ASIDE: Mapping[str, Any] = {"wall_s": ("wall_s", 1), "usd": ("", 1), "teacher_calls": ("", 1), **ledger.PAID}
Record = Mapping[str, Any]


def wrong(
    plan: Record, records: Mapping[str, Record], lines: Optional[Sequence[Any]], purse: bytes
) -> Iterator[Tuple[str, str]]:
    """Step and what is wrong with its report. `lines`: of the whole journal, each with a `content`; None where it is
    not here, and a report is compared with the lock alone. `purse`: the record of what was bought."""
    asked = facts.starts(plan, records)
    steps = {step["id"]: step for step in plan["steps"] if facts.start_of(step["id"]) in asked}
    begun = {} if lines is None else _begun(lines, [records[name] for name in steps if name in records])
    money: Dict[Tuple[str, int], Any] = {}
    for name, step in steps.items():
        data = records[name][facts.START]
        for what in _against_lock(data, step, records[name]):
            yield name, f"{what} is not what the lock has"
        if lines is None:
            continue
        if records[name]["action"] not in begun:
            yield name, "no line of the journal says that the step begins"
            continue
        claim, paid = begun[records[name]["action"]]
        if claim.get(facts.START) != data or _value(data, "attempt") != claim.get("attempt"):
            yield name, "it is not what the line of the journal says that set aside for the step"
        amounts: Dict[str, Any] = {budget: paid[datum] / unit for budget, (datum, unit) in ledger.PAID.items()}
        # a result may be of another spec, which counts for itself
        key = (ledger.name_of(claim.get("spec", "")), _whole(_value(data, "counted")))
        if key not in money:
            money[key] = ledger.bought(purse, *key)
        for budget, part in (("usd", "usd"), ("teacher_calls", "calls")):
            amounts[budget] = None if money[key] is None else money[key][part]
        for message in _against_sums(data, claim, amounts):
            yield name, message


def _begun(lines: Sequence[Any], records: Sequence[Record]) -> Dict[str, Tuple[Record, Dict[str, float]]]:
    """Action → the newest line before that of its record that says that the step begins, and what was paid by then."""
    wanted = {str(one["action"]): one for one in records}
    found: Dict[str, Tuple[Record, Dict[str, float]]] = {}
    done = set()
    sums = ledger.Paid()
    for line in lines:
        kind, data = line.content["type"], line.content["data"]
        action = data.get("action")
        if action in wanted and action not in done:
            if kind == "step_claimed":
                found[action] = (data, sums.of(ledger.name_of(data.get("spec", ""))))
            elif kind == "step_committed" and data == wanted[action]:
                done.add(action)
        sums.add(line.content)
    return found


def _against_lock(data: Any, step: Record, record: Record) -> Iterator[str]:
    told = {
        # a result may be of another spec, where the step had its own name
        "step": record["step"],
        "kind": step["kind"].partition("@")[0],
        "backend": step["backend"],
        "device": str(record["params"].get("device", "cpu")),
    }
    yield from (f"`{name}`" for name, value in told.items() if text_at(data, name) != value)
    if _value(data, "inputs", "all") != len(step["takes"]):
        yield "the number of what it takes"


def _against_sums(data: Any, claim: Record, amounts: Mapping[str, Any]) -> Iterator[str]:
    """What it says of budgets, against the line that set aside for the step, and what was spent before."""
    for budget, limit in claim.get("budgets", {}).items():
        if budget not in _ASIDE or limit is None:
            continue
        told = [_value(data, "budgets", budget, one) for one in ("limit", "spent", "reserved", "left")]
        if any(isinstance(one, bool) or not isinstance(one, (int, float)) for one in told):
            yield f"of budget `{budget}` it says nothing"
            continue
        bound, spent, reserved, left = told
        datum, unit = _ASIDE[budget]
        own = claim.get("reserved", {}).get(datum, 0) / unit
        share, asked = _value(data, "budgets", budget, "left_share"), left / limit if limit else None
        apart = share != asked if share is None or asked is None else abs(share - asked) > _APART
        if apart or bound != limit or reserved < own - _APART or abs(max(0, limit - spent - reserved) - left) > _APART:
            yield f"of budget `{budget}` it says something else than the line that set aside for the step"
        if budget in amounts and (amounts[budget] is None or abs(amounts[budget] + own - spent - reserved) > _APART):
            yield f"of budget `{budget}` it says something else than the lines before it"


def _whole(value: Any) -> int:
    """A number of lines; -1, which no record has, for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else -1


def _value(data: Any, *names: str) -> Any:
    return text_at(data, *names, "value")
