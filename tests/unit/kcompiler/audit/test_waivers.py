"""Waivers that were forged, edited, removed, added, backdated or counted wrongly after a verdict: an audit finds each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kcompiler import dsse, lock, waiver
from kcompiler.audit import evidence, waivers
from kcompiler.audit.finding import Finding
from kcompiler.audit.journal import Line
from kcompiler.judge import judge
from kcompiler.policy.evidence import read
from kcompiler.waiver import draft
from runtime import digest
from runtime.contract import report as facts
from tests.unit.kcompiler.judge.samples import report
from tests.unit.kcompiler.waiver.world import NOW, PEOPLE, WAIVER, asked, envelope, missed, sign

OPENED, LATER = "2026-11-28T11:00:00Z", "2026-11-28T13:00:00Z"
TEXT = WAIVER.replace("team/rows/many", "lab/rule")


class World:
    """A project with one waiver, and the evidence of a run that rests on it."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / "evidence"
        for folder in (root / "waivers", self.folder / "waivers"):
            folder.mkdir(parents=True)
            (folder / "WV-0001.yaml").write_text(TEXT)
            sign(folder / "WV-0001.yaml")
        (loaded,), _ = waiver.load(root / "waivers")
        entry = {
            "id": "WV-0001",
            "digest": loaded.digest,
            "meaning": loaded.meaning,
            "rules": ["lab/rule"],
            "until": loaded.waiver.expires,
        }
        self.plan: dict[str, Any] = {"asked": {"name": "lab"}, "obligations": [asked()], "waivers": [entry]}
        identity = lock.plan_digest(self.plan)
        subject = {"plan": identity, "measure.report": digest.of_one_file("report.json", missed())}
        run = facts.dump(report({}, step="apply", subject=subject)).encode()
        self.reports = {step: read(text) for step, text in {"measure": missed(), "apply": run}.items()}
        held = waiver.Waivers(
            given=[waiver.given(loaded, self.plan["obligations"], {})],
            spec="lab",
            plan=lock.unwaived_digest(self.plan),
        )
        made = judge(self.reports, self.plan["obligations"], lock=identity, as_of=NOW, waivers=held)
        assert made.verdict == "WAIVED"
        self.path = self.folder / "verdict.json"
        self.path.write_text(made.dump())
        use = {"waiver": "WV-0001", "use": made.to_json()["waivers"][0]["used"][0]}
        self.lines: Any = [line("run_opened", {"plan": identity}), line("waiver_used", use), line("run_closed", {})]

    def audited(self) -> tuple[str, list[Finding]]:
        """The recomputed word and what is found."""

        def at_hand(recorded: Any) -> Any:
            return waivers.at_hand(self.root, self.plan, self.folder, "evidence", recorded, self.lines)

        identity = lock.plan_digest(self.plan)
        return evidence.verdict(
            self.path, "verdict.json", self.plan, self.reports, OPENED, identity, at_hand=at_hand, now=LATER
        )

    def rewrite(self, change: Callable[[dict[str, Any]], Any]) -> None:
        content = json.loads(self.path.read_text())
        change(content)
        self.path.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def line(kind: str, data: dict[str, Any]) -> Line:
    return Line(number=1, text=b"", hash="", content={"type": kind, "data": data})


def test_sound_evidence_has_no_finding(tmp_path: Path) -> None:
    assert World(tmp_path).audited() == ("WAIVED", [])


def of_copy(world: World, text: str) -> None:
    (world.folder / "waivers" / "WV-0001.yaml").write_text(text)


def of_project(world: World, text: str) -> None:
    (world.root / "waivers" / "WV-0001.yaml").write_text(text)


def forged(world: World) -> None:
    """Copy, file and verdict say consistently that more was covered; the lock does not."""
    text = TEXT.replace('"0.05"', '"0.5"')
    of_copy(world, text)
    of_project(world, text)
    world.rewrite(lambda content: content["waivers"][0].update(digest=digest.of_bytes(text.encode())))


def signature(world: World) -> Path:
    return world.folder / "waivers" / "WV-0001" / "bo.dsse.json"


END = {"waiver": "WV-0001", "by": "ana", "on": "2026-11-28", "reason": "the crawl is back"}
WIDER = TEXT.replace('"0.05"', '"0.5"')
DAMAGE: list[tuple[str, Callable[[World], Any], set[str], str]] = [
    ("the copy was widened", lambda world: of_copy(world, WIDER), {"KA33", "KA32"}, "WAIVER_REQUIRED"),
    ("the copy is gone", lambda world: (world.folder / "waivers/WV-0001.yaml").unlink(), {"KA33", "KA32"}, "WAIVER_REQUIRED"),
    ("the copy is no waiver", lambda world: of_copy(world, "id: WV-0001\n"), {"KA33", "KA32"}, "WAIVER_REQUIRED"),
    ("the project's was widened", lambda world: of_project(world, WIDER), {"KA34"}, "WAIVED"),
    ("the project's was prolonged", lambda world: of_project(world, TEXT.replace("2026-12-20", "2027-01-15")), {"KA34"}, "WAIVED"),
    ("the project's is gone", lambda world: (world.root / "waivers/WV-0001.yaml").unlink(), {"KA34"}, "WAIVED"),
    ("all were widened alike", forged, {"KA34", "KA32"}, "WAIVER_REQUIRED"),
    ("a copy was added", lambda world: (world.folder / "waivers/WV-0002.yaml").write_text(TEXT), {"KA34"}, "WAIVED"),
    ("a use was forgotten", lambda world: world.rewrite(lambda one: one["waivers"][0].update(used=[])), {"KA34", "KA32"}, "WAIVED"),
    ("a use is not in the journal", lambda world: world.lines.pop(1), {"KA34"}, "WAIVED"),
    ("the word was made better", lambda world: world.rewrite(lambda one: one.update(verdict="PASS")), {"KA32"}, "WAIVED"),
    ("a pass was made of it", lambda world: world.rewrite(lambda one: one["outcomes"][0].update(outcome="pass")), {"KA32"}, "WAIVED"),
    ("judged before the run", lambda world: world.rewrite(lambda one: one.update(as_of="2026-11-22T00:00:00Z")), {"KA32"}, "WAIVED"),
    ("judged tomorrow", lambda world: world.rewrite(lambda one: one.update(as_of="2026-11-29T00:00:00Z")), {"KA32"}, "WAIVED"),
    ("judged at no time", lambda world: world.rewrite(lambda one: one.update(as_of=None)), {"KA32"}, "WAIVER_REQUIRED"),
    ("an approval of the copy is gone", lambda world: signature(world).unlink(), {"KA32"}, "WAIVER_REQUIRED"),
    ("an approval of the copy is another's", lambda world: signature(world).write_bytes(envelope(TEXT, "bo", "2026-11-22", PEOPLE["mal"])), {"KA32"}, "WAIVER_REQUIRED"),
    ("an approval of the copy is of another text", lambda world: signature(world).write_bytes(envelope(WIDER, "bo", "2026-11-22")), {"KA32"}, "WAIVER_REQUIRED"),
    ("an approval of the copy is ana's again", lambda world: signature(world).write_bytes(envelope(TEXT, "ana", "2026-11-22")), {"KA32"}, "WAIVER_REQUIRED"),
    ("more lies beside the approvals", lambda world: signature(world).with_name("note.txt").write_text("bo said yes"), {"KA34"}, "WAIVED"),
    ("approvals of no waiver", lambda world: signature(world).parent.rename(world.folder / "waivers/WV-0002"), {"KA34", "KA32"}, "WAIVER_REQUIRED"),
    ("it was revoked before the run", lambda world: world.lines.insert(0, line("waiver_revoked", END)), {"KA34", "KA32"}, "WAIVER_REQUIRED"),
    ("its revocation since is gone from its file", lambda world: world.lines.append(line("waiver_revoked", END)), {"KA34"}, "WAIVED"),
    ("another was revoked, and its file is gone", lambda world: world.lines.append(line("waiver_revoked", {**END, "waiver": "WV-0007"})), {"KA34"}, "WAIVED"),
    ("the verdict keeps silent", lambda world: world.rewrite(lambda one: one.pop("waivers")), {"KA34", "KA32"}, "WAIVER_REQUIRED"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "codes", "word"), [one[1:] for one in DAMAGE], ids=[one[0] for one in DAMAGE])
def test_what_was_changed_after_the_verdict_is_found(
    tmp_path: Path, damage: Callable[[World], Any], codes: set[str], word: str
) -> None:
    world = World(tmp_path)
    damage(world)
    again, findings = world.audited()
    assert {one.code for one in findings} == codes, findings
    assert again == word


def test_a_waiver_that_was_over_when_the_run_began_excuses_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    identity = lock.plan_digest(world.plan)
    word, findings = evidence.verdict(
        world.path,
        "verdict.json",
        world.plan,
        world.reports,
        "2026-12-20T00:00:00Z",
        identity,
        at_hand=lambda recorded: waivers.at_hand(
            world.root, world.plan, world.folder, "evidence", recorded, world.lines
        ),
        now="2026-12-21T00:00:00Z",
    )
    assert (word, {one.code for one in findings}) == ("WAIVER_REQUIRED", {"KA32"})


def test_a_revocation_since_is_a_note(tmp_path: Path) -> None:
    world = World(tmp_path)
    of_project(world, draft.revoked(TEXT, "ana", "2026-11-29", "the crawl is back"))
    world.lines.append(line("waiver_revoked", {**END, "on": "2026-11-29"}))
    word, findings = world.audited()
    assert (word, [(one.code, one.severity) for one in findings]) == ("WAIVED", [("KA90", "note")])
    assert "revoked on 2026-11-29 by ana" in findings[0].message


def test_a_key_that_was_revoked_since_approves_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    recorded = json.loads(world.path.read_text())
    for who, count in (("mal", 2), ("bo", 1)):
        dead = dsse.revoked_keys(dsse.public_line(PEOPLE[who]), "revoked")
        held, _ = waivers.at_hand(world.root, world.plan, world.folder, "evidence", recorded, world.lines, dead)
        assert [len(one.approvals) for one in held.given] == [count]


def test_a_use_that_earlier_evidence_told_of_is_a_note_and_counts(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.rewrite(lambda one: one["waivers"][0]["used"].append("sha256:" + 64 * "f"))
    _, findings = world.audited()
    assert [(one.code, one.severity) for one in findings] == [("KA90", "note")]
    assert "1 of 2 uses of WV-0001 are known by earlier evidence" in findings[0].message


def test_without_the_journal_the_verdict_says_what_was_revoked(tmp_path: Path) -> None:
    """A clone that has the evidence alone."""
    world = World(tmp_path)
    (loaded,), _ = waiver.load(world.root / "waivers")
    held = waiver.Waivers(
        given=[waiver.given(loaded, world.plan["obligations"], {"WV-0001": END})],
        spec="lab",
        plan=lock.unwaived_digest(world.plan),
    )
    made = judge(world.reports, world.plan["obligations"], lock=lock.plan_digest(world.plan), as_of=NOW, waivers=held)
    assert made.verdict == "WAIVER_REQUIRED"
    world.path.write_text(made.dump())
    world.lines = None
    assert world.audited() == ("WAIVER_REQUIRED", [])
