"""`audit` and `gate` against damage and forgery: each is named, and none of it passes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.flow.world import BLOCKED, LIGHT, NAME, Home, Result, flip, kcompiler, make
from tests.longer import also

SPEC = f"specs/{NAME}.yaml"
STORE = ".kcompiler/store/sha256"


def audited(home: Home) -> Result:
    return home.run("audit", SPEC, code=LIGHT)


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a JSON file and keep the layout all our files have."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def test_a_sound_failure_is_sound(applied: tuple[Home, Result]) -> None:
    result = audited(applied[0]).ended(0, "")
    assert "FAIL" in result.out
    assert "audit       sound" in result.out


@pytest.mark.parametrize(
    ("step", "port", "file"),
    [
        ("train-kd", "checkpoint", "model.safetensors"),
        ("convert", "package", "quantized.mlpackage/Data/com.apple.CoreML/weights/weight.bin"),
        ("verify", "report", "report.json"),
        ("data", "dataset", "test.jsonl"),
    ],
)
def test_one_bit_of_a_stored_artifact_is_named_by_audit(done: Home, step: str, port: str, file: str) -> None:
    folder = done.stored(step, port)
    flip(folder / file)
    result = audited(done).ended(3, "evidence-broken")
    assert folder.relative_to(done.root).as_posix() in result.out
    assert f"artifact `{port}` of step `{step}` is not what was stored" in result.out


def test_one_bit_of_a_report_in_the_evidence_is_named_by_audit(done: Home) -> None:
    flip(done.evidence / "reports" / "verify.json")
    result = audited(done).ended(3, "evidence-broken")
    assert f"generated/{NAME}/evidence/reports/verify.json" in result.out


@pytest.mark.parametrize("where", ["state", "evidence"])
def test_one_bit_of_a_journal_is_named_by_audit(done: Home, where: str) -> None:
    path = (done.state if where == "state" else done.evidence) / "journal.jsonl"
    flip(path)
    result = audited(done).ended(3, "evidence-broken")
    assert f"{path.relative_to(done.root).as_posix()}:" in result.out


def test_one_bit_of_the_run_report_is_named_by_audit(done: Home) -> None:
    path = done.evidence / "run.json"
    flip(path, path.read_bytes().index(b'"value": ') + len('"value": '))
    assert f"generated/{NAME}/evidence/run.json" in audited(done).ended(3, "evidence-broken").out


def test_a_broken_journal_stops_apply_and_plan(done: Home) -> None:
    flip(done.state / "journal.jsonl")
    for verb in ("apply", "plan"):
        result = done.run(verb, SPEC, code=LIGHT).ended(3, "evidence-broken")
        assert "journal.jsonl" in result.err


def test_a_damaged_artifact_is_set_aside_and_made_again(done: Home) -> None:
    before = done.digests()
    flip(done.stored("tokenizer", "report") / "report.json")
    result = done.apply().ended(1, "fail")
    assert {step for step, what in result.steps().items() if what == "committed"} == {"tokenizer"}
    assert done.digests() == before
    assert list((done.state / "quarantine").iterdir())
    assert audited(done).code == 0


def test_a_verdict_that_was_edited_is_refused(done: Home) -> None:
    """FAIL turned into PASS everywhere, as somebody would who wants to ship."""

    def passing(verdict: dict[str, Any]) -> None:
        for outcome in verdict["outcomes"]:
            if outcome["rule"] == BLOCKED:
                outcome |= {"outcome": "pass", "blocks": False}
        verdict["counts"]["pass"] += verdict["counts"]["fail"]
        verdict["counts"]["fail"] = 0
        verdict["verdict"] = "PASS"

    rewrite(done.evidence / "verdict.json", passing)
    result = audited(done)
    assert result.ended(result.code, result.last["outcome"]).code in (1, 3)
    assert f"generated/{NAME}/evidence/verdict.json" in result.out
    assert "recorded PASS, recomputed FAIL" in result.out


@pytest.mark.parametrize(
    ("what", "file"),
    [also("verdict", "verdict.json"), ("artifacts", "journal.jsonl"), also("report", "reports/verify.json")],
)
def test_evidence_that_cannot_be_shown_is_named_and_the_advice_mends_it(done: Home, what: str, file: str) -> None:
    path = done.evidence / file
    whole = path.read_bytes()
    step = ["verify"] if what == "report" else []
    damages = [b"\xff\xfe\0"]
    if not step:
        damages += [whole[: len(whole) // 2], b"[" * 200_000, b"null\n", b"[]\n", b'{"outcomes": null}\n']
    for damage in damages:
        path.write_bytes(damage)
        shown = done.run("show", what, SPEC, *step, code=LIGHT).ended(3, "evidence-broken")
        assert f"evidence/{file} is damaged" in shown.err
        # a verdict that cannot be read is none; a report that was judged is missed
        status = done.run("status", SPEC, code=LIGHT)
        status.ended(3, "evidence-broken") if step else status.ended(0, "")
    done.apply().ended(1, "fail")
    done.run("show", what, SPEC, *step, code=LIGHT).ended(0, "")


def test_a_verdict_of_this_plan_without_its_outcomes_is_none(done: Home) -> None:
    rewrite(done.evidence / "verdict.json", lambda verdict: verdict.pop("outcomes"))
    assert "verdict" not in done.run("status", SPEC, code=LIGHT).ended(0, "").out.partition("next")[0]


def _report(home: Home) -> None:
    flip(home.evidence / "reports" / "verify.json")


def _no_report(home: Home) -> None:
    (home.evidence / "reports" / "evaluate-answers.json").unlink()


def _run(home: Home) -> None:
    flip(home.evidence / "run.json")


def _kinder(home: Home) -> None:
    rewrite(home.evidence / "verdict.json", lambda verdict: verdict.update(verdict="PASS"))


def _elsewhere(home: Home) -> None:
    """Without the state there is no journal to ask; the verdict itself names its reports."""
    shutil.rmtree(home.state)
    home.state.mkdir()
    _report(home)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_report, "evidence/reports/verify.json is not what it was when the verdict was given"),
        (_no_report, "evidence/reports/evaluate-answers.json is gone"),
        (_run, "evidence/run.json is not what it was"),
        (_kinder, "evidence/verdict.json is not what it was"),
        (_elsewhere, "evidence/reports/verify.json is not what it was"),
    ],
)
def test_status_shows_no_verdict_as_that_of_other_evidence(
    done: Home, damage: Callable[[Home], None], said: str
) -> None:
    damage(done)
    result = done.run("status", SPEC, code=LIGHT).ended(3, "evidence-broken")
    assert f"generated/{NAME}/{said}" in result.out
    assert ", of other evidence than lies here now" in result.out
    assert result.last["next"] == f"kcompiler audit {SPEC}"
    form = done.run("status", SPEC, "--format", "json", code=LIGHT).ended(3, "evidence-broken")
    (line,) = json.loads(form.out)["data"]["evidence"]
    assert said in line
    # what audit advises then mends it
    again = audited(done)
    assert again.code in (1, 3)
    assert again.last["next"] == f"kcompiler apply {SPEC}"


def test_status_of_sound_evidence_says_the_verdict_alone(applied: tuple[Home, Result]) -> None:
    result = applied[0].run("status", SPEC, code=LIGHT).ended(0, "")
    assert "other evidence" not in result.out


def test_a_verdict_that_is_gone_is_missed(done: Home) -> None:
    (done.evidence / "verdict.json").unlink()
    assert "verdict.json" in audited(done).ended(3, "evidence-broken").out


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("caws/core/parity-cosine", "rule `caws/core/parity-cosine` asks nothing of step `verify`"),
        (BLOCKED, f"rule `{BLOCKED}` asks nothing of step `evaluate-answers`"),
    ],
)
def test_a_lock_that_asks_for_less_is_refused(done: Home, rule: str, said: str) -> None:
    def looser(plan: dict[str, Any]) -> None:
        plan["obligations"] = [one for one in plan["obligations"] if one["rule"] != rule]

    rewrite(done.lock, looser)
    result = audited(done)
    assert result.ended(result.code, result.last["outcome"]).code in (1, 3)
    assert said in result.out


def test_a_lock_with_another_parameter_is_refused(done: Home) -> None:
    def other(plan: dict[str, Any]) -> None:
        next(step for step in plan["steps"] if step["id"] == "train-kd")["params"]["steps"] = 12_000

    rewrite(done.lock, other)
    result = audited(done)
    assert result.ended(result.code, result.last["outcome"]).code in (1, 3)
    assert "train-kd" in result.out


def gated(home: Home, *reports: Path | str, options: tuple[str, ...] = ()) -> Result:
    return home.run("gate", *map(str, reports), "--lock", f"generated/{NAME}/plan.lock", *options, code=LIGHT)


class TestGate:
    def test_a_good_report_passes(self, applied: tuple[Home, Result]) -> None:
        home = applied[0]
        files = home.evidence / "reports" / "verify.json", home.evidence / "run.json"
        result = gated(home, *files, options=("--only-given", "--format", "json"))
        found = {
            one["rule"]: one["outcome"] for one in json.loads(result.out)["data"]["outcomes"] if one["step"] == "verify"
        }
        assert set(found.values()) == {"pass"}

    def test_a_report_passes_nothing_without_the_run_that_it_belongs_to(self, applied: tuple[Home, Result]) -> None:
        home = applied[0]
        result = gated(home, home.evidence / "reports" / "verify.json", options=("--only-given",)).ended(
            3, "nothing_evaluated"
        )
        assert "only run.json says" in result.out

    def test_the_evidence_of_another_lock_passes_nothing(self, applied: tuple[Home, Result], tmp_path: Path) -> None:
        """Complete, genuine, and of a plan that asks for less."""
        home = applied[0]
        other = tmp_path / "plan.lock"
        shutil.copyfile(home.root / "generated" / NAME / "plan.lock", other)
        rewrite(other, lambda lock: lock["obligations"].pop())
        files = [str(path) for path in [*(home.evidence / "reports").iterdir(), home.evidence / "run.json"]]
        result = home.run("gate", *files, "--lock", str(other), "--format", "json", code=LIGHT).ended(
            3, "nothing_evaluated"
        )
        assert json.loads(result.out)["data"]["counts"]["pass"] == 0

    def test_all_reports_give_the_verdict_of_apply(self, applied: tuple[Home, Result]) -> None:
        home = applied[0]
        reports = sorted((home.evidence / "reports").iterdir())
        result = gated(home, *reports, home.evidence / "run.json", options=("--format", "json")).ended(1, "fail")
        recorded = json.loads((home.evidence / "verdict.json").read_text(encoding="utf-8"))
        assert json.loads(result.out)["data"]["outcomes"] == recorded["outcomes"]

    def test_a_report_that_is_left_out_blocks(self, applied: tuple[Home, Result]) -> None:
        home = applied[0]
        result = gated(home, home.evidence / "reports" / "verify.json")
        assert result.code in (1, 3)
        assert "step `probe` has given no report" in result.out

    @pytest.mark.parametrize(
        "damage",
        [
            lambda _: "{}",
            lambda _: "",
            lambda _: "[]",
            lambda _: "not json",
            lambda text: text[: len(text) // 2],
            lambda text: text.replace('"value": ', '"value": NaN, "was": ', 1),
            lambda text: text.replace('"kind": "coreml.parity"', '"kind": "coreml.parity", "kind": "coreml.parity"'),
        ],
        ids=["empty object", "empty file", "list", "no JSON", "half", "NaN", "duplicate key"],
    )
    def test_what_is_no_report_passes_nothing(
        self, applied: tuple[Home, Result], tmp_path: Path, damage: Callable[[str], str]
    ) -> None:
        home, path = applied[0], tmp_path / "verify.json"
        text = (home.evidence / "reports" / "verify.json").read_text(encoding="utf-8")
        path.write_text(damage(text), encoding="utf-8")
        assert path.read_text(encoding="utf-8") != text
        self.blocks(gated(home, path, options=("--only-given", "--format", "json")))

    @pytest.mark.parametrize("name", ["dataset", "tokenizer", "prompt_wrapper", "model", "tool_registry"])
    def test_a_missing_fingerprint_passes_no_rule_about_it(
        self, applied: tuple[Home, Result], tmp_path: Path, name: str
    ) -> None:
        home, path = applied[0], tmp_path / "verify.json"
        shutil.copyfile(home.evidence / "reports" / "verify.json", path)
        rewrite(path, lambda report: report["fingerprints"].pop(name))
        result = gated(home, path, options=("--only-given", "--format", "json"))
        assert result.code in (1, 3)
        found = {one["rule"]: one["outcome"] for one in json.loads(result.out)["data"]["outcomes"]}
        assert found["caws/core/fingerprints-parity"] != "pass"

    def test_a_forged_report_passes_nothing(self, applied: tuple[Home, Result], tmp_path: Path) -> None:
        forger = make(tmp_path / "forger")
        forger.apply("--backend", "null", code=LIGHT).ended(1, "fail")
        forged = sorted((forger.evidence / "reports").iterdir())
        assert len(forged) >= 1
        for report in forged:
            self.blocks(gated(applied[0], report, options=("--only-given", "--format", "json")))

    def test_a_report_file_that_is_not_there_is_said_so(self, applied: tuple[Home, Result]) -> None:
        result = gated(applied[0], "nowhere.json").ended(2, "unreadable")
        assert "nowhere.json" in result.err

    def blocks(self, result: Result) -> None:
        assert result.code in (1, 3), result.text
        verdict = json.loads(result.out)["data"]
        assert verdict["outcomes"]
        assert not [one["rule"] for one in verdict["outcomes"] if one["outcome"] == "pass"]
        assert result.last["code"] == str(result.code)


@pytest.mark.parametrize("target", [f"generated/{NAME}", f"generated/{NAME}/plan.lock", SPEC])
def test_evidence_that_was_unpacked_without_git_and_state_is_audited(done: Home, tmp_path: Path, target: str) -> None:
    """What somebody sends an auditor: the project's files and generated/, nothing else."""
    sent = tmp_path / "sent"
    ignored = shutil.ignore_patterns(".git", ".kcompiler", "__pycache__")
    shutil.copytree(done.root, sent, ignore=ignored)
    result = Home(sent).run("audit", target, code=LIGHT).ended(0, "")
    assert "audit       sound" in result.out
    assert "no store here" in result.out
    # from another folder, too: the lock says where its project is
    shutil.copytree(sent, tmp_path / "elsewhere" / "deep")
    kcompiler("audit", f"deep/{target}", cwd=tmp_path / "elsewhere", code=LIGHT).ended(0, "")
