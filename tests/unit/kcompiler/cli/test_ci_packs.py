"""`ci --base`: no pack of a project is weaker than in a revision of git, unless somebody says why; else nothing is run."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kcompiler import assets
from kcompiler.cli import _main
from kcompiler.cli.answer import rendered
from kcompiler.cli.ci import _proven as stage
from kcompiler.cli.ci import ci as verb
from kcompiler.result import URGENCY

CASE = Path(__file__).resolve().parents[3] / "golden" / "plan" / "a-good-spec-is-planned-without-a-word"
RULE = """\
id: few
title: The student is gated in time
on: run
kind: bound
params: {metric: cpu, op: "<=", threshold: "60", unit: s}
remedy: train less
"""


def git(*words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *who, *words], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project under git whose spec names a pack of its own, which strengthens a shipped one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".kcompiler").mkdir()
    (tmp_path / "specs").mkdir()
    text = (CASE / "spec.yaml").read_text()
    (tmp_path / "specs/a.yaml").write_text(text.replace("[caws/core]", "[caws/core, acme/lab]"))
    below = tmp_path / "policies/acme/lab"
    (below / "few").mkdir(parents=True)
    (below / "pack.yaml").write_text(
        "name: acme/lab\nversion: 1\ntitle: Rules of the lab\nstrengthens: training\nmin_n: 20\n"
    )
    (below / "few/rule.yaml").write_text(RULE)
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "first")
    return tmp_path


def ci(code: int, *options: str) -> dict[str, Any]:
    assert _main(["ci", "specs/a.yaml", "--to", "out", "--base", "HEAD", *options]) == code
    found = json.loads(Path("out/result.json").read_text())
    schema = json.loads((assets.folder("schemas") / "result.schema.json").read_text())
    jsonschema.validate(found, schema)
    assert json.loads(Path("out/packs.json").read_text()) == found["parts"][0]
    parts: dict[str, Any] = {part["verb"]: part for part in found["parts"]}
    stages = ["policy diff", "validate", "plan", "policy", "apply", "gate", "audit"]
    assert list(parts) == (stages[:4] if "--plan-only" in options else stages)
    return parts


def edit(file: str, old: str, new: str) -> None:
    text = Path(file).read_text()
    assert text.count(old) == 1
    Path(file).write_text(text.replace(old, new))


#: claim → what is done, the rule that is weaker, how, and what stands at the line that is named ("": the file)
WEAKER = {
    "a threshold that lets more through": (("few/rule.yaml", '"60"', '"90"'), "acme/lab/few", "weaker", "params:"),
    "a rule that only warns": (("few/rule.yaml", "kind:", "mode: warn\nkind:"), "acme/lab/few", "weaker", "mode:"),
    "fewer items behind a rate": (("pack.yaml", "min_n: 20", "min_n: 10"), "acme/lab/pack.yaml", "weaker", "min_n:"),
    "the rules of a pack below": (("pack.yaml", "strengthens: training\n", ""), "acme/lab/length-kept", "removed", ""),
}


@pytest.mark.parametrize("claim", WEAKER)
def test_a_weaker_pack_stops_everything(home: Path, capsys: pytest.CaptureFixture[str], claim: str) -> None:
    (file, old, new), rule, way, line = WEAKER[claim]
    edit(f"policies/acme/lab/{file}", old, new)
    parts = ci(1)
    assert parts["policy diff"]["outcome"] == "weaker"
    rows = {one["rule"]: one for one in parts["policy diff"]["data"]["rules"]}
    assert (rows[rule]["way"], rows[rule]["weakens"], rows[rule]["allowed"]) == (way, True, None)
    assert {part["outcome"] for verb, part in parts.items() if verb != "policy diff"} == {"not-run"}
    # the alert names the rule and what moved, at a file that is there
    (run,) = json.loads(Path("out/results.sarif").read_text())["runs"]
    (alert,) = [one for one in run["results"] if f"`{rule}`" in one["message"]["text"]]
    row = next(one for one in parts["policy diff"]["data"]["rules"] if one["rule"] == rule)
    assert " ".join(row["what"].split()) in alert["message"]["text"]
    (place,) = alert["locations"]
    shown = home / place["physicalLocation"]["artifactLocation"]["uri"]
    region = place["physicalLocation"].get("region")
    if line:
        assert shown.read_text().splitlines()[region["startLine"] - 1].startswith(line)
    assert (shown.name, region is None) == (Path(file).name, not line)
    assert (alert["ruleId"], alert["level"]) == ("KC6070", "error")
    told = capsys.readouterr()
    assert f"{way:<12}  {rule}  " in told.out
    assert told.err.splitlines()[-1] == "outcome=weaker code=1 next=kcompiler policy diff HEAD:acme/lab acme/lab"
    # and what it advises says the same
    assert _main(["policy", "diff", "HEAD:acme/lab", "acme/lab"]) == 1


@pytest.mark.parametrize("renamed", [False, True])
def test_a_pack_that_is_gone_is_weaker(home: Path, capsys: pytest.CaptureFixture[str], renamed: bool) -> None:
    if renamed:
        shutil.move("policies/acme/lab", "policies/acme/den")
        edit("policies/acme/den/pack.yaml", "acme/lab", "acme/den")
    else:
        shutil.rmtree("policies/acme")
    rows = ci(1)["policy diff"]["data"]["rules"]
    assert {(one["rule"], one["way"]) for one in rows} == {
        ("acme/lab/few", "removed"),
        ("acme/lab/length-kept", "removed"),
        ("acme/lab/code-mode-share-least", "removed"),
        ("acme/lab/code-mode-share-most", "removed"),
    }
    # what is not there is compared with nothing: git shows what it was
    advice = capsys.readouterr().err.splitlines()[-1].partition(" next=git ")[2]
    assert "deleted file" in git(*advice.split())


def test_a_signature_less_is_weaker_whether_the_pack_is_there_or_gone(home: Path) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43
    head = Path("policies/acme/lab/pack.yaml")
    without = head.read_text()
    head.write_text(f"{without}approvers: [{{name: ana, key: {key}}}]\napproval: {{lock: {{min: 1}}}}\n")
    git("commit", "-qam", "signed")
    head.write_text(without)
    row = {"rule": "acme/lab/pack.yaml", "way": "weaker", "what": "approval.min 1 → none", "weakens": True}
    assert ci(1)["policy diff"]["data"]["rules"] == [{**row, "allowed": None}]
    assert _main(["policy", "diff", "HEAD:acme/lab", "acme/lab"]) == 1
    assert _main(["policy", "diff", "acme/lab", "HEAD:acme/lab"]) == 0
    shutil.rmtree("policies/acme")
    assert row.items() <= ci(1)["policy diff"]["data"]["rules"][0].items()


def test_what_a_spec_was_asked_may_not_go_with_its_pack_its_tier_or_its_name(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43
    with Path("policies/acme/lab/pack.yaml").open("a") as head:
        head.write(f"approvers: [{{name: ana, key: {key}}}]\napproval: {{lock: {{min: 1}}}}\n")
    assert _main(["plan", "specs/a.yaml"]) == 0
    git("add", "-A")
    git("commit", "-qm", "locked")
    (place,) = Path("generated").glob("*/plan.lock")
    # no longer asked: the packs are as they were
    edit("specs/a.yaml", ", acme/lab]", "]")
    assert _main(["plan", "specs/a.yaml"]) == 0
    capsys.readouterr()
    found = ci(1)["policy diff"]
    gone = {"acme/lab/few": "removed", "acme/lab/pack.yaml": "weaker"}
    assert (found["outcome"], found["data"]["rules"]) == ("weaker", [])
    assert {one["rule"]: one["way"] for one in found["data"]["asked"]} == gone
    named = {(one["file"], one["pointer"]) for one in found["diagnostics"]}
    assert named == {("specs/a.yaml", "/policies")}
    assert all(one["weakens"] and one["lock"] == place.as_posix() for one in found["data"]["asked"])
    advice = capsys.readouterr().err.splitlines()[-1].partition("next=kcompiler ")[2]
    assert advice == f"diff --exit-code HEAD:./{place} {place}"
    assert _main(advice.split()) == 1
    # a name that is not weaker is answered with those that are
    refused = ci(2, "--allow-weaker", "acme/lab/fewer", "for a reason")["policy diff"]
    assert refused["outcome"] == "usage"
    assert refused["message"].endswith("not weaker than in HEAD; what is: acme/lab/few, acme/lab/pack.yaml")
    # another tier, under another name; what is allowed goes on, to a lock that is not that of the spec
    made = json.loads(place.read_text())
    made["asked"] |= {"risk_tier": 3, "name": "renamed"}
    git("checkout", "-q", "generated")
    edit(place.as_posix(), '"risk_tier": 3', '"risk_tier": 2')
    git("commit", "-qam", "stricter")
    shutil.rmtree(place.parent)
    Path("generated/renamed").mkdir()
    Path("generated/renamed/plan.lock").write_text(json.dumps(made))
    edit("specs/a.yaml", "name: answers,", "name: renamed,")
    found = ci(1)["policy diff"]
    assert {one["rule"]: one["way"] for one in found["data"]["asked"]} == {**gone, "renamed/risk_tier": "weaker"}
    words = [word for rule in [*gone, "renamed/risk_tier"] for word in ("--allow-weaker", rule, "the lab is closed")]
    parts = ci(1, *words)
    assert (parts["policy diff"]["outcome"], parts["plan"]["outcome"]) == ("ok", "lock-would-change")
    assert {one["allowed"] for one in parts["policy diff"]["data"]["asked"]} == {"the lab is closed"}
    # the same lock, and one that cannot be read then
    shutil.rmtree("generated/renamed")
    edit("specs/a.yaml", "name: renamed,", "name: answers,")
    git("checkout", "-q", "generated")
    assert ci(1)["policy diff"]["data"]["asked"] == []
    text = place.read_text()
    place.write_text("{}")
    git("commit", "-qam", "broken")
    place.write_text(text)
    assert ci(2)["policy diff"]["outcome"] == "unreadable"


def test_the_help_has_the_order_of_the_codes() -> None:
    codes = [str(code) for code in URGENCY if code < 128 and code != 10]
    said = " ".join(str(verb.help).split())
    assert f"({', '.join([codes[0], 'a signal', *codes[1:]])})" in said


def test_somebody_says_why_and_it_stands_in_the_output(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit("policies/acme/lab/few/rule.yaml", '"60"', '"90"')
    parts = ci(1, "--allow-weaker", "acme/lab/few", "two runs share the machine")
    # what comes next is asked: no lock is committed here
    assert [parts[verb]["outcome"] for verb in ("policy diff", "validate", "plan")] == ["ok", "ok", "lock-would-change"]
    assert parts["policy diff"]["data"]["rules"][0]["allowed"] == "two runs share the machine"
    assert "allowed: two runs share the machine" in Path("out/summary.md").read_text()


def test_the_same_a_stronger_and_a_new_pack_go_on(home: Path) -> None:
    assert ci(1)["policy diff"]["outcome"] == "ok"
    edit("policies/acme/lab/few/rule.yaml", '"60"', '"50"')
    shutil.copytree("policies/acme/lab/few", "policies/new/few")
    Path("policies/new/pack.yaml").write_text("name: new\nversion: 1\ntitle: Rules that are new\n")
    parts = ci(1)
    assert parts["policy diff"]["outcome"] == "ok"
    assert [one["way"] for one in parts["policy diff"]["data"]["rules"]] == ["stronger"]
    assert parts["plan"]["outcome"] == "lock-would-change"


def test_wrong_uses_are_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["ci", "specs/a.yaml", "--to", "out"]
    assert _main([*words, "--allow-weaker", "acme/lab/few", "for a reason"]) == 2
    assert "say which by --base" in capsys.readouterr().err
    assert _main([*words, "--plan-only", "--bundle"]) == 2
    assert "--plan-only has none" in capsys.readouterr().err
    assert _main([*words, "--base", "HEAD", "--allow-weaker", "acme/lab/few", " "]) == 2
    assert "say why it may be weaker" in capsys.readouterr().err
    assert ci(2, "--allow-weaker", "acme/lab/few", "for a reason")["policy diff"]["outcome"] == "usage"
    assert _main([*words, "--base", "nowhere"]) == 2
    assert json.loads(Path("out/packs.json").read_text())["outcome"] == "no-such-revision"
    # a pack that today's reader cannot read is no pack that is not weaker
    edit("policies/acme/lab/few/rule.yaml", "kind: bound", "kind: bond")
    assert ci(2)["policy diff"]["outcome"] == "unreadable"


@pytest.fixture
def locked(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same project with a pack that its cases prove, and the lock of its spec; made once."""
    kept = tmp_path_factory.getbasetemp() / "locked"
    if not kept.exists():
        edit(
            "policies/acme/lab/few/rule.yaml", "params:", "# a minute of this machine is what the lab pays for\nparams:"
        )
        assert _main(["policy", "test", "acme/lab", "--add"]) == 0
        assert _main(["plan", "specs/a.yaml"]) == 0
        git("add", "-A")
        git("commit", "-qm", "proven and locked")
        shutil.copytree(home, kept)
    shutil.copytree(kept, home, dirs_exist_ok=True)
    return home


def proven() -> tuple[int, dict[str, Any]]:
    """What stage `policy` says of the project's packs: code and result."""
    (place,) = Path("generated").glob("*/plan.lock")
    found = stage("specs/a.yaml", Path("specs/a.yaml"), place.parent.name)
    return found.code, json.loads(rendered(found, "json"))


def test_a_pack_that_its_cases_prove_goes_on(locked: Path) -> None:
    code, found = proven()
    assert (code, found["data"]) == (0, {"packs": ["acme/lab"], "rules": 1, "findings": 0})
    # without a pack of its own there is nothing to ask: shipped ones are proven where they are made
    edit("specs/a.yaml", ", acme/lab]", "]")
    assert _main(["plan", "specs/a.yaml"]) == 0
    assert proven()[1]["data"] == {"packs": [], "rules": 0, "findings": 0}


def test_a_rule_that_a_lock_asks_is_told_where_the_pack_has_it(locked: Path) -> None:
    edit("policies/acme/lab/few/rule.yaml", '"60"', '"90"')
    assert _main(["plan", "specs/a.yaml"]) == 0
    (found,) = ci(1, "--plan-only")["policy diff"]["diagnostics"]
    assert (found["file"], found["pointer"]) == ("policies/acme/lab/few/rule.yaml", "/params/threshold")


FAIL = "policies/acme/lab/few/fail.json"


def no_fail() -> None:
    Path(FAIL).unlink()


def a_fail_that_passes() -> None:
    Path(FAIL).write_text('{"expect": {"outcome": "pass"}}')


def a_slip() -> None:
    for file in Path("policies/acme/lab/few").glob("*-*.json"):
        file.unlink()


def no_source() -> None:
    edit("policies/acme/lab/few/rule.yaml", "# a minute of this machine is what the lab pays for\n", "")


@pytest.mark.parametrize(
    ("break_", "code"),
    [(no_fail, "KC6050"), (a_fail_that_passes, "KC6050"), (a_slip, "KC6054"), (no_source, "KC6052")],
)
def test_a_rule_that_nothing_proves_is_found(locked: Path, break_: Any, code: str) -> None:
    break_()
    ended, said = proven()
    assert (ended, said["outcome"], said["next"]) == (1, "findings", "kcompiler policy lint acme/lab")
    (found,) = said["diagnostics"]
    assert (found["code"], found["file"]) == (code, "policies/acme/lab/few/rule.yaml")


def test_nothing_is_applied_under_a_rule_that_nothing_proves(locked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    no_fail()
    parts = ci(1)
    assert [parts[verb]["outcome"] for verb in ("policy diff", "validate", "plan")] == ["ok"] * 3
    assert parts["policy"]["outcome"] == "findings"
    assert {parts[verb]["outcome"] for verb in ("apply", "gate", "audit")} == {"not-run"}
    assert "KC6050" in Path("out/results.sarif").read_text()
    assert json.loads(Path(f"out/{next(Path('generated').iterdir()).name}/policy.json").read_text()) == parts["policy"]
    # and what it advises says the same, and what that advises mends it
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == "outcome=findings code=1 next=kcompiler policy lint acme/lab"
    assert _main(["policy", "lint", "acme/lab"]) == 1
    assert _main(["policy", "test", "acme/lab", "--add"]) == 0
    assert proven()[0] == 0


def test_a_rule_that_no_report_can_fail_ends_every_verb(locked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit("policies/acme/lab/few/rule.yaml", 'op: "<=", threshold: "60"', 'op: ">=", threshold: "0"')
    git("commit", "-qam", "idle")
    for code, *words in ((1, "plan", "specs/a.yaml"), (2, "policy", "test"), (2, "policy", "lint", "acme/lab")):
        assert _main(list(map(str, words))) == code
        told = capsys.readouterr()
        assert "KC6060" in told.out + told.err
        assert "policies/acme/lab/few/rule.yaml:6:" in told.out + told.err


@pytest.mark.parametrize("reason", ["asked with sk-proj-0a0a0a0a0a0a0a0a0a0a0a0a0a0a", " "])
def test_a_reason_that_cannot_be_written_down_is_refused_before_anything_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text("version: 1\n", encoding="utf-8")
    assert _main(["ci", "a.yaml", "--to", "out", "--base", "main", "--allow-weaker", "team/a/few", reason]) == 2
    told = capsys.readouterr()
    assert ("KC4209" in told.err) is bool(reason.strip())
    assert "sk-proj" not in told.out + told.err
    assert not (tmp_path / "out").exists()
