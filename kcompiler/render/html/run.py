"""A plan and the evidence that lies beside it → what a page about that run is made of, each file read once.

Nothing here decides. A file that cannot be read, or is not the one that was judged, is a trouble that the page names:
a page must not look better than the evidence is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kcompiler import approval
from kcompiler.audit import items as audited
from kcompiler.audit import journal, records
from kcompiler.audit.schema import problem_with
from kcompiler.lock import plan_digest
from kcompiler.policy import evidence
from kcompiler.policy.binding import RUN
from kcompiler.project import Project
from kcompiler.render.explaining import explained
from kcompiler.render.places import outcomes
from kcompiler.result import RuleOutcome
from runtime.contract import strict_json

Report = Mapping[str, Any]
#: a page is the same on every day
_EVER = "9999-12-31T23:59:59Z"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


@dataclass(frozen=True, kw_only=True)
class Run:
    """What lies here of one run of a plan."""

    home: Project
    plan: Mapping[str, Any]
    #: "sha256:…" of the plan
    digest: str
    #: None where there is none, or none that can be read
    verdict: Mapping[str, Any] | None = None
    outcomes: Sequence[RuleOutcome] = ()
    #: (rule, step) → what decided it (schemas/explanation.schema.json)
    explained: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    #: step → its report, "apply" for that on the run
    reports: Mapping[str, Report] = field(default_factory=dict)
    #: step → committed record in use, of the steps that leave items
    committed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: lines of the project's journal about runs of this spec and its evaluations, each right by its own hash
    lines: Sequence[journal.Line] = ()
    #: who has approved the plan, and what is lacking, by all that was ever signed
    approvals: Sequence[str] = ()
    troubles: Sequence[str] = ()

    @property
    def name(self) -> str:
        return str(self.plan["asked"]["name"])

    def next(self, verdict: str) -> str:
        """What to do after a verdict: mend and carry out, or have it recomputed."""
        profile = self.plan["asked"].get("profile", "")
        spec = f"{self.plan['asked']['spec']}{f' --profile {profile}' if profile else ''}"
        return (
            f"kcompiler audit {spec}"
            if verdict in ("PASS", "WAIVED")
            else f"mend what blocks, then kcompiler apply {spec}"
        )

    @property
    def steps(self) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = self.plan["steps"]
        return found

    @property
    def evaluations(self) -> list[Mapping[str, Any]]:
        """The steps that leave items, and a report that is made of them."""
        return [step for step in self.steps if audited.left(step)]

    @property
    def excused(self) -> dict[tuple[str, str], Mapping[str, Any]]:
        """(rule, step) → the waiver that excuses what the rule found there."""
        found = (self.verdict or {}).get("outcomes", ())
        return {(one["rule"], one["step"]): one["waiver"] for one in found if one.get("waiver")}

    def stored(self, digest: object) -> Path | None:
        """The folder of an artifact; None where it is not here or what names it is no digest."""
        if not isinstance(digest, str) or not _DIGEST.match(digest):
            return None
        folder = audited.stored(self.home.root, digest)
        return folder if folder.is_dir() else None


def look(
    home: Project,
    plan: Mapping[str, Any],
    verdict: Mapping[str, Any] | None = None,
    files: Mapping[str, Path] | None = None,
) -> Run:
    """The run as it lies there. `files` (step → file) are the reports that `verdict` is about, where these are not the
    evidence of the project: then nothing is said of what stands beside that evidence."""
    name, troubles = str(plan["asked"]["name"]), list[str]()
    own, identity = files is None, plan_digest(plan)
    folder = home.evidence(name)
    if verdict is None:
        verdict, wrong = _verdict(home.verdict(name), home)
        troubles += wrong
    if verdict is not None and verdict["lock"] != identity:
        troubles.append(
            "The verdict is of another plan than the one here: what it says is not about this spec as it is."
        )
    if files is None:
        files = {path.stem: path for path in sorted((folder / "reports").glob("*.json"))}
        files |= {RUN: folder / "run.json"} if (folder / "run.json").is_file() else {}
    reports, wrong = _reports(files, verdict, home)
    troubles += wrong
    known: dict[tuple[str, str], Mapping[str, Any]] = {}
    found: Sequence[RuleOutcome] = ()
    if verdict is not None:
        found = outcomes(verdict, home, name, files.get)
        known = {(one["rule"], one["report_at"]["step"]): one for one in explained(plan, home, verdict, reports)}
    approvals, wrong = _approvals(plan, home) if own else ([], [])
    troubles += wrong
    evaluations = [str(step["id"]) for step in plan["steps"] if audited.left(step)]
    kept = _lines(folder / records.JOURNAL, evaluations) if own else []
    past = _lines(home.root / records.STATE / records.JOURNAL, evaluations) if own else []
    return Run(
        home=home,
        plan=plan,
        digest=identity,
        verdict=verdict,
        outcomes=found,
        explained=known,
        reports=reports,
        committed={str(line.data["step"]): line.data for line in kept if _is_committed(line)},
        lines=past,
        approvals=approvals,
        troubles=troubles,
    )


def _approvals(plan: Mapping[str, Any], home: Project) -> tuple[list[str], list[str]]:
    """Who has approved the plan, a line each, and why that cannot be said."""
    folder = home.generated(str(plan["asked"]["name"])) / approval.FOLDER
    try:
        return approval.words(plan, folder, _EVER), []
    except (ValueError, LookupError, TypeError, AttributeError) as reason:
        return [], [f"Who must approve this plan cannot be read: {reason}"]


def _verdict(path: Path, home: Project) -> tuple[Mapping[str, Any] | None, list[str]]:
    if not path.is_file():
        return None, []
    try:
        found = strict_json.loads(path.read_bytes())
        problem = problem_with("verdict", found)
    except (OSError, ValueError) as reason:
        found, problem = None, str(reason)
    if problem or not isinstance(found, dict):
        return None, [f"{home.shown(path)} is damaged and says nothing: {problem[:200]}"]
    return found, []


def _reports(
    files: Mapping[str, Path], verdict: Mapping[str, Any] | None, home: Project
) -> tuple[dict[str, Report], list[str]]:
    """Step → report, and which of them are no evidence, or not what was judged."""
    judged = dict(verdict["reports"]) if verdict is not None else {}
    reports, troubles = dict[str, Report](), []
    for step, path in files.items():
        try:
            found = evidence.read(path.read_bytes())
        except OSError as reason:
            troubles.append(f"{home.shown(path)} cannot be read: {reason.strerror}")
            continue
        if found.report is None:
            troubles.append(f"{home.shown(path)} is no evidence: {found.problem}")
            continue
        if verdict is not None and judged.get(step) != found.digest:
            troubles.append(f"{home.shown(path)} is not the report that was judged: its digest is another one.")
        reports[step] = found.report
    gone = [step for step, digest in judged.items() if digest and step not in files]
    troubles += [f"The report of step `{step}` that was judged is not here." for step in gone]
    return reports, troubles


#: what a line of such a type holds, as it is written: keys are sorted, and quotes inside of texts are escaped
_RUNS = tuple(f'"type":"{name}"'.encode() for name in ("run_opened", "gate_evaluated", "run_closed"))


def _lines(path: Path, steps: Sequence[str]) -> list[journal.Line]:
    """Of a journal the lines about runs and those of committed steps among `steps`, in order."""
    try:
        texts = path.read_bytes().split(b"\n")
    except OSError:
        return []
    import json

    wanted = [f'"step":{json.dumps(step, ensure_ascii=False)}'.encode(errors="replace") for step in steps]
    committed = b'"type":"step_committed"'
    found = []
    for number, text in enumerate(texts, start=1):
        if any(mark in text for mark in _RUNS) or (committed in text and any(mark in text for mark in wanted)):
            line = journal.line_of(text, number)
            if isinstance(line, journal.Line):
                found.append(line)
    return found


def _is_committed(line: journal.Line) -> bool:
    return line.type == "step_committed" and records.is_record(line.data)


def committed_of(run: Run, step: str) -> Iterator[Mapping[str, Any]]:
    """The committed records of a step of this spec, the oldest first, as the journal has them."""
    for line in run.lines:
        if _is_committed(line) and line.data["step"] == step and line.data.get("spec") == run.name:
            yield line.data
