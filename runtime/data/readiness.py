"""Operation `readiness`: files of a team's CI → the report that says how ready the code around the student is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.contract import Context, Refusal
from runtime.contract import report as facts
from runtime.contract.ready import READ, Unreadable
from runtime.steps.readiness import ReadinessParams


def gather(takes: Mapping[str, Path], params: ReadinessParams, ctx: Context) -> None:
    """Operation `readiness`. Raises Refusal (KR0280) as `read` does."""
    ctx.report("report", read(takes, params), fingerprints={})


def read(takes: Mapping[str, Path], params: ReadinessParams) -> dict[str, Any]:
    """The data of the report. Raises Refusal (KR0280) for a file that is not of its form, or not whole."""
    data: dict[str, Any] = {}
    named: dict[str, list[str]] = {}
    for about in params.files:
        try:
            found = READ[about](takes[about].read_bytes())
        except Unreadable as reason:
            raise Refusal(
                f"the file of readiness.{about} {reason}",
                place=f"readiness.{about}",
                action="let CI write it again, whole; `kcompiler explain field:readiness` names the forms",
                code="KR0280",
            ) from None
        named[about] = found.pop("revisions")
        data[about] = {**found, "revision": " ".join(one or "none" for one in named[about]) or "none"}
    return {**data, "files": facts.measured(len(data), "file"), "of_revision": _of(params.revision, named)}


def _of(wanted: str, named: Mapping[str, list[str]]) -> dict[str, Any]:
    """Files that name the commit that the spec does, and no other, of all that could: one that names none may be of
    any, and so may a part that names none beside others that do.

    Cobertura has no place for a commit.
    """
    if not wanted:
        return facts.unavailable("the spec names no revision", "ratio")
    found = [commits for about, commits in named.items() if about != "coverage"]
    meant = (bool(commits) and all(one.lower().startswith(wanted) for one in commits) for commits in found)
    return facts.rate(sum(meant), len(found))
