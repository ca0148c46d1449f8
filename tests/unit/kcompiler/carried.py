"""A plan carried out whatever its rules say, with the verdict that they give in the end, which the journal names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kcompiler import lock
from kcompiler.judge import Verdict, judge
from kcompiler.project import Project
from kcompiler.verifier import facts
from runtime import digest
from runtime.machine import apply as machine


def nothing(_reports: Mapping[str, bytes], _steps: Any) -> list[dict[str, Any]]:
    return []


def carried(
    made: dict[str, Any],
    root: Path,
    ask: Callable[[Mapping[str, bytes], Any], list[dict[str, Any]]] = nothing,
    only: Sequence[str] | None = None,
) -> tuple[machine.Run, Verdict]:
    """`ask` decides what may go on; the verdict is written beside the evidence."""
    given: dict[str, Any] = dict(facts.reports(made))

    def asked(reports: Mapping[str, bytes], steps: Any) -> list[dict[str, Any]]:
        given.update(reports)
        return ask(reports, steps)

    def decided() -> Verdict:
        return judge(given, made["obligations"], lock=lock.plan_digest(made))

    run = machine.apply(
        made, root=root, judge=asked, only=only, verdict=lambda: digest.of_bytes(decided().dump().encode())
    )
    verdict = decided()
    Project(root).verdict(made["asked"]["name"]).write_text(verdict.dump(), encoding="utf-8")
    return run, verdict
