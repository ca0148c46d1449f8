"""Every verb that answers has every form, however it ends: one result by the published schema, with the exit code."""

import json
import shutil

import pytest

from kcompiler.cli import _main, answer
from runtime.machine.lease import Lease
from tests.longer import longer
from tests.unit.kcompiler.cli.conftest import PUBLISHED, SPEC
from tests.unit.kcompiler.render.html.pages import checked, words

FOLDER = "generated/eight-ball"


@pytest.fixture
def ended(monkeypatch, capsys):
    """Runs a verb: the result that it prints as JSON, by the schema, and written in every other form, too."""
    write = answer.rendered

    def every(result, form, runs):
        for other in answer.FORMS[2:]:
            # nothing to annotate is no line
            assert write(result, other).encode("utf-8") or other == "github"
        return write(result, form, runs)

    monkeypatch.setattr(answer, "rendered", every)

    def run(code, word, verb, *arguments):
        capsys.readouterr()
        assert _main([verb, *arguments, "--format", "json"]) == code
        said = capsys.readouterr()
        found = json.loads(said.out)
        PUBLISHED.validate(found)
        assert (found["verb"], found["code"], found["outcome"]) == (verb, code, word)
        if code:
            assert said.err.splitlines()[-1] == f"outcome={word} code={code} next={found['next']}"
        return found

    return run


def damage(path, old, new):
    text = (path).read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_the_schema_refuses_what_is_no_result(home, ended):
    """The tests here could fail."""
    found = ended(0, "ok", "validate", SPEC)
    for bad in (
        {**found, "code": 42},
        {**found, "extra": 1},
        {**found, "data": {"specs": [{"spec": SPEC}]}},
        {**found, "verb": "plan"},
        {key: value for key, value in found.items() if key != "outcome"},
    ):
        assert not PUBLISHED.is_valid(bad)


def test_validate(home, ended):
    assert ended(0, "ok", "validate", SPEC)["data"]["specs"][0]["valid"] is True
    assert ended(2, "unreadable", "validate", "specs/none.yaml")["diagnostics"]
    damage(home / SPEC, "risk_tier: 3", "risk_tier: 9")
    found = ended(1, "invalid", "validate", SPEC)
    assert found["data"]["specs"][0]["valid"] is False
    assert [(one["pointer"], one["severity"]) for one in found["diagnostics"]] == [("/risk_tier", "error")]


def test_plan(home, ended):
    found = ended(0, "ok", "plan", SPEC)
    assert [step["action"] for step in found["steps"]] == ["reuse"] + ["run"] * 10
    assert found["data"]["changes"] == []
    assert ended(10, "work", "plan", SPEC, "--detailed-exitcode")["plan"] == found["plan"]
    damage(home / SPEC, "cpu_s: 600", "cpu_s: 1200")
    found = ended(1, "lock-would-change", "plan", SPEC, "--check")
    assert "600 → 1200" in found["message"]
    assert [one["direction"] for one in found["data"]["changes"] if one["area"] == "budget"] == ["weaker"]
    damage(home / ".kcompiler/journal.jsonl", '"hash":"', '"hash":"0')
    assert "evidence is broken" in ended(3, "evidence-broken", "plan", SPEC)["message"]
    damage(home / SPEC, "risk_tier: 3", "risk_tier: 9")
    assert ended(1, "invalid", "plan", SPEC)["data"] == {}
    assert ended(2, "unreadable", "plan", "specs/none.yaml")["diagnostics"]


def test_apply(home, ended, monkeypatch):
    found = ended(0, "ok", "apply", SPEC, "--only", "data")
    assert {outcome["step"] for outcome in found["outcomes"]} == {"data"}
    assert found["wall_s"] > 0
    assert found["data"]["counts"]["reused"] == 1
    assert "cannot be read as a lock" in ended(2, "unreadable", "apply", f"{FOLDER}/none.lock")["message"]
    assert ended(2, "refused", "apply", SPEC, "--only", "dta")["diagnostics"]
    with monkeypatch.context() as patch:
        patch.setattr("kcompiler.plan.make", lambda *_: 1 / 0)
        assert "ZeroDivisionError" in ended(70, "bug", "apply", SPEC)["message"]

        def stopped(*_):
            raise KeyboardInterrupt

        patch.setattr("kcompiler.plan.make", stopped)
        assert ended(130, "interrupted", "apply", SPEC)["steps"] == []
    lease = Lease(home / ".kcompiler")
    with lease:
        assert ended(5, "locked", "apply", SPEC, "--only", "data")["message"]
    damage(home / SPEC, "cpu_s: 600", "cpu_s: 1200")
    assert "the lock is stale" in ended(4, "lock-stale", "apply", SPEC, "--locked")["message"]
    kept = ended(2, "evidence-stands", "apply", SPEC, "--backend", "null")["next"].split(",")[0].split()
    assert kept[0] == "mv"
    shutil.move(home / kept[1], home / kept[2])
    found = ended(1, "fail", "apply", SPEC, "--backend", "null")
    assert found["verdict"] == "FAIL"
    assert any(one["blocks"] for one in found["outcomes"])


def test_gate_and_what_is_shown_of_evidence(home, ended):
    report = f"{FOLDER}/evidence/reports/data.json"
    gate = ("gate", report, f"{FOLDER}/evidence/run.json", "--lock", FOLDER)
    found = ended(1, "fail", *gate)
    assert found["data"]["outcomes"]
    # what comes next can be typed
    head, _, again = found["next"].partition(", then kcompiler ")
    assert (head, again) == ("mend what blocks", f"apply {SPEC}")
    assert _main([*again.split(), "--only", "data"]) == 0
    assert {one["evidence"]["file"] for one in found["outcomes"] if one["step"] == "data"} == {report}
    assert ended(3, "nothing_evaluated", "gate", report, "--lock", FOLDER, "--only-given")["verdict"]
    assert ended(2, "unreadable", "gate", "none.json", "--lock", FOLDER)["message"]
    assert ended(0, "ok", "status", SPEC)["data"]["stages"]
    assert ended(2, "unreadable", "status", "specs/none.yaml")["diagnostics"]
    for what in ("lock", "run", "verdict", "journal", "artifacts"):
        assert ended(0, "ok", "show", what, SPEC)["data"]["content"]
    assert ended(0, "ok", "show", "report", SPEC, "data")["data"]["content"]["step"] == "data"
    assert ended(2, "no-evidence", "show", "report", SPEC, "verify")["data"]["content"] is None
    assert ended(1, "unfinished", "audit", SPEC)["findings"]
    damage(home / report, '"step": "data"', '"step": "other"')
    found = ended(3, "evidence-broken", "audit", SPEC)
    assert report in [one["where"]["file"] for one in found["findings"] if one["severity"] == "evidence"]
    (home / FOLDER / "evidence/verdict.json").write_text("{")
    assert ended(3, "evidence-broken", "show", "verdict", SPEC)["verdict"] == ""
    assert ended(2, "no-lock", "audit", "generated/none")["message"]


@longer
def test_what_another_plan_left_says_so_in_every_form(home, ended, capsys):
    """A new plan that was not applied: what lies there answers nothing about it."""
    damage(home / SPEC, "cpu_s: 600", "cpu_s: 1200")
    assert _main(["plan", SPEC]) == 0
    said = "is of another plan than"
    for what in ("verdict", "rules", "run"):
        found = ended(3, "other-plan", "show", what, SPEC)
        assert (found["verdict"], found["outcomes"], said in found["message"]) == ("", [], True)
        assert found["data"]["content"]
        for form in answer.FORMS:
            capsys.readouterr()
            assert _main(["show", what, SPEC, "--format", form]) == 3
            told = capsys.readouterr()
            assert said in (
                told.err
                if (what, form) == ("run", "human")
                else words(checked(told.out))
                if form == "html"
                else told.out
            )
            if form == "junit":
                assert 'failures="0" errors="0"' not in told.out
    for what in (("journal",), ("artifacts",), ("report", "data")):
        found = ended(0, "ok", "show", what[0], SPEC, *what[1:])
        assert [said in one["summary"] for one in found["diagnostics"]] == [True]
        assert _main(["show", what[0], SPEC, *what[1:]]) == 0
        assert said in capsys.readouterr().err
    # what is advised makes them this plan's; a lock alone is no evidence
    assert ended(0, "ok", "show", "lock", SPEC)["diagnostics"] == []
    again = ended(3, "other-plan", "show", SPEC)["next"].removeprefix("kcompiler ").split()
    assert _main([*again, "--only", "data"]) == 0
    assert ended(0, "ok", "show", SPEC)["verdict"]
    assert ended(0, "ok", "show", "journal", SPEC)["diagnostics"] == []


def test_a_page_is_about_the_run_that_a_verb_is_about(home, capsys):
    """The same page, whichever verb asks for it, but for what only that verb says; twice the same bytes."""

    def page(code, *arguments):
        capsys.readouterr()
        assert _main([*arguments, "--format", "html"]) == code
        return capsys.readouterr().out

    evidence = [f"{FOLDER}/evidence/reports/data.json", f"{FOLDER}/evidence/run.json"]
    pages = {
        "apply": page(0, "apply", SPEC, "--only", "data"),
        "show": page(0, "show", SPEC),
        "verdict": page(0, "show", "verdict", FOLDER),
        "run": page(0, "show", "run", SPEC),
        "status": page(0, "status", SPEC),
        "gate": page(1, "gate", *evidence, "--lock", FOLDER),
        "audit": page(1, "audit", SPEC),
    }
    assert page(0, "show", SPEC) == pages["show"]
    for verb, text in pages.items():
        said = words(checked(text))
        assert "eight-ball" in said
        assert "✓ Passed" not in said
        assert "Steps (11)" in said
        # a report that was judged, and one that was not made
        assert "Every source and the whole dataset have rows" in said or "data#/data" in said, verb
        if verb != "apply":
            assert "rules on step evaluate-answers" in said, verb
    assert "What was found" in words(checked(pages["audit"]))
    assert "1 of 10 steps" in pages["audit"] or "unfinished" in pages["audit"]
    # without a run the page is of the result alone
    said = words(checked(page(2, "show", f"{FOLDER}/none.lock")))
    assert "no-lock" in said
    damage(home / SPEC, "risk_tier: 3", "risk_tier: 9")
    said = words(checked(page(1, "validate", SPEC)))
    assert "What to do" in said
    assert "specs/eight-ball.yaml:" in said
    assert words(checked(page(1, "apply", SPEC))).count("✗ No: invalid") == 1
    (home / FOLDER / "evidence/verdict.json").write_text("{")
    said = words(checked(page(3, "show", "verdict", FOLDER)))
    assert "✗ No: evidence-broken" in said
    assert "is damaged and says nothing" in said


def test_show_of_a_spec_alone_is_its_verdict(home, capsys):
    assert _main(["show", "verdict", SPEC]) == 0
    said = capsys.readouterr().out
    assert _main(["show", SPEC]) == 0
    assert capsys.readouterr().out == said
    for wrong, told in (
        (["show", "verdict"], "TARGET"),
        (["show", "verdic", SPEC], "'verdic' is not one of lock, run"),
    ):
        assert _main(wrong) == 2
        assert told in capsys.readouterr().err
    assert _main(["show"]) == 2


def test_github_gets_annotations_and_the_summary_of_the_step(home, monkeypatch, tmp_path, capsys):
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    (tmp_path / ".git").mkdir()
    damage(home / SPEC, "risk_tier: 3", "risk_tier: 9")
    capsys.readouterr()
    assert _main(["validate", SPEC, "--format", "github"]) == 1
    said = capsys.readouterr()
    assert said.out.startswith(f"::error file=home/{SPEC},line=")
    assert said.err == f"outcome=invalid code=1 next=kcompiler validate {SPEC}\n"
    text = summary.read_text()
    assert text.startswith("before\n### `kcompiler validate")
    assert "risk_tier" in text or "KC2" in text


@pytest.mark.parametrize("verb", ["validate", "plan", "apply", "gate", "status", "show", "audit"])
def test_every_such_verb_takes_every_form(verb, capsys):
    assert _main([verb, "--help"]) == 0
    assert f"[{'|'.join(answer.FORMS)}]" in "".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("words", [["waiver", "new", "--nothing"], ["plan", SPEC, "--nothing"], ["nothing"]])
def test_a_wrong_use_names_the_help_of_its_verb_and_that_helps(home, capsys, words):
    assert _main(words) == 2
    advice = capsys.readouterr().err.rpartition("next=kcompiler ")[2].split()
    assert advice == [*(word for word in words if word in ("waiver", "new", "plan")), "--help"]
    assert _main(advice) == 0
    assert "Usage: kcompiler" in capsys.readouterr().out
