"""A project and the name of a spec → everything recomputed that its evidence claims, and every place where it differs.

Reads the committed lock, the evidence beside it and, where it exists, the project's own store and journal. Trusts none
of them: pins, policies and obligations are compared with the files, the journal's chain is verified by code of its own,
artifacts and reports are hashed again, and the verdict is judged again (plan-apply-policy.md, 7.9). `packing` makes a
ZIP file of it, and `bundle` audits that without the project.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kcompiler.audit import again, evidence, forecast, items, plan, records, repeated, waivers
from kcompiler.audit.finding import Audit, Finding, differs
from kcompiler.lock import plan_digest
from kcompiler.policy import evidence as policy_evidence
from kcompiler.project import Project
from kcompiler.verifier.records import pinned
from kcompiler.waiver import Waivers

__all__ = ["Audit", "Finding", "audit"]


def audit(
    root: Path, name: str, now: str = "", *, bundled: bool = False, revoked: frozenset[str] = frozenset()
) -> Audit:
    """Recompute everything about the spec `name` of the project at `root`. Nothing is written. `now` (UTC, such as
    2026-01-31T00:00:00Z) is the time of the audit: no verdict may be of a later one, and waivers stand as they do then.
    `revoked` are fingerprints of keys whose approvals no longer count.

    `bundled` is a project that was unpacked from a bundle: packs are its own alone, and inputs, data and weights that
    are not in it are notes.

    Findings of severity "evidence" (exit 3) mean damage, loss or forgery; "disagreement" (exit 1) means that two sound
    things do not say the same, such as a lock and a spec that was edited since; "unfinished" (exit 1) that steps of the
    run have no result yet.
    """
    project = Project(root)
    lock, folder = project.lock(name), project.evidence(name)
    shown, lines_shown = project.shown(folder), f"{project.shown(folder)}/{records.JOURNAL}"
    made, findings = plan.read(lock, project.shown(lock))
    if made is None:
        return Audit(findings=findings, checked={}, verdict="")
    identity = plan_digest(made)
    findings = [
        *plan.pins(made, root, bundled=bundled),
        *plan.policies(made, root, bundled=bundled),
        *plan.approved(made, project, now, revoked),
    ]
    known, found = records.state_journal(root)
    findings += found
    if known is not None and not any(line.type == "run_opened" and line.data.get("plan") == identity for line in known):
        findings.append(
            differs("KA13", f"{records.STATE}/{records.JOURNAL}", "no run in the journal carried out this lock")
        )
    committed = records.committed_since(known, identity)
    used, found = records.in_use(folder / records.JOURNAL, lines_shown, known)
    findings += [*found, *records.against_lock(made, used, lines_shown, committed)]
    if known is not None:
        findings += records.artifacts(root, used, bundled=bundled)
        findings += repeated.promises(root, made, used, known, lines_shown)
    given, found = evidence.reports(folder, shown, used, made, known, records.purse(root))
    findings += found
    judged = 0
    if known is not None:
        judged, found = items.recomputed(root, made, used, given, shown)
        findings += [*found, *again.remade(root, made, used, given, shown)]
    run, found = evidence.run(
        folder / evidence.RUN, f"{shown}/{evidence.RUN}", made, used, identity, known, records.purse(root)
    )
    findings += found
    everything = {step: policy_evidence.read(data) for step, data in evidence.report_of_the_run(given, run).items()}
    findings += again.contradictions(everything, shown)
    opened = records.opened(known, identity, folder / records.JOURNAL)
    told: list[tuple[Waivers, str]] = []

    def at_hand(recorded: Mapping[str, Any]) -> tuple[Waivers, list[Finding]]:
        held, about = waivers.at_hand(root, made, folder, shown, recorded, known, revoked, bundled=bundled)
        told.append((held, str(recorded["verdict"])))
        return held, about

    word, found = evidence.verdict(
        folder / evidence.VERDICT,
        f"{shown}/{evidence.VERDICT}",
        made,
        everything,
        opened,
        identity,
        at_hand=at_hand,
        now=now,
        pin=pinned((line.content for line in known or ()), identity),
    )
    checked = {
        "steps": len(used),
        "artifacts": sum(len(record["gives"]) for record in used.values()) if known is not None else 0,
        "reports": len(everything),
        "items": judged,
        "obligations": len(made["obligations"]),
        "journal lines": len(known or ()),
    }
    standing = [
        line
        for held, recorded in (told if now else ())
        for line in forecast.standing(made, everything, identity, held, recorded, now)
    ]
    return Audit(findings=[*findings, *found], checked=checked, verdict=word, standing=standing)
