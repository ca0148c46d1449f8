"""A page about a run: what lies there, what is missing or was changed, and numbers, curves and answers of anybody."""

import json
import shutil

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kcompiler import approval, dsse, lock
from kcompiler.policy.binding import RUN
from kcompiler.project import Project
from kcompiler.render.html.page import result
from kcompiler.render.html.run import Run, look
from kcompiler.result import Result
from runtime import digest
from runtime.contract import chain, items
from runtime.contract.report import measured, rate, unavailable
from tests.bench import long_run
from tests.unit.kcompiler.render.html.pages import checked, words
from tests.unit.kcompiler.render.results import HOSTILE, outcome

SUBJECT = "generated/long"


@pytest.fixture(scope="module")
def carried_out(tmp_path_factory):
    root = tmp_path_factory.mktemp("long")
    long_run.project(root, 20)
    return root


@pytest.fixture
def home(carried_out, tmp_path):
    shutil.copytree(carried_out, tmp_path / "home")
    return Project(tmp_path / "home")


def page(home):
    plan = lock.read(home.lock(long_run.NAME))
    found = Result(verb="show", subject=SUBJECT, code=0, word="ok")
    text = result(found, {SUBJECT: look(home, plan)})
    assert result(found, {SUBJECT: look(home, plan)}) == text
    return words(checked(text))


def test_a_run_that_passed(home):
    said = page(home)
    assert "✓ Passed long" in said
    assert "2 of 2 gates passed, and none blocks." in said
    assert "generated/long/evidence/reports/s000009.json" in said or "s000009#/data/copied" in said
    assert "What lies here is not whole" not in said
    assert "20" in said.partition("Steps (")[2][:4]


def test_what_lies_there_and_is_not_what_was_judged_takes_the_pass_away(home):
    report = home.evidence(long_run.NAME) / "reports/s000009.json"
    text = report.read_text()
    for damage, told in (
        (text.replace('"value": 1.0', '"value":  1.0'), "is not the report that was judged"),
        (text.replace('"unit": "ratio"', '"unit": 3'), "is no evidence"),
        ("{", "is no evidence"),
    ):
        report.write_text(damage)
        said = page(home)
        assert told in said
        assert "✓ Passed" not in said
        assert "not what was judged" in said.partition("All gates")[0]
    report.unlink()
    assert "The report of step `s000009` that was judged is not here." in page(home)


def test_a_verdict_that_is_gone_damaged_or_of_another_plan(home):
    place = home.verdict(long_run.NAME)
    verdict = json.loads(place.read_text())
    place.write_text(json.dumps({**verdict, "lock": long_run.HEX}))
    said = page(home)
    assert "The verdict is of another plan" in said
    assert "✓ Passed" not in said
    for damaged in ("{", json.dumps({**verdict, "verdict": "FINE"}), "[]", "\x00"):
        place.write_text(damaged)
        said = page(home)
        assert "verdict.json is damaged and says nothing" in said
        assert "✓ Passed" not in said
    place.unlink()
    assert "✓ Passed" not in page(home)


def test_several_runs_stand_on_one_page_each_with_its_own_verdict(home, tmp_path):
    bad = hostile_run(tmp_path, "b</td>")
    runs = {"a": look(home, lock.read(home.lock(long_run.NAME))), "b": bad}
    parts = [
        Result(verb="gate", subject="a", code=0, word="ok", verdict="PASS"),
        Result(verb="gate", subject="b", code=1, word="fail", verdict="FAIL"),
        # nothing was carried out
        Result(verb="gate", subject="c", code=1, word="not-run", message="not run, because plan c ended with code 1"),
    ]
    said = words(checked(result(Result(verb="ci", subject="a b c", code=1, word="fail", parts=tuple(parts)), runs)))
    assert said.startswith("Skip to the result kcompiler ci a b c ✗ No: fail a b c")
    assert "✓ Passed long 2 of 2 gates passed" in said
    assert "✗ Did not pass b</td> 1 of 1 gates blocks" in said
    assert "not run, because plan c ended with code 1" in said


def test_of_what_is_waived_the_waiver_is_named(home):
    """A verdict with an excuse says what it excuses and until when, and never that all passed."""
    place = home.verdict(long_run.NAME)
    verdict = json.loads(place.read_text())
    excused = {"id": "WV-0001", "digest": long_run.HEX, "until": "2027-01-31", "use": long_run.HEX, "was": "fail"}
    excused["approved"] = "ana, bo"
    verdict["outcomes"][0] |= {"outcome": "waived", "blocks": False, "waiver": excused}
    verdict["counts"] |= {"waived": 1, "pass": 1}
    place.write_text(json.dumps({**verdict, "verdict": "WAIVED"}))
    said = page(home)
    assert "~ Passed with waivers long 1 of 2 gates passed, 1 waived, and none blocks." in said
    assert "Waived (1) These did not pass, and an exception lets them through." in said
    assert "WV-0001 excuses fail until 2027-01-31" in said
    assert "is damaged" not in said
    # what lies there is not what was excused
    report = home.evidence(long_run.NAME) / "reports/s000009.json"
    report.write_text(report.read_text() + "\n")
    assert "Passed with waivers, but what lies here is not what was judged" in page(home)


def test_who_has_approved_it_is_named_and_what_is_lacking(home):
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    made = lock.read(home.lock(long_run.NAME))
    made["policies"] = [{"pack": "team/law", "approval": {"min": 1, "approvers": {"ana": dsse.public_line(key)}}}]
    made["steps"][0]["backend"] = "torch"
    made["asked"] |= {"owner": "team", "risk_tier": 1}
    home.lock(long_run.NAME).write_text(lock.dump(made))
    assert "lacking: 0 of 1 approvals for pack `team/law`; of ana" in page(home)
    folder = home.generated(long_run.NAME) / approval.FOLDER
    folder.mkdir()
    said = approval.statement(made, home.lock(long_run.NAME).read_bytes(), "ana", "2026-11-28T12:00:00Z")
    (folder / "ana.dsse.json").write_text(dsse.dump(dsse.sign(said, key)))
    assert "approved by ana on 2026-11-28T12:00:00Z" in page(home)
    home.lock(long_run.NAME).write_text(lock.dump({**made, "policies": [{"pack": "team/law", "approval": 3}]}))
    assert "Who must approve this plan cannot be read" in page(home)


def test_without_state_or_journal_the_rest_is_told(home):
    shutil.rmtree(home.root / ".kcompiler")
    (home.evidence(long_run.NAME) / "journal.jsonl").unlink()
    said = page(home)
    assert "✓ Passed long" in said
    assert "Earlier runs" not in said


# ---------------------------------------------------------------------------------------------------------------------


def hostile_run(root, bad):
    """A run in which every text is `bad`."""
    store, split = root / ".kcompiler/store/sha256", "test"

    def kept(file, text):
        pin = digest.of_one_file(file, text.encode("utf-8", "replace"))
        digits = pin.partition(":")[2]
        folder = store / digits[:2] / digits
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(text.encode("utf-8", "replace"))
        return pin

    # what a file can hold at all
    said = bad.encode("utf-8", "replace").decode()
    row = {
        "id": said or "r",
        "prompt": said,
        "response": said,
        "class": said or "c",
        "spans": {},
        "source": said or "s",
    }
    dataset = kept(f"{split}.jsonl", json.dumps(row) + "\n")
    line = items.line(row, said, {"text": said}, {said: said}, said or "wrong")
    pin = kept(items.FILE, items.written([line]).decode())
    datum = {**measured(0.5, bad), "low": 0.25, "high": 0.75, "interval": bad, "reason": bad}
    step = {
        "id": bad, "kind": bad, "backend": bad, "takes": {bad: "input:rows"}, "after": [],
        "gives": {"items": {"kind": "items"}, "report": {"kind": "report", "report": "eval.gold"}},
        "params": {"suite": bad, "split": split},
    }  # fmt: skip
    record = {
        "spec": bad, "step": bad, "action": bad, "kind": bad, "backend": bad, "forged": False, "params": {},
        "components": {"input.dataset": dataset}, "gives": {"items": {"digest": pin, "bytes": 1, "kind": "items"}},
        **dict.fromkeys(("wall_s", "cpu_s", "gpu_s"), 0.5), "attempts": 1, "lost_attempts": 0,
    }  # fmt: skip
    plan = {
        "asked": {"name": bad, "spec": bad, "profile": bad}, "steps": [step], "budgets": {"wall_s": 1, "cpu_s": bad}, "policies": [], "obligations": [],
    }  # fmt: skip
    surroundings = {"environment": {"forged": bad}}
    point = {"step": measured(1, "step"), "value": measured(0.5, "nat/token")}
    reports = {
        bad: {"kind": "eval.gold", "step": bad, **surroundings, "data": {bad: datum, "right": {bad: datum, "all": rate(1, 3)}}},
        f"train {bad}": {
            "kind": "training", **surroundings,
            "data": {
                "total": [point, {"step": bad}, bad], "terms": {bad: {"curve": [point]}, "x": bad},
                "validation": {"metric": bad, "curve": [point, point], "best": point},
                "steps": measured(12, bad), "cost": {**measured(2.5, "USD"), "reason": bad},
            },
        },
        RUN: {
            "kind": "run", **surroundings,
            "data": {"wall": unavailable(bad, "s"), "cpu": measured(3, "s"), "steps": {bad: {"wall": measured(1, "s")}}, "missing": [bad]},
        },
    }  # fmt: skip
    lines, prev = [], chain.GENESIS
    for number in range(1, 4):
        for kind, data in (
            ("run_opened", {"spec": bad, "plan": bad}),
            ("gate_evaluated", {"step": "", "counts": {"pass": number, "fail": 1}, "blocking": [bad]}),
            ("run_closed", {"spec": bad, "outcome": bad}),
        ):
            body = {
                "seq": len(lines) + 1,
                "prev": prev,
                "run": f"{bad}{number}",
                "fence": 1,
                "ts": bad,
                "type": kind,
                "data": data,
            }
            lines.append(type("Line", (), {"type": kind, "data": data, "content": body})())
    tree = [{"value": bad, "text": bad, "reads": [], "parts": [{"value": bad, "text": bad, "reads": [], "parts": []}]}]
    known = {"counterfactual": bad, "advisory": bad, "tree": tree, "rule_at": {"file": bad, "line": 1, "column": 1}}
    blocking = outcome("fail")
    return Run(
        home=Project(root), plan=plan, digest=bad, lines=lines, reports=reports, committed={bad: record}, troubles=[bad],
        verdict={"verdict": "FAIL", "as_of": bad, "reports": {"data": ""}, "outcomes": [{"rule": blocking.rule, "step": blocking.step, "waiver": {"id": bad, "was": bad, "until": bad}}]}, outcomes=[blocking],
        explained={(blocking.rule, blocking.step): known},
    )  # fmt: skip


MORE = ["</style><script>alert(1)</script>", "</title>", "</pre>", "<img src=x onerror=alert(1)>", "\" autofocus onfocus=\"alert(1)",
        "שלום עולם", "مرحبا", "x" * 5000, "{{ 7 * 7 }}{% raw %}", "<!-- --><![CDATA[", "--!>", "&#x3c;script&#x3e;"]  # fmt: skip


@pytest.mark.parametrize("bad", [*HOSTILE, *MORE])
def test_text_of_a_run_is_text_in_every_place(tmp_path, bad):
    run = hostile_run(tmp_path, bad)
    text = result(Result(verb="show", subject=bad, code=0, word="ok"), {bad: run})
    said = words(checked(text))
    for part in (
        "Numbers",
        "Training curves",
        "Worst answers",
        "Steps (1)",
        "What it took",
        "Earlier runs",
        "Enough rows",
    ):
        assert part in said
    assert "Gates passed: from 1 to 3 in 3 runs" in said
    assert "49" not in text or "7 * 7" not in bad or "{{ 7 * 7 }}" in said
    assert len(text) < 60_000 + 100 * max(len(bad), 1)
