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
from runtime.contract.report import dump, envelope, measured, rate, unavailable
from runtime.machine.context import REPORT, environment
from runtime.machine.durable import Disk, sweep
from runtime.machine.locked import RUN
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


def run_report(lock: Mapping[str, Any], records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The report of kind `run`. `records`: step id → the committed record in use; steps without one are missing.

    Times are what the attempts of the step took, in seconds, wherever and whenever it was carried out: by the wall
    clock, of processors, of accelerators. An attempt that was killed counts until shortly after its last sign of life;
    lost attempts left none, and a sum with any of them is unavailable.
    """
    steps: dict[str, Any] = {}
    # which plan it belongs to: the reports themselves are reused across plans and cannot say
    subject: dict[str, str] = {"plan": digest.of_plan(dict(lock))}
    for step in lock["steps"]:
        record = records.get(step["id"])
        if record is None:
            continue
        subject.update({f"{step['id']}.{port}": give["digest"] for port, give in record["gives"].items()})
        steps[step["id"]] = {
            **{name: _seconds(record, f"{name}_s") for name in ("cpu", "gpu", "wall")},
            "attempts": measured(record["attempts"], "count"),
            "lost_attempts": measured(record["lost_attempts"], "count"),
            "bytes": measured(sum(give["bytes"] for give in record["gives"].values()), "B"),
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
        elif lost and unit == "s":
            data[name] = unavailable(f"{', '.join(lost)}: {_LOST}", unit)
        else:
            data[name] = measured(round(sum(step[name]["value"] for step in steps.values()), 6), unit)
    forged = any(record["forged"] for record in records.values())
    surroundings = environment("machine", lock["toolchain"], forged=forged)
    return envelope(kind="run", step=RUN, subject=subject, fingerprints={}, environment=surroundings, data=data)


#: datum → its unit
_TOTALS = {"wall": "s", "cpu": "s", "gpu": "s", "attempts": "count", "lost_attempts": "count", "bytes": "B"}
_LOST = "an attempt was killed and left no sign of how long it worked; `apply --force` takes the step anew"


def _seconds(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    return unavailable(_LOST, "s") if record["lost_attempts"] else measured(record[name], "s")


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
