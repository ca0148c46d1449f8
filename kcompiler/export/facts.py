"""The folder of a project, or of an unpacked bundle, that was found sound → what an export is made of, read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kcompiler import lock
from kcompiler.audit import records, waivers
from kcompiler.audit.evidence import REPORTS, RUN
from kcompiler.audit.items import stored
from kcompiler.judge import judge
from kcompiler.plan import APPLY
from kcompiler.project import Project
from kcompiler.verifier import facts
from runtime import digest
from runtime.contract import BrokenEvidence, strict_json

#: digest of an artifact → its files: path, bytes, digest
Trees = Mapping[str, Sequence[Mapping[str, Any]]]
#: kinds of artifacts that are a model somebody may be given
MODELS = ("package", "checkpoint")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a sound run says of itself. `released` is the word of its verdict with rules of phase release blocking."""

    name: str
    plan: Mapping[str, Any]
    #: "sha256:…" of the plan, and of the bytes of its lock
    digest: str
    lock_bytes: str
    #: step → committed record, and when its line was written (UTC)
    records: Mapping[str, Mapping[str, Any]]
    committed: Mapping[str, str]
    #: step → bytes of its report; "apply" for that on the run
    reports: Mapping[str, bytes]
    verdict: Mapping[str, Any]
    released: str
    #: hash of the journal's newest line, and when the run was closed (UTC)
    head: str
    closed: str
    trees: Trees

    def report(self, step: str) -> Mapping[str, Any]:
        """A report, parsed."""
        found: Any = strict_json.loads(self.reports[step])
        return dict(found)

    @property
    def real(self) -> dict[str, Mapping[str, Any]]:
        """The reports that somebody measured: none that the null backend forged."""
        every = {step: self.report(step) for step in sorted(self.reports) if step != APPLY}
        return {step: one for step, one in every.items() if one["environment"]["forged"] is False}

    def artifacts(self, *kinds: str) -> dict[str, str]:
        """`step/port` → digest of each artifact of these kinds, in the order of the lock."""
        return {
            f"{step}/{port}": give["digest"]
            for step, one in self.records.items()
            for port, give in one["gives"].items()
            if give.get("kind") in kinds
        }


def gather(root: Path, name: str, trees: Trees | None = None) -> Facts:
    """The facts of the spec `name`. `trees` are given where the store has not every artifact; each is what its digest
    says. Raises BrokenEvidence for what an audit would have found; UnreadableLock; OSError."""
    home = Project(root)
    path, folder = home.lock(name), home.evidence(name)
    plan = lock.read(path)
    identity = lock.plan_digest(plan)
    used, _ = records.in_use(folder / records.JOURNAL, records.JOURNAL, None)
    lines, _ = records.state_journal(root)
    known = list(lines or ())
    reports = {one.stem: one.read_bytes() for one in sorted((folder / REPORTS).glob("*.json"))}
    reports[APPLY] = (folder / RUN).read_bytes()
    verdict: Any = strict_json.loads(home.verdict(name).read_bytes())
    held, _ = waivers.at_hand(root, plan, folder, home.shown(folder), verdict, known)
    obligations = plan["obligations"]
    own = {step: facts.dump(one) for step, one in facts.reports(plan).items()}
    released = judge({**reports, **own}, obligations, lock=identity, as_of=verdict["as_of"], release=True, waivers=held)
    digests = [give["digest"] for one in used.values() for give in one["gives"].values()]
    return Facts(
        name=name,
        plan=plan,
        digest=identity,
        lock_bytes=digest.of_bytes(path.read_bytes()),
        records=used,
        committed=_when(folder / records.JOURNAL),
        reports=reports,
        verdict=verdict,
        released=released.verdict,
        head=known[-1].hash if known else "",
        closed=_closed(known, identity),
        trees={one: _tree(root, one, trees) for one in sorted(set(digests))},
    )


def _when(journal: Path) -> dict[str, str]:
    lines: list[Any] = [strict_json.loads(line) for line in journal.read_bytes().splitlines()]
    return {str(line["data"]["step"]): str(line["ts"]) for line in lines}


def _closed(known: Sequence[Any], plan: str) -> str:
    """When the newest run of a plan was closed, or its last line written."""
    begun = [n for n, line in enumerate(known) if line.type == "run_opened" and line.data.get("plan") == plan]
    after = known[begun[-1] :] if begun else known
    end = next((line for line in after if line.type == "run_closed"), after[-1] if after else None)
    return "" if end is None else str(end.content["ts"])


def _tree(root: Path, artifact: str, trees: Trees | None) -> list[dict[str, Any]]:
    """The files of an artifact, hashed now or as they are given. Raises BrokenEvidence where they are not those."""
    folder = stored(root, artifact)
    given = [dict(one) for one in (trees or {}).get(artifact, ())]
    entries = digest.manifest(folder) if folder.is_dir() else given
    if digest.of_value(entries, "kc.tree.v1") != artifact:
        raise BrokenEvidence("the artifact is not what was stored, or is not here", subject=artifact)
    return entries
