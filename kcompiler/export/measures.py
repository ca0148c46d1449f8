"""Facts → the numbers of the evaluations that an export tells, each with its interval, counts and report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kcompiler.export.facts import Facts
from kcompiler.render.human_run import measured
from runtime import digest


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measured number. `path` is dotted, below the data of the report of `step`; `report` is "sha256:…" of it."""

    step: str
    kind: str
    path: str
    datum: Mapping[str, Any]
    report: str
    dataset: str


def measures(facts: Facts) -> Iterator[Measure]:
    """Of reports that were measured, and of their numbers those that are; what is unavailable or estimated is none."""
    reports = facts.real
    for one in measured(reports):
        value = one["datum"]["value"]
        if one["datum"]["tag"] != "measured" or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        report = reports[one["step"]]
        yield Measure(
            step=one["step"],
            kind=str(report["kind"]),
            path=one["path"],
            datum=one["datum"],
            report=digest.of_bytes(facts.reports[one["step"]]),
            dataset=str(report["fingerprints"].get("dataset") or ""),
        )
