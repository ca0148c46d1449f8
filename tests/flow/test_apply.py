"""`apply` of one spec: end to end, again without a change, after each kind of change, and with the null backend."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from kcompiler import lock
from kcompiler.judge import judge
from tests.flow.world import BLOCKED, LIGHT, NAME, QUALITY, ROOT, STEPS, Home, Result, text_of

#: what the training of the student takes no part in
BEFORE = ["data", "tokenizer", "teacher", "reach", "train-ce_only-kd"]
AFTER = ["train-kd", "probe", "export", "convert", "verify", "evaluate-answers"]


@cache
def schema(name: str) -> Draft202012Validator:
    """The validator of a published schema; schemas refer to each other by file name."""
    texts = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "schemas").glob("*.json")}
    known: Registry[Any] = Registry().with_resources(
        (file, DRAFT202012.create_resource(content)) for file, content in texts.items()
    )
    return Draft202012Validator(texts[f"{name}.schema.json"], registry=known)


def evidence_of(home: Home) -> dict[str, bytes]:
    """Every file below generated/, by name."""
    folder = home.root / "generated"
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def reports_of(home: Home) -> dict[str, bytes]:
    """Step → report, as the judge gets them."""
    found = {path.stem: path.read_bytes() for path in (home.evidence / "reports").iterdir()}
    return {**found, "apply": (home.evidence / "run.json").read_bytes()}


def failing(home: Home) -> set[str]:
    verdict = json.loads((home.evidence / "verdict.json").read_text(encoding="utf-8"))
    return {outcome["rule"] for outcome in verdict["outcomes"] if outcome["blocks"]}


class TestOnce:
    @pytest.mark.slow
    def test_every_step_runs_and_only_the_quality_gates_fail(self, applied: tuple[Home, Result]) -> None:
        home, result = applied
        result.ended(1, "fail")
        assert list(result.steps()) == STEPS
        assert set(result.steps().values()) == {"committed"}
        assert failing(home) == QUALITY
        assert BLOCKED in result.out
        assert result.last["next"] == f"kcompiler show verdict specs/{NAME}.yaml"

    def test_the_summary_shows_steps_metrics_and_gates(self, applied: tuple[Home, Result]) -> None:
        out = applied[1].out
        assert [line for line in out.splitlines() if line in ("steps", "metrics", "gates")] == [
            "steps",
            "metrics",
            "gates",
        ]
        assert "validity.student" in out
        assert "verdict  FAIL" in out

    def test_progress_is_plain_lines_off_a_terminal(self, applied: tuple[Home, Result]) -> None:
        for number, step in enumerate(STEPS, start=1):
            assert f"[{number:>2}/{len(STEPS)}] {step}: " in applied[1].err
        assert not {"\r", "\x1b"} & set(applied[1].text)

    def test_evidence_is_complete(self, applied: tuple[Home, Result]) -> None:
        home = applied[0]
        assert {path.name for path in home.evidence.iterdir()} == {
            "reports",
            "run.json",
            "journal.jsonl",
            "verdict.json",
        }
        assert set(home.records()) == set(STEPS)

    def test_every_report_satisfies_its_schemas(self, applied: tuple[Home, Result]) -> None:
        reports = reports_of(applied[0])
        assert len(reports) >= 10
        for text in reports.values():
            report = json.loads(text)
            schema("report").validate(report)
            schema(f"report.{report['kind']}").validate(report)

    def test_lock_verdict_and_contract_satisfy_their_schemas(self, applied: tuple[Home, Result]) -> None:
        home = applied[0]
        found = {"plan": home.lock, "verdict": home.evidence / "verdict.json"}
        for name, path in found.items():
            assert list(schema(name).iter_errors(json.loads(path.read_text(encoding="utf-8")))) == []
        for step, port in (("export", "program"), ("convert", "package")):
            contract = json.loads((home.stored(step, port) / "contract.json").read_text("utf-8"))
            assert list(schema("contract").iter_errors(contract)) == []

    def test_the_verdict_is_what_the_judge_says_of_the_reports(self, applied: tuple[Home, Result]) -> None:
        home = applied[0]
        plan = lock.read(home.lock)
        again = judge(reports_of(home), plan["obligations"], lock=lock.plan_digest(plan))
        assert (home.evidence / "verdict.json").read_text(encoding="utf-8") == again.dump()

    def test_nothing_that_is_written_names_this_machine(self, applied: tuple[Home, Result]) -> None:
        home = applied[0]
        for name, data in evidence_of(home).items():
            assert str(home.root).encode() not in data, name
            assert str(Path.home()).encode() + b"/" not in data, name


class TestAgain:
    def test_a_second_apply_runs_nothing_and_says_why_without_a_tensor_library(self, done: Home) -> None:
        before = evidence_of(done)
        result = done.apply(code=LIGHT, timeout=10).ended(1, "fail")
        assert set(result.steps()) == set(STEPS)
        assert set(result.steps().values()) == {"reused"}
        for step in STEPS:
            assert result.reason(step) == "same key, and every artifact is in the store"
        assert evidence_of(done) == before

    def test_a_comment_runs_nothing_and_changes_no_byte_of_the_lock(self, done: Home) -> None:
        before = evidence_of(done)
        text = done.spec.read_text(encoding="utf-8")
        text = text.replace("training:\n", "  # twelve are enough here\ntraining:   # of the student\n\n")
        assert text.count("#") == 2
        done.spec.write_text("# said in passing\n\n" + text, encoding="utf-8")
        result = done.apply(code=LIGHT).ended(1, "fail")
        assert set(result.steps().values()) == {"reused"}
        assert evidence_of(done) == before

    def test_the_order_of_keys_runs_nothing_and_changes_no_byte_of_the_lock(self, done: Home) -> None:
        def turned(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: turned(item) for key, item in reversed(value.items())}
            return [turned(item) for item in value] if isinstance(value, list) else value

        before, text = evidence_of(done), done.spec.read_text(encoding="utf-8")
        done.spec.write_text(text_of(turned(yaml.safe_load(text))), encoding="utf-8")
        assert done.spec.read_text(encoding="utf-8") != text
        result = done.apply(code=LIGHT).ended(1, "fail")
        assert set(result.steps().values()) == {"reused"}
        assert evidence_of(done) == before

    def test_a_gate_threshold_runs_no_step_and_changes_the_verdict(self, done: Home) -> None:
        # a pack of the project's own, beside caws/core: the shipped floors are not the project's to lower
        pack = done.root / "policies" / "own"
        shutil.copytree(ROOT / "policies" / "caws" / "tier-3" / "answers-valid", pack / "answers-valid")
        about = (ROOT / "policies" / "caws" / "tier-3" / "pack.yaml").read_text(encoding="utf-8")
        (pack / "pack.yaml").write_text(about.replace("name: caws/tier-3", "name: own"), encoding="utf-8")
        done.change(lambda data: data.update(policies=["caws/core", "own"]))
        assert set(done.apply(code=LIGHT).ended(1, "fail").steps().values()) == {"reused"}
        rule = pack / "answers-valid" / "rule.yaml"
        text = rule.read_text(encoding="utf-8")
        assert text.count('op: "=="') == text.count('threshold: "1"') == 1
        rule.write_text(text.replace('op: "=="', 'op: "<="').replace('threshold: "1"', 'threshold: "0.9"'), "utf-8")
        result = done.apply(code=LIGHT).ended(0, "")
        assert set(result.steps().values()) == {"reused"}
        assert "verdict  PASS" in result.out
        assert failing(done) == set()
        assert done.audit().ended(0, "").code == 0

    @pytest.mark.slow
    def test_a_loss_weight_runs_training_and_what_follows_and_nothing_before(self, done: Home) -> None:
        before = done.digests()

        def heavier(data: dict[str, Any]) -> None:
            assert data["training"]["stages"][0]["losses"][0]["weight"] == 0.8
            data["training"]["stages"][0]["losses"][0]["weight"] = 0.7

        done.change(heavier)
        planned = done.run("plan", f"specs/{NAME}.yaml", code=LIGHT).ended(0, "")
        assert "losses[0].weight 0.8 → 0.7" in planned.out
        result = done.apply().ended(1, "fail")
        assert {step for step, what in result.steps().items() if what == "reused"} == set(BEFORE)
        assert {step for step, what in result.steps().items() if what == "committed"} == set(AFTER)
        assert "losses.0.weight: 0.8 → 0.7" in result.reason("train-kd")
        assert "step:train-kd#checkpoint" in result.reason("probe")
        changed = {key.partition("#")[0] for key, digest in done.digests().items() if before[key] != digest}
        assert changed <= set(AFTER)
        assert "train-kd" in changed
        assert done.audit().ended(0, "").code == 0


class TestNull:
    def test_the_null_backend_runs_without_tensors_and_passes_no_gate(self, fresh: Home) -> None:
        result = fresh.apply("--backend", "null", code=LIGHT)
        assert result.code in (1, 3)
        assert "Traceback" not in result.text
        assert result.last["code"] == str(result.code)
        verdict = json.loads((fresh.evidence / "verdict.json").read_text(encoding="utf-8"))
        assert verdict["verdict"] != "PASS"
        assert not [outcome["rule"] for outcome in verdict["outcomes"] if outcome["outcome"] == "pass"]
        for text in reports_of(fresh).values():
            assert json.loads(text)["environment"]["forged"] is True

    def test_forged_artifacts_are_never_reused_for_real_ones(self, fresh: Home) -> None:
        fresh.apply("--backend", "null", code=LIGHT).ended(1, "fail")
        planned = fresh.run("plan", f"specs/{NAME}.yaml", "--format", "json", code=LIGHT).ended(0, "")
        assert {step["action"] for step in json.loads(planned.out)["steps"]} == {"run"}
