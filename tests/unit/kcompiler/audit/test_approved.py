"""A lock whose approvals are gone, or of another plan, disagrees with its packs."""

from __future__ import annotations

from pathlib import Path

from kcompiler import approval, dsse
from kcompiler.audit import plan as audited
from kcompiler.project import Project
from tests.unit.kcompiler.approval.test_approval import ANA, NOW, plan, signed


def test_a_lock_without_its_approvals_is_found(tmp_path: Path) -> None:
    home = Project(tmp_path)
    folder = home.generated("lab") / approval.FOLDER
    folder.mkdir(parents=True)
    made = plan(steps=[{"id": "data", "derivation": "1", "backend": "torch"}])
    assert [one.code for one in audited.approved(made, home, NOW)] == ["KA35"]
    path = signed(folder, made, ANA, "ana")
    said = "approved by ana on 2026-11-28T12:00:00Z"
    assert [(one.severity, one.message) for one in audited.approved(made, home, NOW)] == [("note", said)]
    assert [one.severity for one in audited.approved(made, home, "")] == ["note"]
    dead = dsse.revoked_keys(dsse.public_line(ANA), "revoked")
    assert [one.code for one in audited.approved(made, home, NOW, dead)] == ["KA35", "KA90"]
    assert [one.severity for one in audited.approved({**made, "budgets": {}}, home, NOW)] == ["disagreement"]
    path.unlink()
    assert [one.subject for one in audited.approved(made, home, NOW)] == ["generated/lab/approvals"]
    # what is forged costs nothing
    forged = [{**one, "backend": "null"} for one in made["steps"]]
    assert list(audited.approved({**made, "steps": forged}, home, NOW)) == []
