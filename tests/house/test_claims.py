"""What this project says of itself is what its committed reports say; the README is its first claim."""

import json
import os
import re
from pathlib import Path

import pytest

from kcompiler import assets
from kcompiler.claims import check_document, document, shipped
from kcompiler.claims.current import Standing

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ["README.md", "tests/README.md"]


@pytest.fixture(autouse=True)
def as_quoted(monkeypatch):
    """What is said is compared with what lies there; whether an apply of today would give that is `test_quoted`'s."""
    monkeypatch.setattr("kcompiler.claims.check.standing", lambda *_: Standing())


def test_every_claim_of_our_documents_is_what_its_evidence_says():
    for name in DOCUMENTS:
        path = ROOT / name
        found = check_document(name, path.read_text(), folder=path.parent, root=ROOT, policy=shipped())
        assert [f"{one.place}: {one.summary}" for one in found.diagnostics] == []


def test_the_readme_claims_something_and_a_changed_number_is_noticed():
    text = (ROOT / "README.md").read_text()
    found = check_document("README.md", text, folder=ROOT, root=ROOT, policy=shipped())
    assert found.anchored > 20
    first = json.loads((ROOT / "generated/toy-tools/quoted/evaluate-tool_use.json").read_text())
    exact = first["data"]["runners"]["student"]["exact_call"]
    passed = re.search(r"verdict +PASS +(\d+) pass", text)
    assert passed is not None
    for right, wrong in [
        (f"{exact['k']} of {exact['n']}", f"{exact['k'] + 1} of {exact['n']}"),
        (passed[0], passed[0].replace(passed[1], str(int(passed[1]) + 1))),
    ]:
        assert right in text
        changed = check_document("README.md", text.replace(right, wrong), folder=ROOT, root=ROOT, policy=shipped())
        assert changed.diagnostics, wrong


#: why the change of a numeral in README.md need not be noticed
def _unread(text: str, start: int, end: int) -> str:
    line = text[text.rfind("\n", 0, start) + 1 : text.find("\n", end)]
    before, behind = text[max(0, start - 12) : start], text[end : end + 12]
    recorded = text[:start].rsplit("```", 1)[0].endswith("-->\n") and "  # " not in text[:start].rsplit("\n", 1)[-1]
    if text.count("```", 0, start) % 2 and recorded:
        return ""
    if text.count("```", 0, start) % 2:
        return "stands in a fence: what is typed, or a remark behind a recorded line"
    if text[:start].rsplit("\n", 1)[-1].count("`") % 2:
        return "stands in code: a name, or what is to be written"
    if re.search(r"[\w-]\Z", before) or re.match(r"[a-zA-Z]|-[A-Z]|\.\d+ or newer| or newer", behind):
        return "is a part of a name"
    if re.search(r"(?:Python|RFC|evidence: none[^>]*)\s*\Z", text[max(0, start - 40) : start]):
        return "is a part of a name"
    if re.match(r"\| \d+ \|", line):
        return "is a code that a test compares with the program's own"
    if re.match(r"[^|\n]*?<!-- evidence: none", text[end:]) and "evidence" not in before:
        return "is told without evidence, and counted so"
    return ""


def test_a_changed_numeral_of_the_readme_is_noticed_or_is_no_claim():
    """One in a claim with evidence is noticed; every other stands where a rule says why none is asked of it."""
    text = (ROOT / "README.md").read_text()
    hidden = [found.span() for found in re.finditer(r"<!--.*?-->", text, re.DOTALL)]
    shown = [n for n in re.finditer(r"\d+(?:\.\d+)?", text) if not any(a <= n.start() < b for a, b in hidden)]
    free = [n for n in shown if not _unread(text, *n.span())]
    noticed = set()
    for some in (free[::2], free[1::2]):
        changed = list(text)
        for one in some:
            changed[one.start()] = "8" if one[0][0] == "9" else "9"
        found = check_document("README.md", "".join(changed), folder=ROOT, root=ROOT, policy=shipped())
        places = {(each.line, each.column, each.end_column) for each in found.diagnostics}
        for one in some:
            line, column = text.count("\n", 0, one.start()) + 1, one.start() - text.rfind("\n", 0, one.start())
            if any(at == line and first <= column < last for at, first, last in places):
                noticed.add(one)
    assert len(noticed) > 50
    # exit codes, how many repetitions quantiles take, the 1 of a formula: counts that no report holds
    assert [one[0] for one in free if one not in noticed] == ["0", "7", "100", "368", "1"]


def test_every_quoted_report_is_quoted():
    text = (ROOT / "README.md").read_text()
    lying = [path for path in ROOT.glob("generated/*/quoted/*") if path.name not in ("run.json", "plan.lock")]
    quoted = [path.relative_to(ROOT).as_posix() for path in lying]
    assert quoted
    assert [path for path in quoted if path not in text] == []


def test_the_published_schema_of_a_policy_is_fresh():
    """KCOMPILER_REWRITE=1 writes it anew after a deliberate change."""
    path = assets.folder("schemas") / "claims.schema.json"
    text = json.dumps(document(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    if os.environ.get("KCOMPILER_REWRITE"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text
