"""A scenario as it was played × what its row declares → whether it is done, or why it is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from runtime.contract import calls, scenario, wanted
from runtime.contract.agreement import Wanted, compared, prepared
from runtime.contract.calls import Call
from runtime.data.integration import score, strangers
from runtime.tools.broker.played import Played, own_changes, path_calls


def _fits(call: Call, gold: Wanted) -> bool:
    return compared(call, gold).fault is None


def _matched(made: Sequence[Call], golds: Sequence[Wanted], *, ordered: bool) -> bool:
    """Whether each wanted call was made, by a call of its own; others may stand between them."""
    if ordered:
        left = iter(made)
        return all(any(_fits(call, gold) for call in left) for gold in golds)
    taken: dict[int, int] = {}

    def place(at: int, seen: set[int]) -> bool:
        for number, call in enumerate(made):
            if number not in seen and _fits(call, golds[at]):
                seen.add(number)
                if number not in taken or place(taken[number], seen):
                    taken[number] = at
                    return True
        return False

    return all(place(at, set()) for at in range(len(golds)))


def _guesses(one: Played) -> bool:
    """Whether a tool that is wanted was called more often than its row wants it, and than the row's own path calls it:
    who tries every value has called the right one, too."""
    wants = Counter(call.name for call in wanted.calls_of(one.row) or [])
    most = wants | Counter(call.name for call in path_calls(one.row))
    made = Counter(call.name for call in one.made)
    return any(made[name] > most[name] for name in wants)


def reason(one: Played) -> str:
    """Why a scenario that has ended is not done; "" when it is."""
    if one.ended != "halted":
        return one.ended
    row, gold = one.row, one.row["wanted"]
    if any(call.name in gold.get("forbidden", ()) for call in one.made):
        return "forbidden_call"
    golds = [prepared(call, one.parameters.get(call.name, {})) for call in wanted.calls_of(row) or []]
    if not _matched(one.made, golds, ordered=wanted.order_of(row) == "given"):
        return "call_missing"
    changed = calls.arguments(one.session.changed())
    if "state" in gold and changed != calls.arguments(gold["state"]):
        return "other_state"
    if _guesses(one):
        return "surplus_call"
    if "state" not in gold and changed != calls.arguments(own_changes(one)):
        return "other_state"
    facts = wanted.facts_of(row)
    if facts:
        asked = str(row["messages"][scenario.begins(row) - 1]["content"])
        own = str(row["messages"][-1]["content"])
        beside = strangers(facts, one.results, asked, [own])
        found = score(one.final, facts, wanted.locale_of(row), asked, one.results, None, beside, own)
        if found.fault or found.semantic.missed:
            return "fact_missing"
        if found.semantic.false:
            return "fact_besides"
    return ""
