"""What this project says of itself is what its committed reports say; the README is its first claim."""

import json
import os
from pathlib import Path

from kcompiler import assets
from kcompiler.claims import check_document, document, shipped

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ["README.md", "tests/README.md"]


def test_every_claim_of_our_documents_is_what_its_evidence_says():
    for name in DOCUMENTS:
        path = ROOT / name
        found = check_document(name, path.read_text(), folder=path.parent, root=ROOT, policy=shipped())
        assert [f"{one.place}: {one.summary}" for one in found.diagnostics] == []


def test_the_readme_claims_something_and_a_changed_number_is_noticed():
    text = (ROOT / "README.md").read_text()
    found = check_document("README.md", text, folder=ROOT, root=ROOT, policy=shipped())
    assert found.anchored > 20
    for right, wrong in [("708 of 987", "709 of 987"), ("112 of 112", "111 of 112"), ("73 pass", "74 pass")]:
        assert right in text
        changed = check_document("README.md", text.replace(right, wrong), folder=ROOT, root=ROOT, policy=shipped())
        assert changed.diagnostics, wrong


def test_every_quoted_report_is_quoted():
    text = (ROOT / "README.md").read_text()
    quoted = [path.relative_to(ROOT).as_posix() for path in ROOT.glob("generated/*/quoted/*")]
    assert quoted
    assert [path for path in quoted if path not in text] == []


def test_the_published_schema_of_a_policy_is_fresh():
    """KCOMPILER_REWRITE=1 writes it anew after a deliberate change."""
    path = assets.folder("schemas") / "claims.schema.json"
    text = json.dumps(document(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    if os.environ.get("KCOMPILER_REWRITE"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text
