"""A rule that may be waived, from the apply that it stops to the audit after its waiver was revoked, as advised each time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.flow.world import LIGHT, Home
from tests.longer import longer
from tests.unit.kcompiler.waiver.test_signed import key_file
from tests.unit.kcompiler.waiver.world import PACK, PEOPLE

SPEC = "specs/tiny.yaml"
RULE = "team/rows/cheap"
CHEAP = """\
id: cheap
title: It costs next to nothing
on: run
kind: bound
params: {metric: cpu, op: "<=", threshold: "0.001", unit: s}
remedy: train less
waivable: true
"""


def governed(data: dict[str, Any]) -> None:
    data["policies"] = ["caws/core", "team/rows"]


def asked(home: Home) -> Home:
    """The project with a rule that no run of it meets."""
    folder = home.root / "policies" / "team" / "rows"
    (folder / "cheap").mkdir(parents=True)
    (folder / "cheap" / "rule.yaml").write_text(CHEAP)
    (folder / "pack.yaml").write_text(PACK)
    home.change(governed)
    return home


def filled(text: str) -> str:
    """What `waiver new` left blank, filled in."""
    blanks = {
        "reason": "third_party_constraint",
        "description": json.dumps("the crawl of the other half is down, and nobody but us sees this student"),
        "mitigation": json.dumps("shown to nobody but us until then"),
        "author": "dee",
        "owner": "eli",
    }
    for key, value in blanks.items():
        assert text.count(f'\n{key}: ""') == 1
        text = text.replace(f'\n{key}: ""', f"\n{key}: {value}")
    return text


def verdict(home: Home) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((home.evidence / "verdict.json").read_text())
    return content


def excused(home: Home) -> Path:
    """Follows the advice of each command, from the rule that stops to a sound audit; the file of the waiver."""
    asked(home)
    stopped = home.apply(code=LIGHT).ended(7, "waiver-required")
    advice = f"kcompiler waiver new {SPEC} --rule {RULE}"
    assert stopped.last["next"].endswith(advice)
    unknown = "no rule of this plan is called `chep`; did you mean `cheap`?"
    for name, said in (("chep", unknown), ("run-complete", "`run-complete` does not block; team/rows/cheap does")):
        assert said in home.run("waiver", "new", SPEC, "--rule", name, code=LIGHT).ended(2, "usage").err
    # the advice, with what it leaves blank
    told = home.run(*advice.split()[1:], "--days", "900", code=LIGHT).ended(0, "")
    assert f"it lasts 60 days, not 900: the pack of {RULE} allows no more" in told.err
    file = home.root / "waivers" / "WV-0001.yaml"
    assert told.out.startswith("wrote waivers/WV-0001.yaml; fill in reason, description, mitigation, author, owner\n")
    file.write_text(filled(file.read_text()))
    # a name is nobody's approval: that is a signature, by the command that is told
    lacking = home.run("waiver", "check", code=LIGHT).ended(7, "approval-needed").err
    sign = "kcompiler waiver approve waivers/WV-0001.yaml --key FILE"
    assert f"`{sign}`" in lacking
    assert (
        "pending, 0 of 2 approvals: `kcompiler waiver approve` signs one"
        in home.apply(code=LIGHT).ended(7, "waiver-required").out
    )
    for who in ("ana", "bo"):
        key = key_file(home.root / ".kcompiler" / who, PEOPLE[who])
        assert f"{who} approves WV-0001" in home.run(*sign.split()[1:-1], key, code=LIGHT).ended(0, "").out
    assert home.run("waiver", "check", code=LIGHT).ended(0, "").out == "1 waiver, 0 errors, 0 warnings\n"
    # what is no signature excuses nothing and stops nothing, and is kept as it is
    void = home.root / "waivers" / "WV-0001" / "z.dsse.json"
    void.write_bytes(b"\377\376")
    wrong = home.run("waiver", "check", code=LIGHT).ended(1, "invalid").err
    assert "KC6105" in wrong
    assert "waivers/WV-0001/z.dsse.json" in wrong
    home.apply(code=LIGHT).ended(0, "")
    assert (home.evidence / "waivers" / "WV-0001" / "z.dsse.json").read_bytes() == b"\377\376"
    home.run("audit", SPEC, code=LIGHT).ended(0, "")
    void.unlink()
    # in force
    done = home.apply(code=LIGHT).ended(0, "")
    assert f"~ {RULE} on apply: " in done.out
    assert "verdict  WAIVED" in done.out
    (used,) = [line["data"] for line in home.journal() if line["type"] == "waiver_used"]
    assert (used["waiver"], used["rule"], used["step"], used["was"]) == ("WV-0001", RULE, "apply", "fail")
    assert used["approved"] == "ana, bo"
    assert verdict(home)["waivers"] == [{"id": "WV-0001", "digest": used["digest"], "used": [used["use"]]}]
    audited = home.run("audit", SPEC, code=LIGHT).ended(0, "").out
    assert "audit       sound" in audited
    ends = "waiver WV-0001 ends in 60 days, on "
    for told in (audited, home.run("status", SPEC, code=LIGHT).ended(0, "").out):
        (line,) = [line for line in told.splitlines() if ends in line]
        assert line.endswith(": then the verdict is WAIVER_REQUIRED")
    # the next one is written while this one lasts; its number is new to journal and verdict, whatever was removed
    waivers, away = home.root / "waivers", home.root / "away"
    waivers.rename(away)
    told = home.run("waiver", "new", SPEC, "--rule", RULE, code=LIGHT).ended(0, "")
    assert told.out.startswith("wrote waivers/WV-0002.yaml")
    again = home.root / "waivers" / "WV-0002.yaml"
    assert "magnitude: " in again.read_text()
    again.unlink()
    waivers.rmdir()
    away.rename(waivers)
    return file


def test_from_the_rule_that_stops_to_an_audit_of_what_was_waived(passed: Home, tmp_path: Path) -> None:
    assert excused(passed.copy(tmp_path / "project")).is_file()


@longer
def test_what_becomes_of_a_waiver_afterwards(passed: Home, tmp_path: Path) -> None:
    home = passed.copy(tmp_path / "project")
    file = excused(home)
    # the same again is no further use
    home.apply("--locked", code=LIGHT).ended(0, "")
    assert [line["type"] for line in home.journal()].count("waiver_used") == 1
    # wider afterwards: found, and stale
    text = file.read_text()
    file.write_text(text.replace("magnitude:", "# wider\nmagnitude:").replace('magnitude: "', 'magnitude: "9'))
    assert "KA34" in home.run("audit", SPEC, code=LIGHT).ended(1, "disagreement").out
    home.apply("--locked", code=LIGHT).ended(4, "lock-stale")
    file.write_text(text)
    # the copy that the verdict rests on
    copy = home.evidence / "waivers" / "WV-0001.yaml"
    copy.write_text(text.replace("dee", "max"))
    assert "KA33" in home.run("audit", SPEC, code=LIGHT).ended(3, "evidence-broken").out
    copy.write_text(text)
    # revoked: what it excused stays as it was, and is excused no more
    home.run("waiver", "revoke", str(file), "--by", "ana", "--reason", "the crawl is back", code=LIGHT).ended(0, "")
    assert "revoked on" in home.run("audit", SPEC, code=LIGHT).ended(0, "").out
    assert "revoked" in home.run("waiver", "list", code=LIGHT).ended(0, "").out
    assert [line["type"] for line in home.journal()].count("waiver_revoked") == 1
    assert "WV-0001 does not excuse it: revoked" in home.apply(code=LIGHT).ended(7, "waiver-required").out
    # the line is removed again: it undoes nothing
    file.write_text(text)
    assert "WV-0001 does not excuse it: revoked" in home.apply(code=LIGHT).ended(7, "waiver-required").out
    assert "does not tell of its end" in home.run("audit", SPEC, code=LIGHT).ended(1, "disagreement").out
