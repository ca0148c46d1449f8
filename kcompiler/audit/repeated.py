"""Committed lines in use × all others of the journal that were made of the same → promises that were not kept.

A step that promises the same bytes gave them whenever it ran on a machine of the same words; the figures of one whose
promise is statistical lie within the tolerance of the lock, on whichever machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kcompiler.audit.finding import Finding, differs
from kcompiler.audit.journal import Line
from kcompiler.audit.records import STATE, Records, is_record
from runtime.contract import placing

_MACHINE = "environment."


def promises(
    root: Path, plan: Mapping[str, Any], records: Records, known: Sequence[Line], subject: str
) -> Iterator[Finding]:
    """One finding for each line in use that another line of the journal does not bear out."""
    committed = [line.data for line in known if line.type == "step_committed" and is_record(line.data)]
    genuine = [one for one in committed if not one["forged"]]
    alike = {exact: _by_parts(exact, genuine) for exact in (True, False)}

    def data_of(report: str) -> Mapping[str, Any] | None:
        return _data_of(root, report)

    for step in plan["steps"]:
        record = records.get(step["id"])
        if record is None or record["forged"]:
            continue
        exact = step["promise"] == placing.BITWISE
        of_the_same = alike[exact].get(_made_of(exact, record), [])
        whys = [why for one in of_the_same for why in placing.unlike(step, one["gives"], record["gives"], data_of)]
        for why in dict.fromkeys(whys):
            yield differs("KA16", subject, f"step `{step['id']}` ({step['promise']}) was not reproduced: {why}")


def _by_parts(exact: bool, records: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """What it was made of → all that was made of it, in the order of the lines."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for one in records:
        found.setdefault(_made_of(exact, one), []).append(one)
    return found


def _made_of(exact: bool, record: Mapping[str, Any]) -> str:
    """Everything that a result may depend on, of an exact promise or of another, as one text."""
    parts = record["components"].items()
    return json.dumps({name: value for name, value in parts if exact or not name.startswith(_MACHINE)}, sort_keys=True)


def _data_of(root: Path, report: str) -> Mapping[str, Any] | None:
    """The data of a report in the store; None where it is gone (`state gc` keeps what is in use) or no report."""
    scheme, _, text = report.partition(":")
    try:
        return placing.data_of((root / STATE / "store" / scheme / text[:2] / text / "report.json").read_bytes())
    except OSError:
        return None
