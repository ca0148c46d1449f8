"""Lines of a journal, lines of a purse, a lock → what is spent of each budget; against what the report on the run says.

Standard library only. What is paid for is counted for the name of a spec: every attempt ever made for it. An attempt
without an end counts with what was set aside for it in the line that says that it begins.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Dict, Iterator, Mapping, Optional, Sequence, Set

from kcompiler.verifier.reading import strict, text_at

Record = Mapping[str, Any]
#: of a journal line
NAMES = ("gpu_s", "training_tokens", "teacher_tokens")
_ENDED = ("step_killed", "step_failed", "step_interrupted", "step_settled")
_COUNTING = frozenset(("step_claimed", "step_staged", "step_committed", *_ENDED))
_START = "0" * 64
#: how far sums of seconds may be apart that were added in another order
_APART = 1e-5
#: budget → datum of a journal line, and how many of its units one of the budget is
PAID: Mapping[str, Any] = {
    "gpu_hours": ("gpu_s", 3600),
    "training_tokens": ("training_tokens", 1),
    "teacher_tokens": ("teacher_tokens", 1),
}


class _Known:
    """Attempts at one action since its last commit."""

    def __init__(self) -> None:
        self.of, self.claimed, self.ended = "", 0, 0
        self.spent: Dict[str, float] = dict.fromkeys(NAMES, 0)
        self.reserved: Record = {}
        self.staged: Optional[Record] = None

    def newest(self, line: Record) -> Dict[str, float]:
        return {name: max(0, line.get(name, 0) - self.spent[name]) for name in NAMES}

    def open(self) -> Record:
        return self.reserved if self.staged is None else self.newest(self.staged)


def name_of(spec: Any) -> str:
    """Of a spec, without its profile."""
    return str(spec).partition("@")[0]


class Paid:
    """What attempts took, line by line, for each name of a spec."""

    def __init__(self) -> None:
        self._found: Dict[str, Dict[str, float]] = {}
        self._actions: Dict[str, _Known] = {}

    def of(self, name: str) -> Dict[str, float]:
        """What the attempts took, by the lines so far, that were made for a spec of this name."""
        found = dict(self._found.get(name, dict.fromkeys(NAMES, 0)))
        for known in self._actions.values():
            if name_of(known.of) == name:
                amount = known.open()
                found = {one: found[one] + amount.get(one, 0) for one in NAMES}
        return found

    def _pay(self, spec: str, amount: Record) -> None:
        purse = self._found.setdefault(name_of(spec), dict.fromkeys(NAMES, 0))
        for one in NAMES:
            purse[one] += amount.get(one, 0)

    def add(self, content: Record) -> None:
        """One more line."""
        kind, data = content["type"], content["data"]
        if kind not in _COUNTING:
            return
        spec = str(data.get("spec", ""))
        known = self._actions.setdefault(data["action"], _Known())
        if kind == "step_committed":
            self._pay(known.of or spec, known.newest(data))
            del self._actions[data["action"]]
        elif kind == "step_settled":
            if known.ended < known.claimed:
                self._pay(known.of, data)
                known.ended += 1
            known.staged, known.reserved = None, {}
        elif kind == "step_claimed":
            self._pay(known.of, known.open())
            known.of, known.claimed, known.staged = spec, known.claimed + 1, None
            known.reserved = data.get("reserved", {})
        elif kind == "step_staged":
            known.of, known.staged, known.reserved = spec, data, {}
        else:
            known.of = spec
            self._pay(spec, data)
            known.ended += 1
            known.spent = {one: known.spent[one] + data.get(one, 0) for one in NAMES}
            known.staged, known.reserved = None, {}


def paid(contents: Sequence[Record], name: str) -> Dict[str, float]:
    """What the attempts took, by these lines, that were made for a spec of this name."""
    found = Paid()
    for content in contents:
        found.add(content)
    return found.of(name)


class Marks:
    """Until which lines the report on a run may have been counted: those that stood at the end of a run of its lock,
    from the newest one on that carried out all of it and wrote its evidence."""

    def __init__(self, lines: Sequence[Any], identity: str, name: str) -> None:
        """`lines` have a `content`."""
        newest = 0
        runs: Dict[str, bool] = {}
        ends: Dict[str, int] = {}
        bought: Dict[str, int] = {}
        for line in lines:
            content = line.content
            data, run = content["data"], content["run"]
            if content["type"] in _COUNTING and name_of(data.get("spec", "")) == name:
                newest = content["seq"]
            elif content["type"] == "run_opened" and data.get("plan") == identity:
                runs[run] = data.get("only") is None
            elif content["type"] == "run_closed" and run in runs and isinstance(data.get("bought"), int):
                bought[run] = data["bought"]
            if run in runs:
                ends[run] = newest
        order = list(runs)
        whole = [number for number, run in enumerate(order) if runs[run] and run in bought]
        held = order[whole[-1] :] if whole else order
        self.journal: Set[int] = {ends[run] for run in held}
        #: None for a run that was killed before it said so
        self.purse: Set[Optional[int]] = {bought.get(run) for run in held}


def bought(data: bytes, name: str, mark: int) -> Optional[Dict[str, float]]:
    """What one purse paid by the first `mark` lines of a record. None where they are not what was
    written, or end before it."""
    found: Dict[str, float] = {"usd": 0.0, "calls": 0, "tokens": 0}
    left: Dict[str, Any] = {}
    last = _START
    if not mark:
        return found
    for number, text in enumerate(data.split(b"\n"), start=1):
        try:
            entry = dict(strict(text))
            stated = entry.pop("hash")
            if _hash(entry) != stated or (entry["line"], entry["after"]) != (number, last):
                return None
            last = stated
            one = {"usd": float(entry["usd"]), "calls": entry.get("calls", 1), "tokens": entry.get("tokens", 0)}
            if entry["is"] == "reserved":
                left[entry["as"]] = (entry["purse"], one)
            else:
                purse, _ = left.pop(entry["as"])
                found = {key: found[key] + one[key] for key in found} if purse == name else found
        except (ValueError, LookupError, TypeError, AttributeError):
            return None
        if number == mark:
            for purse, one in left.values():
                found = {key: found[key] + one[key] for key in found} if purse == name else found
            return found
    return None


def _hash(entry: Record) -> str:
    text = json.dumps(entry, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def wrong(
    report: Any,
    plan: Record,
    records: Mapping[str, Record],
    identity: str,
    lines: Optional[Sequence[Any]],
    purse: bytes,
) -> Iterator[str]:
    """JSON pointers of what a report on the run says of budgets and these do not. `lines`: of the whole journal, None
    where it is not here, and nothing can be said of what was paid. `purse`: the record of what was bought."""
    told = text_at(report, "data", "budgets")
    limits = {name: limit for name, limit in plan["budgets"].items() if name != "cpu_s" and limit is not None}
    if not isinstance(told, dict) or told.keys() != limits.keys():
        # a report of a version that counted no budgets has no word of them
        if told is not None or text_at(report, "data", "budgets_kept") is not None:
            yield "/data/budgets"
        return
    spent = {name: text_at(one, "spent", "value") for name, one in told.items()}
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in spent.values()):
        yield "/data/budgets"
        return
    for name, limit in limits.items():
        if not _near(text_at(told, name, "left", "value"), max(0, limit - spent[name])):
            yield f"/data/budgets/{name}/left"
    kept = [text_at(report, "data", "budgets_kept", one) for one in ("k", "n")]
    if kept != [sum(spent[name] <= limit for name, limit in limits.items()), len(limits)]:
        yield "/data/budgets_kept"
    for name, amount in _counted(report, plan, records, identity, lines, purse).items():
        if name in spent and (amount is None or not _near(spent[name], amount)):
            yield f"/data/budgets/{name}/spent"
    if "wall_s" in spent:
        least = sum(one["wall_s"] + (text_at(one, "held", "wall_s") or 0) for one in records.values())
        missing = [step for step in plan["steps"] if step["id"] not in records]
        if spent["wall_s"] < least - _APART or (not missing and not _near(spent["wall_s"], least)):
            yield "/data/budgets/wall_s/spent"


def _counted(
    report: Any,
    plan: Record,
    records: Mapping[str, Record],
    identity: str,
    lines: Optional[Sequence[Any]],
    purse: bytes,
) -> Dict[str, Optional[float]]:
    """Budget → what is spent of it; None where the report was not counted until where it must be."""
    if lines is None:
        return {}
    name = name_of(plan["asked"]["name"])
    marks = Marks(lines, identity, name)
    if not marks.journal:
        # which is said elsewhere: nobody carried out this lock
        return {}
    mark, other = (text_at(report, "data", "counted", one, "value") for one in ("journal", "purse"))
    found: Dict[str, Optional[float]] = dict.fromkeys(("usd", "teacher_calls", *PAID))
    if mark in marks.journal:
        amounts = paid([line.content for line in lines[:mark]], name)
        found.update({budget: amounts[datum] / unit for budget, (datum, unit) in PAID.items()})
    if isinstance(other, int) and (other in marks.purse or None in marks.purse):
        sums = bought(purse, name, other)
        if sums is not None:
            found.update({"usd": sums["usd"], "teacher_calls": sums["calls"]})
    return found


def _near(one: Any, other: float) -> bool:
    return isinstance(one, (int, float)) and abs(one - other) <= _APART
