"""A step that is about to begin × what is set aside for it → the report `start`, on which rules of phase pre-step
decide.

It stands in the line of the journal that says that the step begins, and again in the one that commits it: the report is
made of that line, by whoever reads it. Only a plan with such a rule has such reports; the lines have it always, so that
a rule which is new is asked of what began before it.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from runtime.contract import Stopped
from runtime.contract.report import dump, envelope, measured, unavailable
from runtime.machine.account import UNITS, Account
from runtime.machine.journal import name_of
from runtime.machine.meter import Spent

START = "start"
_HOUR_S = 3600


class NotBegun(Stopped):
    """Unwinds a step that a rule of phase pre-step does not let begin; names the rules and their remedies."""


@dataclass(frozen=True)
class Gate:
    """What an attempt has to pass: `facts` makes the report's data of its number and of what is set aside for it, `ask`
    raises NotBegun."""

    facts: Callable[[int, Spent], Mapping[str, Any]]
    ask: Callable[[Mapping[str, Any]], None]


def key_of(step: str) -> str:
    """What the report on a step is called beside those that the step gives."""
    return f"{START}.{step}"


def asked(lock: Mapping[str, Any]) -> frozenset[str]:
    """The keys of the reports `start` that an obligation of the lock is about."""
    found = (one for one in lock.get("obligations", ()) if one.get("report") == START)
    return frozenset(str(one["from"]).removeprefix("step:") for one in found)


def facts(
    step: Mapping[str, Any],
    executor: str,
    attempt: int,
    there: Iterable[bool],
    accounts: Iterable[Account],
    reserved: Spent,
    counted: int,
    now: Callable[[], float] = time.time,
) -> dict[str, Any]:
    """The report's data. `there`: of each artifact and input that the step takes, whether it is; `accounts`: as they
    are without what is `reserved` for this attempt; `counted`: until which line of the record of what was bought."""
    found = list(there)
    own = {
        "wall_s": reserved.wall_s,
        "gpu_hours": reserved.gpu_s / _HOUR_S,
        "training_tokens": reserved.training_tokens,
    }
    known = {one.name: _budget(one, own.get(one.name, 0)) for one in accounts}
    begun = datetime.datetime.fromtimestamp(now(), datetime.UTC)
    return {
        "step": step["id"],
        "kind": step["kind"].partition("@")[0],
        "backend": step["backend"],
        "executor": executor,
        "device": str(step["params"].get("device", "cpu")),
        "began": begun.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "attempt": measured(attempt, "count"),
        "asks_server": measured(_asks(step["params"]), "bool"),
        "inputs": {"all": measured(len(found), "count"), "missing": measured(found.count(False), "count")},
        "budgets": {name: known.get(name) or _unbounded(unit) for name, unit in UNITS.items()},
        "counted": measured(counted, "count"),
    }


def _budget(one: Account, own: float) -> dict[str, Any]:
    aside = round(one.reserved + own, 9)
    left = max(0, round(one.limit - one.spent - aside, 9))
    share = unavailable("nothing may be spent", "1") if not one.limit else measured(round(left / one.limit, 9), "1")
    return {
        "limit": measured(one.limit, one.unit),
        "spent": measured(one.spent, one.unit),
        "reserved": measured(aside, one.unit),
        "left": measured(left, one.unit),
        "left_share": share,
    }


def _unbounded(unit: str) -> dict[str, Any]:
    return _unknown("no bound is written", unit)


def _unknown(reason: str, unit: str) -> dict[str, Any]:
    none = {name: unavailable(reason, unit) for name in ("limit", "spent", "reserved", "left")}
    return {**none, "left_share": unavailable(reason, "1")}


def _asks(params: Any) -> bool:
    """Whether the step asks a model behind a server: over the network, and for money where it has a price."""
    if isinstance(params, Mapping):
        return bool(params.get("base_url")) or any(map(_asks, params.values()))
    return isinstance(params, list | tuple) and any(map(_asks, params))


def text(step: str, data: Mapping[str, Any]) -> bytes:
    """The report on a step, as reports are written."""
    made = envelope(
        kind=START,
        step=key_of(step),
        subject={},
        fingerprints={},
        environment={"forged": False, "backend": "kcompiler"},
        data=data,
    )
    return dump(made).encode()


def texts(lock: Mapping[str, Any], step: str, record: Mapping[str, Any]) -> dict[str, bytes]:
    """Key → report, of a committed record: where the lock asks about it, and the attempt was asked."""
    key = key_of(step)
    return {key: text(step, under(lock, step, record))} if START in record and key in asked(lock) else {}


def under(lock: Mapping[str, Any], step: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """What was written down when a step began, as it answers for a plan: of a budget that was another one then nothing
    is known. What is taken of a budget is counted by the name of a spec."""
    reason = f"`{step}` began under another budget: `kcompiler apply SPEC --force {step}` begins it anew"
    own = name_of(str(record.get("spec", ""))) == name_of(str(lock["asked"]["name"]))
    data, limits = dict(record[START]), lock.get("budgets", {})
    told = {
        name: one if own and one["limit"]["value"] == limits.get(name) else _unknown(reason, UNITS.get(name, "1"))
        for name, one in data["budgets"].items()
    }
    return {**data, "budgets": told}
