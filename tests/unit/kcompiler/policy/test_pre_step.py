"""A rule of phase pre-step decides right before each step begins, on what the machine says of it then; it holds back
that step alone, is asked again, and decides the same in the verdict, in an audit and in a stranger's hands."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kcompiler import lock
from kcompiler.audit import audit, packing, records
from kcompiler.audit.bundle import audit_bundle
from kcompiler.cli import _main
from kcompiler.cli.outcome import Outcome
from kcompiler.cli.plans import begun_otherwise, delta_of
from kcompiler.cli.run import judge_of, leave
from kcompiler.front import compile_spec
from kcompiler.plan import make
from kcompiler.project import Project
from kcompiler.verifier import facts, main, starts
from kcompiler.verifier.main import Trust
from kcompiler.verifier.zipped import pack
from runtime.contract import chain
from tests.unit.kcompiler.audit.forger import JOURNAL, Files, forge
from tests.unit.kcompiler.carried import carried
from tests.unit.kcompiler.policy.test_phases import NOW, PACK, project

TRIES = """\
id: tries
title: The data are made at the right attempt
on: start
phase: pre-step
where: {step: name, has: data}
kind: bound
params: {metric: attempt, op: "OP", threshold: "NUMBER", unit: count}
remedy: ask whoever keeps the pack
"""
LEFT = """\
id: left
title: Some time is left before each step
on: start
phase: pre-step
kind: bound
params: {metric: budgets.wall_s.left_share, op: ">=", threshold: "0.1", unit: "1"}
remedy: raise budgets.wall_s
"""
EVIDENCE = "generated/answers/evidence"


def tries(op: str, number: str) -> dict[str, str]:
    return {"tries": TRIES.replace("OP", op).replace("NUMBER", number)}


def test_what_does_not_pass_holds_the_step_back_and_is_asked_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = project(tmp_path, tries(">=", "2"))
    assert _main(["apply", str(spec), "--backend", "null"]) == 1
    told = capsys.readouterr()
    assert "data did not begin: lab/tries: ask whoever keeps the pack" in told.err
    assert "data: gate lab/tries is fail: 1 count misses >= 2" in told.err
    assert "\n        data: blocked, lab/tries" in told.err, "counted when it began"
    assert re.search(r"\noutcome=held-back code=1 next=mend it, then kcompiler apply \S+\n$", told.err)
    assert not list((tmp_path / EVIDENCE / "reports").glob("start*")), "of an attempt that came to nothing"
    verdict = json.loads(Project(tmp_path).verdict("answers").read_text())
    (one,) = (one for one in verdict["outcomes"] if one["rule"] == "lab/tries")
    assert (one["outcome"], one["blocks"], one["phase"], one["step"]) == (
        "not_evaluated",
        True,
        "pre-step",
        "start.data",
    )
    # the next attempt is the second; a run without any result is not taken for a forged one
    (tmp_path / EVIDENCE).rename(tmp_path / "kept")
    assert _main(["apply", str(spec), "--backend", "null"]) == 1
    assert "held-back" not in capsys.readouterr().err
    verdict = json.loads(Project(tmp_path).verdict("answers").read_text())
    (one,) = (one for one in verdict["outcomes"] if one["rule"] == "lab/tries")
    assert (one["outcome"], one["observed"]) == ("pass", "2")


def run(root: Path, code: int, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[dict[str, str], str]:
    """Apply the null backend: what each rule about the beginning of a step finds, and what was told."""
    capsys.readouterr()
    assert _main(["apply", str(root / "specs/spec.yaml"), "--backend", "null", *words]) == code
    verdict = json.loads(Project(root).verdict("answers").read_text())
    found = {
        one["step"].removeprefix("start."): one["outcome"] for one in verdict["outcomes"] if one["pack"] == "lab@1"
    }
    return found, capsys.readouterr().err


@pytest.mark.parametrize(("op", "found"), [("<=", "pass"), (">=", "fail")])
def test_a_rule_that_is_new_is_asked_of_what_began_before_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], op: str, found: str
) -> None:
    spec = project(tmp_path, tries(op, "2"))
    held = spec.read_text()
    spec.write_text(held.replace(", lab]", "]"))
    run(tmp_path, 1, capsys)
    spec.write_text(held)
    outcomes, told = run(tmp_path, 1, capsys)
    assert outcomes == {"data": found}
    assert "data: reused" in told
    assert "held-back" not in told, "nothing begins that could be held back"
    # what was not to begin so is begun anew; the second attempt at that passes
    if found == "fail":
        assert "data did not begin" in run(tmp_path, 1, capsys, "--force", "data")[1]
        shutil.rmtree(tmp_path / EVIDENCE)  # a run without any result is not taken for a forged one
        assert run(tmp_path, 1, capsys, "--force", "data")[0] == {"data": "pass"}


def unwritten(root: Path) -> None:
    """The journal as it was written when nobody wrote down how a step began."""
    place, last = root / ".kcompiler/journal.jsonl", ""
    made: list[bytes] = []
    for text in place.read_bytes().splitlines():
        body = json.loads(text)
        body["data"].pop("start", None)
        body |= {"prev": last} if made else {}
        del body["hash"]
        made.append(chain.seal(body))
        last = json.loads(made[-1])["hash"]
    place.write_bytes(b"".join(made))
    (root / ".kcompiler/head").write_bytes(chain.head_text(json.loads(made[-1])["seq"], last))


def test_what_nobody_wrote_down_is_told_with_the_command_that_mends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = project(tmp_path, tries("<=", "9"))
    held = spec.read_text()
    spec.write_text(held.replace(", lab]", "]"))
    run(tmp_path, 1, capsys)
    unwritten(tmp_path)
    spec.write_text(held)
    outcomes, told = run(tmp_path, 1, capsys)
    assert outcomes == {"data": "not_evaluated"}
    assert "data: gate lab/tries is not_evaluated: nothing says how `data` began" in told
    (advice,) = set(re.findall(r"`kcompiler apply SPEC (--force \w+)` begins it anew", told))
    assert run(tmp_path, 1, capsys, *advice.split())[0] == {"data": "pass"}


@pytest.mark.parametrize(("was", "now"), [("wall_s: 60", "wall_s: 4000"), ("{name: answers", "{name: questions")])
def test_what_began_under_another_budget_does_not_answer_for_this_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], was: str, now: str
) -> None:
    """A result is used again; how much was left of other bounds, or to a spec of another name, says nothing."""
    calm = tries("<=", "9")["tries"]
    spec = project(tmp_path, {"left": LEFT.replace("kind:", "where: {step: name, has: data}\nkind:"), "tries": calm})
    held = spec.read_text()
    assert held.count(was) == 1
    spec.write_text(held.replace(", lab]", "]").replace(was, now))
    assert _main(["apply", str(spec), "--backend", "null"]) == 1
    spec.write_text(held)
    home, made = Project(tmp_path), locked(tmp_path, spec)
    (foretold,) = begun_otherwise(made, home, delta_of(made, home))
    assert foretold.startswith("! lab/left is not_evaluated of `data`, which is used again as it began: unavailable: ")
    assert foretold.endswith("`apply --force data` begins it anew")
    told = run_rules(tmp_path, capsys)
    assert told["lab/left"]["outcome"] == "not_evaluated"
    assert told["lab/left"]["reason"].startswith("unavailable: `data` began under another budget")
    assert told["lab/tries"]["outcome"] == "pass", "which attempt it was is of no budget"
    assert [one for one in audit(tmp_path, "answers").findings if one.severity == "evidence"] == []
    data = packing.bundle(tmp_path, "answers")
    found, alone = audit_bundle(data, Trust(as_of=NOW))[0], main.check(data, Trust(as_of=NOW))
    assert found.exit_code == alone.code
    assert [one for one in found.findings if one.severity == "evidence"] == []
    (advice,) = re.findall(r"`kcompiler apply SPEC (--force \w+)` begins it anew", told["lab/left"]["reason"])
    assert run_rules(tmp_path, capsys, *advice.split())["lab/left"]["outcome"] == "pass"
    assert begun_otherwise(made, home, delta_of(made, home)) == []


def run_rules(root: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, dict[str, Any]]:
    """The same, each outcome of the pack by its rule."""
    run(root, 1, capsys, *words)
    verdict = json.loads(Project(root).verdict("answers").read_text())
    return {one["rule"]: one for one in verdict["outcomes"] if one["pack"] == "lab@1"}


def test_only_what_began_otherwise_is_begun_anew() -> None:
    def blocking(step: str, report: str = "start") -> dict[str, Any]:
        return {"step": step, "report": report, "blocks": True}

    steps = [("data", "reused"), ("train", "reused"), ("export", "committed")]
    ended: Any = SimpleNamespace(
        outcome="done", steps=[SimpleNamespace(step=one, status=how, reason="", error=None) for one, how in steps]
    )
    told = {"verdict": "FAIL", "exit_code": 1, "outcomes": [blocking("start.data"), blocking("start.train")]}
    with pytest.raises(Outcome) as left:
        leave(ended, told, "a.yaml", 0, None)
    assert (left.value.code, left.value.next_command) == (1, "kcompiler apply a.yaml --force data --force train")
    for other in (blocking("export", "eval"), blocking("start.export")):
        with pytest.raises(Outcome) as left:
            leave(ended, {**told, "outcomes": [*told["outcomes"], other]}, "a.yaml", 0, None)
        assert "--force" not in left.value.next_command


def test_a_step_without_a_question_is_told_how_one_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rule = tries("<=", "9")["tries"]
    spec = project(tmp_path, {"tries": rule.replace("{step: name, has: data}", "{step: data}")})
    assert _main(["plan", str(spec)]) == 1
    told = capsys.readouterr().err
    (advice,) = re.findall(r"as in (\{step: name, has: \S+\})", told)
    file = tmp_path / "policies" / "lab" / "tries" / "rule.yaml"
    file.write_text(rule.replace("{step: name, has: data}", advice.replace("train-kd", "data")))
    assert _main(["plan", str(spec)]) == 0


def test_a_value_that_another_spec_may_have_is_no_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is told by which rule nothing is asked; of a report that steps make a misspelt one is a mistake, too."""
    text = tries("<=", "9")["tries"]
    spec = project(tmp_path, {**tries("<=", "9"), "left": LEFT})
    file = tmp_path / "policies" / "lab" / "left" / "rule.yaml"
    for where in ("{step: params.device, has: cuda}", '{step: "params.losses[*].term", has: reverse_kl}'):
        file.write_text(LEFT.replace("kind:", f"where: {where}\nkind:"))
        assert _main(["plan", str(spec)]) == 0
        assert "- lab/left is not asked: no step" in capsys.readouterr().out
    of_report = text.replace("on: start\nphase: pre-step", "on: training").replace("attempt", "seconds")
    file.write_text(
        of_report.replace("tries", "left").replace("{step: name, has: data}", '{step: "losses[*].term", has: kll}')
    )
    assert _main(["plan", str(spec)]) == 1
    told = capsys.readouterr().err
    assert "`losses[*].term` can never be `kll`" in told
    assert "did you mean `kl`?" in told


def test_a_step_of_a_report_is_chosen_by_its_parameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = LEFT.replace("on: start\nphase: pre-step", "on: training").replace("budgets.wall_s.left_share", "seconds")
    spec = project(tmp_path, {"left": text.replace("kind:", "where: {step: losses}\nkind:")})
    assert _main(["plan", str(spec)]) == 1
    (advice,) = re.findall(r"as in (\{step: losses, at_least: 1\})", capsys.readouterr().err)
    file = tmp_path / "policies" / "lab" / "left" / "rule.yaml"
    for where, codes in ((advice, []), ("{step: name, has: train-kd}", ["KC6026"])):
        file.write_text(text.replace("kind:", f"where: {where}\nkind:"))
        _main(["plan", str(spec)])
        told = capsys.readouterr().err
        assert [one for one in re.findall(r"KC\d+", told) if one in ("KC6002", "KC6026")] == codes
    assert "of `on: start` alone a step is chosen by its name, kind or backend" in told


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("{step: name, has: dta}", "no step has the name `dta`"),
        ("{step: kind, has: trian}", "no step has the kind `trian`"),
        ("{step: params.devise, has: cuda}", "has a parameter at `params.devise`"),
        ("{step: params.device, has: cudaa}", "`params.device` can never be `cudaa`"),
        ('{step: "params.losses[*].term", has: kll}', "`params.losses[*].term` can never be `kll`"),
        ("{step: params.steps, has: first}", "`params.steps` can never be `first`"),
    ],
)
def test_a_misspelt_step_is_an_error_at_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str, words: str
) -> None:
    spec = project(tmp_path, {"tries": tries("<=", "9")["tries"].replace("{step: name, has: data}", where)})
    assert _main(["plan", str(spec)]) == 1
    told = capsys.readouterr().err
    assert re.findall(r"error\[(KC\d+)\]", told) == ["KC6026"], told
    assert words in told
    assert "--> policies/lab/tries/rule.yaml:5:" in told
    if "params" not in where:
        assert "did you mean `" in told


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("phase: pre-step\n", ""),
        ("phase: pre-step", "phase: release"),
        ("phase: pre-step", "phase: plan"),
        ("on: start", "on: eval.answers"),
        ("on: start", "on: plan"),
        ("remedy:", "waivable: true\nremedy:"),
    ],
)
def test_it_is_about_steps_that_begin_and_about_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str
) -> None:
    text = tries("<=", "9")["tries"]
    assert text.count(old) == 1
    spec = project(tmp_path, {"tries": text.replace(old, new)})
    (tmp_path / "policies/lab/pack.yaml").write_text(PACK)
    assert _main(["plan", str(spec)]) == 1
    assert "KC6055" in re.findall(r"error\[(KC\d+)\]", capsys.readouterr().err)


def test_new_rules_about_it_are_proven_by_their_cases(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "specs").mkdir()
    (tmp_path / "policies").mkdir()
    asked = ["--metric", "budgets.usd.left_share", "--op", ">=", "--threshold", "0.1"]
    assert _main(["policy", "new", "lab", "--on", "start", *asked]) == 0
    assert "phase: pre-step\n" in (tmp_path / "policies/lab/usd-left-share/rule.yaml").read_text()
    assert _main(["policy", "test", "lab"]) == 0
    assert re.search(r"1 rules, 4 cases, \d+ slips, 0 unnoticed", capsys.readouterr().out)


def locked(root: Path, spec: Path) -> Any:
    """The plan for the null backend, as it is written down."""
    home = Project(root)
    made, _ = make(compile_spec(spec, root), home, "null")
    assert made is not None
    home.lock("answers").parent.mkdir(parents=True, exist_ok=True)
    home.lock("answers").write_text(lock.dump(made), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan with such rules carried out by the null backend; nothing else is asked until the end."""
    root = tmp_path_factory.mktemp("begun")
    home = Project(root)
    spec = project(root, {**tries("<=", "9"), "left": LEFT})
    spec.write_text(spec.read_text().replace("gpu_hours: 0", "gpu_hours: 2"))
    made = locked(root, spec)
    ask = judge_of(made, home)

    def only_before(reports: Mapping[str, bytes], steps: Any = None) -> list[dict[str, Any]]:
        asked = {one for one in steps or () if one.startswith("start.")}
        return [{**asdict(one), "blocking": one.mode == "block"} for one in ask(reports, asked).outcomes]

    run, verdict = carried(made, root, only_before)
    assert run.outcome == "done"
    mine = {(one.rule, one.step): one.outcome for one in verdict.outcomes if one.phase == "pre-step"}
    steps = [step["id"] for step in made["steps"]]
    assert mine == {("lab/tries", "start.data"): "pass"} | {("lab/left", f"start.{one}"): "pass" for one in steps}
    return root


def test_an_audit_and_a_stranger_decide_the_same(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [one for one in audit(done, "answers").findings if one.severity != "note"] == []
    data = packing.bundle(done, "answers")
    found, alone = audit_bundle(data, Trust(as_of=NOW))[0], main.check(data, Trust(as_of=NOW))
    assert [one for one in found.findings if one.severity not in ("note", "unsigned")] == []
    assert (found.exit_code, alone.code, alone.findings) == (7, 7, ())
    made = lock.read(Project(done).lock("answers"))
    used = {json.loads(line)["data"]["step"]: json.loads(line)["data"] for line in lines_of(done)}
    for step, one in facts.starts(made, used).items():
        assert facts.dump(one) == (done / EVIDENCE / "reports" / f"{step}.json").read_bytes(), "one text on both sides"
    assert _main(["show", "rules", str(Project(done).lock("answers")), "tries"]) == 0
    assert "/data/attempt" in capsys.readouterr().out


def lines_of(root: Path) -> list[bytes]:
    return (root / EVIDENCE / "journal.jsonl").read_bytes().splitlines()


def richer(data: dict[str, Any]) -> None:
    data["budgets"]["gpu_hours"]["spent"]["value"] = 0.25
    data["budgets"]["gpu_hours"]["left"]["value"] -= 0.25
    share = data["budgets"]["gpu_hours"]["left"]["value"] / data["budgets"]["gpu_hours"]["limit"]["value"]
    data["budgets"]["gpu_hours"]["left_share"]["value"] = share


def bolder(data: dict[str, Any]) -> None:
    data["budgets"]["wall_s"]["left_share"]["value"] = 0.5


def other(data: dict[str, Any]) -> None:
    data["device"] = "cuda"


def later(data: dict[str, Any]) -> None:
    data["began"] = "2026-01-01T00:00:00Z"


def again(data: dict[str, Any]) -> None:
    data["attempt"]["value"] = 3


BOTH = ("step_committed", "step_claimed")


@pytest.mark.parametrize(("types", "lie"), [(BOTH[:1], later), (BOTH, richer), (BOTH, other)])
def test_a_forged_beginning_is_found_with_every_digest_made_again(
    done: Path, types: tuple[str, ...], lie: Callable[[dict[str, Any]], None]
) -> None:
    """Whoever forges the line that set aside for the step, too, has the sums and the lock against them."""
    files: Files = packing.files(done, "answers")

    def relied(text: bytes) -> bytes:
        line = json.loads(text)
        if line["type"] in types and line["data"]["step"] == "train-kd":
            lie(line["data"]["start"])
        return json.dumps(line).encode()

    for path in (JOURNAL, f"{EVIDENCE}/journal.jsonl"):
        files[path] = b"".join(relied(text) + b"\n" for text in files[path].splitlines())
    forged = pack(forge(files, "answers", lambda reports: lie(reports["start.train-kd"]["data"])))
    found, alone = audit_bundle(forged, Trust(as_of=NOW))[0], main.check(forged, Trust(as_of=NOW))
    place = f"{EVIDENCE}/reports/start.train-kd.json"
    assert {one.subject for one in found.findings if one.severity == "evidence"} == {place}
    assert {one.code for one in found.findings if one.severity == "evidence"} == {"KA22"}
    assert {subject for _, subject, _ in alone.findings} == {place}
    assert (found.exit_code, alone.code) == (3, 3)


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        (bolder, "of budget `wall_s` it says something else than the line that set aside for the step"),
        (again, "it is not what the line of the journal says that set aside for the step"),
        (None, "no line of the journal says that the step begins"),
    ],
)
def test_a_beginning_contradicts_the_line_that_set_aside_for_it(
    done: Path, lie: Callable[[dict[str, Any]], None] | None, words: str
) -> None:
    made = lock.read(Project(done).lock("answers"))
    lines, _ = records.state_journal(done)
    assert lines is not None
    used, _ = records.in_use(done / EVIDENCE / "journal.jsonl", "journal", lines)
    assert list(starts.wrong(made, used, lines, b"")) == []
    assert list(starts.wrong(made, used, None, b"")) == []
    if lie is None:
        lines = [line for line in lines if line.type != "step_claimed" or line.data["step"] != "train-kd"]
    else:
        # the parsed lines are shared by all tests of this module
        lines, used = copy.deepcopy((lines, used))
        for data in [line.data for line in lines if line.type in BOTH] + list(used.values()):
            if data["step"] == "train-kd":
                lie(data["start"])
    assert list(starts.wrong(made, used, lines, b"")) == [("train-kd", words)]


@pytest.mark.parametrize("gone", [False, True])
def test_a_report_that_is_changed_or_gone_is_found(done: Path, tmp_path: Path, gone: bool) -> None:
    root = tmp_path / "spoilt"
    shutil.copytree(done, root)
    path = root / EVIDENCE / "reports" / "start.data.json"
    if gone:
        path.unlink()
    else:
        path.write_text(path.read_text().replace('"device": "cpu"', '"device": "cuda"'))
    assert "KA22" in {one.code for one in audit(root, "answers").findings}


def test_a_paid_step_needs_money_and_a_switch_stops_all(tmp_path: Path) -> None:
    """The two rules of README, for a spec that pays nobody."""
    paid = LEFT.replace("wall_s", "usd").replace("kind: bound", "where: {step: kind, has: harvest}\nkind: bound")
    switch = tries("<=", "0")["tries"].replace("where: {step: name, has: data}\n", "")
    spec = project(tmp_path, {"left": paid, "tries": switch})
    made, found = make(compile_spec(spec, tmp_path), Project(tmp_path))
    assert made is not None, found
    asked = [one for one in made["obligations"] if one["pack"] == "lab@1"]
    assert [one["from"] for one in asked] == sorted(f"step:start.{step['id']}" for step in made["steps"])
    assert {one["rule"] for one in asked} == {"lab/tries"}


def test_the_plan_says_which_rules_ask_before_a_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = project(tmp_path, {**tries("<=", "9"), "left": LEFT})
    assert _main(["plan", str(spec)]) == 0
    told = capsys.readouterr().out
    assert "~ lab/tries decides right before it begins: data" in told
    (row,) = re.findall(r"~ lab/left decides right before it begins: (.*)", told)
    assert {"data", "tokenizer", "train-kd"} <= set(row.split(", "))
