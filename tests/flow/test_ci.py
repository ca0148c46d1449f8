"""`ci`: the one verb a pipeline calls. Its code is the worst of its stages, and a stage that did not run is no pass."""

from __future__ import annotations

import json
from xml.etree import ElementTree as xml

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kcompiler import dsse
from kcompiler.verifier import main
from kcompiler.verifier.sealed import Trust
from tests.flow.world import LIGHT, Home
from tests.unit.kcompiler.render.html.pages import checked, words

SPEC = "specs/tiny.yaml"
FILES = {"result.json", "results.sarif", "junit.xml", "summary.md", "report.html"}


def ci(home: Home, code: int, word: str, *options: str) -> list[tuple[str, int, str]]:
    """Runs it; (verb, code, word) of every stage."""
    home.run("ci", SPEC, "--to", "out", *options, code=LIGHT).ended(code, word if code else "")
    found = json.loads((home.root / "out/result.json").read_text(encoding="utf-8"))
    assert (found["code"], found["outcome"]) == (code, word)
    assert {path.name for path in (home.root / "out").iterdir()} >= FILES
    for part in found["parts"]:
        (path,) = (home.root / "out").glob(f"*/{part['verb']}.json")
        assert json.loads(path.read_text(encoding="utf-8")) == part
    return [(part["verb"], part["code"], part["outcome"]) for part in found["parts"]]


def page(home: Home) -> str:
    """What a person reads of it."""
    return words(checked((home.root / "out/report.html").read_text(encoding="utf-8")))


def test_what_passes_passes_twice(passed: Home, tmp_path) -> None:
    home = passed.copy(tmp_path / "project")
    yes = [(verb, 0, "ok") for verb in ("validate", "plan", "policy", "apply", "gate", "audit")]
    assert ci(home, 0, "ok") == yes
    verdict = home.root / "out/tiny/verdict.json"
    assert verdict.read_bytes() == (home.evidence / "verdict.json").read_bytes()
    assert "✓ Passed tiny" in page(home)
    key = Ed25519PrivateKey.generate()
    file = home.root.parent / "key"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    assert ci(home, 0, "ok", "--bundle", "--sign-key", str(file)) == yes
    bundle = home.root / "out/tiny/bundle.zip"
    known = Trust(
        tuple(dsse.allowed_signers(f"ci {dsse.public_line(key)}", "ci")), frozenset(), "", "2100-01-01T00:00:00Z"
    )
    assert main.check(bundle.read_bytes(), known).code == 0
    assert f"out/tiny/bundle.zip: {bundle.stat().st_size} bytes, signed by {dsse.shown(key)}" in page(home)
    assert dsse.shown(key) in (home.root / "out/summary.md").read_text(encoding="utf-8")
    # the lock of another spec: nothing is applied, and of what passed before nothing is left
    home.spec.write_text(home.spec.read_text().replace("seed: ", "seed: 1"))
    stages = ci(home, 1, "lock-would-change")
    assert stages == [
        ("validate", 0, "ok"),
        ("plan", 1, "lock-would-change"),
        *((verb, 1, "not-run") for verb in ("policy", "apply", "gate", "audit")),
    ]
    assert not verdict.exists()
    assert not bundle.exists()
    told = home.run("ci", SPEC, "--to", "out", "--sign-key", str(file), code=LIGHT).ended(2, "usage")
    assert "--sign-key signs a bundle; say --bundle, too" in told.err
    assert "✗ No: lock-would-change" in page(home)
    assert "Passed" not in page(home)
    cases = xml.fromstring((home.root / "out/junit.xml").read_bytes()).iter("testcase")
    failed = {case.get("name") for case in cases if case.find("failure") is not None}
    assert {f"{verb} {SPEC}" for verb in ("plan", "apply", "gate", "audit", "ci")} <= failed
    told = home.run("ci", SPEC, "--to", "specs", code=LIGHT).ended(2, "unusable-path")
    assert "holds what no ci has written" in told.err


def test_a_verdict_that_is_no_yes_is_judged_again_and_audited(done: Home) -> None:
    assert ci(done, 1, "fail") == [
        ("validate", 0, "ok"),
        ("plan", 0, "ok"),
        ("policy", 0, "ok"),
        ("apply", 1, "fail"),
        ("gate", 1, "fail"),
        ("audit", 0, "ok"),
    ]
    assert "caws/tier-3/answers-valid" in (done.root / "out/summary.md").read_text(encoding="utf-8")
    said = page(done)
    # why, where, and what to do; then all that was measured, made and said
    for part in (
        "✗ Did not pass tiny",
        "What blocks (5)",
        "caws/tier-3/answers-valid on step evaluate-answers: failed, blocks",
        "generated/tiny/evidence/reports/evaluate-answers.json:",
        "/data/validity/",
        "answers-valid/rule.yaml:",
        "exact, two-sided at 95 %, as reported",
        "Step train-kd",
        "The 10 worst:",
        "Row eight-ball-",
        "The row's own answer",
        "Steps (11)",
        "budgets.cpu_s",
        "runs in the journal of this project",
    ):
        assert part in said, part
    assert "What lies here is not whole" not in said
    assert "the row is not here" not in said
    report = done.evidence / "reports/verify.json"
    # broken evidence is worse than a verdict
    (done.state / "journal.jsonl").write_text("{}\n")
    assert ci(done, 3, "evidence-broken")[1] == ("plan", 3, "evidence-broken")
    assert report.is_file()
