"""Committed records → `generated/<spec>/evidence/`: the reports, the run's own report, and the journal's lines of them.

    reports/<step>.json   copies of the report artifacts (`<step>.<port>.json` for a port not called "report")
    run.json              report of kind `run`: what the work took, from the journal, also of reused steps
    journal.jsonl         the `step_committed` lines of the artifacts in use, as they stand in the journal

The folder says what the present artifacts are and cost, not what one apply did: applying again without a change leaves
every byte of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime import digest
from runtime.contract import BrokenEvidence, strict_json
from runtime.contract.forecast import error, lost_s
from runtime.contract.peak import NUMBERS, off, peak_of
from runtime.contract.report import dump, envelope, estimated, measured, rate, unavailable
from runtime.machine import starting
from runtime.machine.account import Account
from runtime.machine.context import REPORT, environment
from runtime.machine.durable import Disk, sweep
from runtime.machine.locked import RUN
from runtime.machine.meter import TOKENS
from runtime.machine.store import Store


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What goes into the folder: report key → text, and committed journal lines in order."""

    reports: Mapping[str, bytes]
    run: Mapping[str, Any]
    lines: Sequence[bytes]


def reports_of(record: Mapping[str, Any], store: Store) -> dict[str, bytes]:
    """Report key → bytes of each report a committed record gives. Raises BrokenEvidence."""
    found: dict[str, bytes] = {}
    for port, give in record["gives"].items():
        if give["kind"] == "report":
            key = record["step"] if port == "report" else f"{record['step']}.{port}"
            found[key] = (store.read(give["digest"]) / REPORT).read_bytes()
    return found


def parse(text: bytes, key: str) -> dict[str, Any]:
    """A report as the judge gets it. Raises BrokenEvidence for what is no strict JSON object."""
    try:
        value = strict_json.loads(text)
    except ValueError as error:
        raise BrokenEvidence(f"the report cannot be read: {error}", subject=f"report {key}") from error
    if not isinstance(value, dict):
        raise BrokenEvidence("the report is not an object", subject=f"report {key}")
    return value


def run_report(
    lock: Mapping[str, Any],
    records: Mapping[str, Mapping[str, Any]],
    accounts: Sequence[Account] = (),
    counted: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """The report of kind `run`. `records`: step id → the committed record in use; steps without one are missing.

    Times are what the attempts of the step took, in seconds, wherever and whenever it was carried out: by the wall
    clock, of processors, of accelerators. An attempt that was killed counts until shortly after its last sign of life;
    lost attempts left none, and a sum with any of them is unavailable. What an estimate said, when the step was begun,
    stands beside what was measured. `accounts`: what is spent of each budget; `counted`: until which line of the
    journal, and of the record of what was bought.
    """
    steps: dict[str, Any] = {}
    # which plan it belongs to: the reports themselves are reused across plans and cannot say
    subject: dict[str, str] = {"plan": digest.of_plan(dict(lock))}
    for step in lock["steps"]:
        record = records.get(step["id"])
        if record is None:
            continue
        subject.update({f"{step['id']}.{port}": give["digest"] for port, give in record["gives"].items()})
        begun = starting.texts(lock, step["id"], record)
        subject.update({key: digest.of_one_file(REPORT, text) for key, text in begun.items()})
        steps[step["id"]] = {
            **{name: _seconds(record, f"{name}_s") for name in ("cpu", "gpu", "wall")},
            "attempts": measured(record["attempts"], "count"),
            "lost_attempts": measured(record["lost_attempts"], "count"),
            "bytes": measured(sum(give["bytes"] for give in record["gives"].values()), "B"),
            **{name: _tokens(record, name) for name in TOKENS},
            **_estimate(record),
            **_memory(record, step["id"] in lock.get("estimates", {})),
            "resumes": [_resumed(one) for one in record.get("resumes", ())],
        }
    missing = [step["id"] for step in lock["steps"] if step["id"] not in records]
    data: dict[str, Any] = {
        "spec": lock["asked"]["name"],
        "steps": steps,
        "done": rate(len(steps), len(lock["steps"])),
        "missing": missing,
    }
    lost = [name for name, record in records.items() if record["lost_attempts"]]
    for name, unit in _TOTALS.items():
        if missing:
            data[name] = unavailable(f"no committed result of {', '.join(missing)}", unit)
        elif lost and unit in ("s", "token"):
            data[name] = unavailable(f"{', '.join(lost)}: {_LOST}", unit)
        else:
            data[name] = _sum([step[name] for step in steps.values()], unit)
    data |= _budgets(accounts, counted or {})
    data |= _overall(records, missing)
    data |= _memory_error(records, list(lock.get("estimates", {})))
    forged = any(record["forged"] for record in records.values())
    surroundings = environment("machine", lock["toolchain"], forged=forged)
    return envelope(kind="run", step=RUN, subject=subject, fingerprints={}, environment=surroundings, data=data)


def _budgets(accounts: Sequence[Account], counted: Mapping[str, int]) -> dict[str, Any]:
    """What is set aside for an attempt without an end counts as spent: nobody knows that it took less."""
    spent = {one.name: (one, round(one.spent + one.reserved, 9)) for one in accounts}
    return {
        "budgets": {
            # what is over a budget is seen in `spent`; of a budget that is used up nothing is left, not less
            name: {"spent": measured(value, one.unit), "left": measured(max(0, round(one.limit - value, 9)), one.unit)}
            for name, (one, value) in spent.items()
        },
        "budgets_kept": rate(sum(value <= one.limit for one, value in spent.values()), len(spent)),
        "counted": {name: measured(counted.get(name, 0), "count") for name in ("journal", "purse")},
    }


#: datum → its unit
_TOTALS = {
    "wall": "s",
    "cpu": "s",
    "gpu": "s",
    "attempts": "count",
    "lost_attempts": "count",
    "bytes": "B",
    "training_tokens": "token",
    "teacher_tokens": "token",
}
_UNKNOWN = "nothing was estimated: no result of the step was recorded, and no machine with figures is named for it"
_OLD = "the journal's line is of a version that did not count them"
_UNSEEN = "memory was not measured: the system does not say what the process held"
_NO_DEVICE = "no accelerator was trained on, or none whose memory is counted"
_LOST = "an attempt was killed and left no sign of how long it worked; `apply --force` takes the step anew"


def _seconds(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    return unavailable(_LOST, "s") if record["lost_attempts"] else measured(record[name], "s")


def _tokens(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    if record["lost_attempts"]:
        return unavailable(_LOST, "token")
    return measured(record[name], "token") if name in record else unavailable(_OLD, "token")


def _estimate(record: Mapping[str, Any]) -> dict[str, Any]:
    made, off = record.get("forecast"), error(record)
    if made is None:
        return {name: unavailable(_UNKNOWN, unit) for name, unit in (("estimated", "s"), ("estimate_error", "1"))}
    return {
        "estimated": estimated(made["wall_s"], "s", by=made["by"]),
        "estimate_error": unavailable(_LOST, "1") if off is None else measured(round(off, 6), "1"),
    }


def _memory(record: Mapping[str, Any], trains: bool) -> dict[str, Any]:
    """Of a step that trains: the highest of its attempts, and what the formula said of the largest pass."""
    if not trains:
        return {}
    peak, apart = None if record["lost_attempts"] else peak_of(record), off(record)
    why = _LOST if record["lost_attempts"] else _UNSEEN

    def held(value: int | None, reason: str) -> dict[str, Any]:
        return unavailable(reason, "B") if value is None else measured(value, "B")

    if peak is None:
        data = {name: unavailable(why, "B") for name in (*NUMBERS, "estimated")}
    else:
        data = {
            "before": held(peak.before, _UNSEEN),
            "host": held(peak.host, _UNSEEN),
            "device": held(peak.device, _NO_DEVICE),
            "estimated": estimated(peak.estimated, "B", by="formula"),
        }
    return {"memory": {**data, "error": unavailable(why, "1") if apart is None else measured(apart, "1")}}


def _memory_error(records: Mapping[str, Mapping[str, Any]], trained: Sequence[str]) -> dict[str, Any]:
    """The largest error of all trainings; a plan without any has none."""
    if not trained:
        return {}
    missing = [name for name in trained if name not in records]
    if missing:
        return {"memory_error": unavailable(f"no committed result of {', '.join(missing)}", "1")}
    parts = {name: _memory(records[name], True)["memory"]["error"] for name in trained}
    for name, part in parts.items():
        if part["value"] is None:
            return {"memory_error": unavailable(f"{name}: {part['reason']}", "1")}
    return {"memory_error": measured(max(part["value"] for part in parts.values()), "1", n=len(parts))}


def _resumed(one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "attempt": measured(one["attempt"], "count"),
        "at": measured(one["at"], "step"),
        "repeated": _known(one["repeated"], "step"),
        "lost": _known(one["lost_s"], "s"),
        "changed": list(one["changed"]),
    }


def _known(value: float | None, unit: str) -> dict[str, Any]:
    return unavailable(_LOST, unit) if value is None else measured(value, unit)


def _sum(parts: Sequence[Mapping[str, Any]], unit: str) -> dict[str, Any]:
    """The sum of data, unavailable with the first reason that one of them is."""
    reason = next((part["reason"] for part in parts if part["value"] is None), None)
    if reason is not None:
        return unavailable(reason, unit)
    return measured(round(sum(part["value"] for part in parts), 6), unit)


def _overall(records: Mapping[str, Mapping[str, Any]], missing: Sequence[str]) -> dict[str, Any]:
    """What was done twice, and what had been estimated of all steps together."""
    again = [_resumed(one) for record in records.values() for one in record.get("resumes", ())]
    data = {
        "resumes": measured(len(again), "count"),
        "repeated": _sum([one["repeated"] for one in again], "step"),
        "lost": _sum([one["lost"] for one in again], "s"),
    }
    parts = [_estimate(record) for record in records.values()]
    unknown = [name for name, part in zip(records, parts, strict=True) if part["estimate_error"]["value"] is None]
    if missing or unknown:
        why = f"no committed result of {', '.join(missing)}" if missing else f"{', '.join(unknown)}: {_UNKNOWN}"
        return {**data, "estimated": unavailable(why, "s"), "estimate_error": unavailable(why, "1")}
    foreseen = sum(part["estimated"]["value"] for part in parts)
    took = sum(record["wall_s"] - lost_s(record) for record in records.values())
    off = abs(took - foreseen) / took
    by = "+".join(sorted({str(part["estimated"]["by"]) for part in parts}))
    return {
        **data,
        "estimated": estimated(round(foreseen, 6), "s", by=by),
        "estimate_error": measured(round(off, 6), "1"),
    }


def write(folder: Path, evidence: Evidence, disk: Disk) -> None:
    """Bring the folder to this state; files that say the same already are not touched, others in it are removed."""
    wanted = {f"reports/{key}.json": text for key, text in evidence.reports.items()}
    wanted["run.json"] = dump(evidence.run).encode()
    wanted["journal.jsonl"] = b"".join(evidence.lines)
    for name, text in wanted.items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != text:
            disk.write(path, text)
    for path in sorted((folder / "reports").glob("*")):
        if f"reports/{path.name}" not in wanted:
            path.unlink()
    sweep(folder)
