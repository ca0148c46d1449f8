"""A lock → what it says of itself, as the reports `compile` and `plan`: what rules of these phases decide on before any
step runs. Standard library only: the compiler, the judge's callers and a stranger's verifier read one text.

`compile` is what the spec's text and the files it names give; `plan` what is known once the graph is ordered, pinned
and estimated. Both follow from the lock alone, so that nothing of them is kept, and nothing of them can be forged
without another lock.
"""

from __future__ import annotations

import json
from typing import Any, Dict, Iterator, List, Mapping

COMPILE, PLAN = "compile", "plan"
#: kinds of report that a plan makes of itself; each is that of a step of the same name
KINDS = (COMPILE, PLAN)
#: kind of the report on a step that is about to begin, and the phase of rules about it
START, PRE_STEP = "start", "pre-step"
PHASES = (*KINDS, PRE_STEP)

#: a bound of the section `budgets` → its name in the report, and its unit
_BOUNDS = {
    "usd": ("usd", "USD"),
    "gpu_hours": ("gpu", "hour"),
    "wall_s": ("wall", "s"),
    "cpu_s": ("cpu", "s"),
    "training_tokens": ("training_tokens", "token"),
    "teacher_tokens": ("teacher_tokens", "token"),
    "teacher_calls": ("teacher_calls", "call"),
}


def reports(lock: Mapping[str, Any]) -> Dict[str, Any]:
    """Step → report, of those that an obligation of the lock is about; none where no rule asks."""
    made = {COMPILE: compiled, PLAN: planned}
    return {kind: made[kind](lock) for kind in asked(lock) if kind in made}


def asked(lock: Mapping[str, Any]) -> List[str]:
    """The kinds of report that an obligation of the lock is about."""
    named = {one.get("report") for one in lock.get("obligations", ())}
    return [kind for kind in (*KINDS, START) if kind in named]


def start_of(step: str) -> str:
    """What the report on a step that begins is called."""
    return f"{START}.{step}"


def starts(lock: Mapping[str, Any], records: Mapping[str, Mapping[str, Any]]) -> Dict[str, Any]:
    """Its name → each such report that an obligation of the lock is about, out of the committed line of its step; none
    of a step that began without being asked."""
    about = {one.get("from") for one in lock.get("obligations", ()) if one.get("report") == START}
    return {
        start_of(step): _report(START, under(lock, step, record), start_of(step))
        for step, record in records.items()
        if START in record and f"step:{start_of(step)}" in about
    }


def under(lock: Mapping[str, Any], step: str, record: Mapping[str, Any]) -> Any:
    """What was written down when a step began, as it answers for a plan: of a budget that was another one then nothing
    is known. What is taken of a budget is counted by the name of a spec, without its profile."""
    data, limits = record[START], lock.get("budgets", {})
    known = data.get("budgets") if isinstance(data, Mapping) else None
    if not isinstance(known, Mapping):
        return data
    own = str(record.get("spec", "")).partition("@")[0] == str(lock["asked"]["name"]).partition("@")[0]
    reason = f"`{step}` began under another budget: `kcompiler apply SPEC --force {step}` begins it anew"
    told = {}
    for name, one in known.items():
        limit = one.get("limit") if isinstance(one, Mapping) else None
        value = limit.get("value") if isinstance(limit, Mapping) else None
        same = own and value == limits.get(name)
        told[name] = one if same else _unknown(reason, _BOUNDS.get(name, ("", "1"))[1])
    return {**data, "budgets": told}


def dump(report: Mapping[str, Any]) -> bytes:
    """Its bytes, as those of every report are written."""
    return (json.dumps(report, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def compiled(lock: Mapping[str, Any]) -> Dict[str, Any]:
    """Of `inputs`, `steps` (their `kind` and `params`), `plugins` and `budgets`; nothing that a key is needed for."""
    kinds: Dict[str, int] = {}
    for step in lock["steps"]:
        name = step["kind"].partition("@")[0]
        kinds[name] = kinds.get(name, 0) + 1
    lengths = [step["params"]["steps"] for step in lock["steps"] if step["kind"].partition("@")[0] == "train"]
    named = {
        one.strip() for part in (lock["inputs"], [step["params"] for step in lock["steps"]]) for one in _licences(part)
    }
    return _report(
        COMPILE,
        {
            "licenses": {"count": _measured(len(named - {""}), "licence"), "names": sorted(named - {""})},
            "steps": {
                "all": _measured(len(lock["steps"]), "step"),
                "by_kind": {name: _measured(kinds[name], "step") for name in sorted(kinds)},
            },
            "trainings": {
                "all": _measured(len(lengths), "training"),
                "longest": _measured(max(lengths), "step") if lengths else _unavailable("nothing is trained", "step"),
            },
            "inputs": {
                "all": _measured(len(lock["inputs"]), "input"),
                "bytes": _measured(sum(one["bytes"] for one in lock["inputs"]), "byte"),
            },
            "plugins": _measured(len({one["distribution"] for one in lock["plugins"]}), "distribution"),
            "budgets": {
                name: _unavailable("no bound is written", unit)
                if lock["budgets"].get(key) is None
                else _measured(lock["budgets"][key], unit)
                for key, (name, unit) in _BOUNDS.items()
            },
        },
    )


def planned(lock: Mapping[str, Any]) -> Dict[str, Any]:
    """Of `estimates`, `budgets`, `obligations`, `policies` and `waivers`."""
    estimates = list(lock["estimates"].values())
    seconds = [one["wall_s"] for one in estimates if "wall_s" in one]
    known = bool(estimates) and len(seconds) == len(estimates)
    whole = round(sum(seconds), 6)
    none = "nothing is trained" if not estimates else "no machine with figures is named under hardware.training_profile"
    # what rules of these phases ask is decided already: they are not counted among those that are still to come
    later = [one for one in lock["obligations"] if one["report"] not in KINDS]
    signers = [one["approval"]["min"] for one in lock["policies"] if "approval" in one]
    return _report(
        PLAN,
        {
            "trainings": {
                "work": _estimated(sum(one["gigaoperations"] for one in estimates), "gigaoperation")
                if estimates
                else _unavailable(none, "gigaoperation"),
                "wall": _estimated(whole, "s") if known else _unavailable(none, "s"),
                "of_budget": _estimated(round(whole / lock["budgets"]["wall_s"], 9), "1")
                if known
                else _unavailable(none, "1"),
            },
            "obligations": {
                "block": _measured(sum(one["mode"] == "block" for one in later), "rule"),
                "warn": _measured(sum(one["mode"] == "warn" for one in later), "rule"),
                "skip": _measured(sum(one["mode"] == "skip" for one in later), "rule"),
                "waivable": _measured(sum("waivable" in one for one in later), "rule"),
            },
            "signatures": _measured(max(signers, default=0), "signature"),
            "waivers": _measured(len(lock.get("waivers", ())), "waiver"),
        },
    )


def _licences(value: Any) -> Iterator[str]:
    """Every text that stands under `license`, wherever it does."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            if key == "license" and isinstance(one, str):
                yield one
            else:
                yield from _licences(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _licences(one)


def _report(kind: str, data: Dict[str, Any], step: str = "") -> Dict[str, Any]:
    return {
        "kind": kind,
        "schema_version": "1.0",
        "step": step or kind,
        "subject": {},
        "fingerprints": {},
        "environment": {"forged": False, "backend": "kcompiler"},
        "data": data,
    }


def _measured(value: Any, unit: str) -> Dict[str, Any]:
    return {"value": value, "unit": unit, "tag": "measured"}


def _estimated(value: Any, unit: str) -> Dict[str, Any]:
    return {"value": value, "unit": unit, "tag": "estimated", "by": "arithmetic of the plan"}


def _unknown(reason: str, unit: str) -> Dict[str, Any]:
    none = {name: _unavailable(reason, unit) for name in ("limit", "spent", "reserved", "left")}
    return {**none, "left_share": _unavailable(reason, "1")}


def _unavailable(reason: str, unit: str) -> Dict[str, Any]:
    return {"value": None, "unit": unit, "tag": "unavailable", "reason": reason}
