"""Forgeries by somebody who knows the tools: consistent with themselves, and yet not with what was committed."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kcompiler import assets
from kcompiler.audit import evidence as audited
from runtime import catalog
from runtime.machine import evidence
from tests.unit.kcompiler.audit.conftest import Bundle


def test_a_report_made_genuine_and_judged_again(bundle: Bundle) -> None:
    """T13: the forger unmarks a forged report and lets the judge write a fresh verdict over it."""
    path = bundle.evidence / "reports" / "export.json"
    bundle.edit(path, lambda content: content["environment"].update(forged=False, backend="torch"))
    bundle.judge_again()
    found = bundle.audit()
    # the report on the run tells the truth still, and the two do not go together
    assert [one.code for one in found.findings] == ["KA22", "KA27", "KA32"]
    assert found.exit_code == 3


def reseal(line: dict[str, Any]) -> bytes:
    """A journal line with the right hash for its new content."""
    body = json.dumps(
        {key: value for key, value in line.items() if key != "hash"}, sort_keys=True, separators=(",", ":")
    )
    seal = hashlib.sha256(b"kc.journal.v1\0" + body.encode()).hexdigest()
    return body[:-1].encode() + f',"hash":"sha256:{seal}"}}\n'.encode()


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the record of step `export` in the committed lines and seal the line again."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if line["data"]["step"] == "export":
            change(line["data"])
    path.write_bytes(b"".join(reseal(line) for line in lines))


def test_a_committed_line_sealed_again_is_not_in_the_journal(bundle: Bundle) -> None:
    rewrite(bundle.evidence / "journal.jsonl", lambda record: record.update(forged=False))
    found = bundle.audit()
    assert "KA12" in {one.code for one in found.findings}
    assert found.exit_code == 3


RECORD_EDITS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another parameter": (lambda record: record["params"].update(decode_steps=1), "another params"),
    "another backend": (lambda record: record.update(backend="torch"), "another backend"),
    "another kind": (lambda record: record.update(kind="export@9"), "another kind"),
    "another key": (lambda record: record.update(action="sha256:" + "0" * 64), "not that of its components"),
    "another seed": (lambda record: record["components"].update(seed="7"), "not that of its components"),
    "another input": (
        lambda record: record["components"].update({"input.checkpoint": "sha256:" + "0" * 64}),
        "another `checkpoint`",
    ),
    "an output left out": (lambda record: record["gives"].pop("goldens"), "another ports"),
}


@pytest.mark.parametrize("what", sorted(RECORD_EDITS))
def test_a_line_about_something_else_is_noticed_without_the_journal(bundle: Bundle, what: str) -> None:
    """In a clone there is no journal to compare with: the line is compared with the lock and with itself."""
    change, words = RECORD_EDITS[what]
    shutil.rmtree(bundle.state)
    rewrite(bundle.evidence / "journal.jsonl", change)
    found = bundle.audit()
    assert any(one.code == "KA14" and words in one.message for one in found.findings), found.findings
    assert found.exit_code in (1, 3)


def test_a_line_of_another_step_is_noticed(bundle: Bundle) -> None:
    rewrite(bundle.evidence / "journal.jsonl", lambda record: record.update(step="exports"))
    shutil.rmtree(bundle.state)
    messages = [one.message for one in bundle.audit().findings if one.code == "KA13"]
    assert sorted(messages) == [
        "step `export` of the lock has no committed line",
        "step `exports` was committed, and the lock has no such step",
    ]


@pytest.mark.parametrize(
    ("pointer", "change"),
    [
        ("/data/wall", lambda content: content["data"]["wall"].update(value=0.001)),
        ("/data/steps/data/wall", lambda content: content["data"]["steps"]["data"]["wall"].update(value=0.001)),
        ("/data/bytes", lambda content: content["data"]["bytes"].update(value=1)),
        ("/data/lost_attempts", lambda content: content["data"]["lost_attempts"].update(value=1)),
        ("/data/training_tokens", lambda content: content["data"]["training_tokens"].update(value=1)),
        ("/data/teacher_tokens", lambda content: content["data"]["teacher_tokens"].update(value=1)),
        ("/data/resumes", lambda content: content["data"]["resumes"].update(value=1)),
        ("/data/repeated", lambda content: content["data"]["repeated"].update(value=1)),
        ("/data/lost", lambda content: content["data"]["lost"].update(value=1)),
        ("/data/estimated", lambda content: content["data"]["estimated"].update(value=1)),
        ("/data/estimate_error", lambda content: content["data"]["estimate_error"].update(value=0)),
        ("/data/steps/data/resumes", lambda content: content["data"]["steps"]["data"].update(resumes=None)),
        ("/data/steps/data/resumes", lambda content: content["data"]["steps"]["data"].update(resumes=[{}])),
        ("/data/steps/data/estimated", lambda content: content["data"]["steps"]["data"]["estimated"].update(value=1)),
        (
            "/data/steps/data/estimate_error",
            lambda content: content["data"]["steps"]["data"]["estimate_error"].update(value=0),
        ),
        ("/data/memory_error", lambda content: content["data"]["memory_error"].update(value=0)),
        ("/data/memory_error", lambda content: content["data"].pop("memory_error") and None),
        ("/data/done", lambda content: content["data"]["done"].update(n=1, k=1)),
        ("/data/steps", lambda content: content["data"]["steps"].pop("data")),
        ("/subject", lambda content: content["subject"].clear()),
        ("/environment/forged", lambda content: content["environment"].update(forged=False)),
        ("/environment/forged", lambda content: content.update(environment=None)),
    ],
)
def test_the_report_on_the_run_cannot_be_improved(
    bundle: Bundle, pointer: str, change: Callable[[dict[str, Any]], None]
) -> None:
    """It follows from the committed lines; judged again, it still does not."""
    bundle.edit(bundle.evidence / "run.json", change)
    bundle.judge_again()
    found = bundle.audit()
    assert f"generated/eight-ball/evidence/run.json#{pointer}" in {one.subject for one in found.findings}
    assert found.exit_code == 3


HELD = {"before": 80_000_000, "host": 400_000_000, "device": None, "at": "host", "estimated": 320_000_000}


@pytest.mark.parametrize(
    ("held", "error"),
    [
        (HELD, 0.2),
        ({**HELD, "before": None}, None),
        ({**HELD, "before": -1}, None),
        ({**HELD, "host": 0}, None),
        ({**HELD, "estimated": 0}, None),
        ({**HELD, "at": "device"}, None),
        ({**HELD, "device": 32_000_000, "at": "device", "estimated": 8_000_000}, 0.25),
        ("much", None),
    ],
)
def test_memory_in_the_report_on_the_run_follows_from_the_lines(bundle: Bundle, held: Any, error: float | None) -> None:
    """What the machine writes of a record is what the auditor computes from it; and every other number is noticed."""
    plan, records = json.loads(bundle.lock.read_text()), bundle.records()
    for step in plan["estimates"]:
        records[step]["memory"] = held
    machine = {step: {**one, "memory": held if isinstance(held, dict) else None} for step, one in records.items()}
    report = evidence.run_report(plan, machine)
    assert list(audited.wrong(report, plan, records)) == []
    assert report["data"]["memory_error"]["value"] == error
    first = next(iter(plan["estimates"]))
    for name in ("before", "host", "device", "estimated", "error"):
        changed = copy.deepcopy(report)
        changed["data"]["steps"][first]["memory"][name]["value"] = 319_999_999
        assert list(audited.wrong(changed, plan, records)) == [f"/data/steps/{first}/memory/{name}"]
    changed = copy.deepcopy(report)
    changed["data"]["memory_error"]["value"] = 0.1
    assert list(audited.wrong(changed, plan, records)) == ["/data/memory_error"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"data": 1}', '{"data": {"steps": 1}}', '{"x": NaN}'])
def test_a_report_on_the_run_that_is_none_is_noticed(bundle: Bundle, text: str) -> None:
    (bundle.evidence / "run.json").write_text(text)
    assert "KA24" in bundle.codes()
    assert bundle.audit().exit_code == 3


LOCK_EDITS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "an obligation dropped": (lambda lock: lock["obligations"].pop(0), "KA03"),
    "a threshold lowered": (lambda lock: threshold_of(lock).update(threshold="0.1"), "KA03"),
    "a mode softened": (lambda lock: lock["obligations"][0].update(mode="warn"), "KA03"),
    "a rule made up": (lambda lock: lock["obligations"][0].update(rule="caws/core/kind"), "KA03"),
    "another producer": (lambda lock: lock["obligations"][0].update({"from": "step:data"}), "KA03"),
    "a conditional obligation dropped": (lambda lock: lock["obligations"].remove(conditional_of(lock)), "KA03"),
    "an expectation shortened": (lambda lock: shapes_of(lock)["expect"].pop(), "KA03"),
    "an expectation forgotten": (lambda lock: expectation_of(lock).update(expect=None), "KA03"),
    "a pack's digest": (lambda lock: lock["policies"][0].update(digest="sha256:" + "0" * 64), "KA02"),
    "a schema's digest": (lambda lock: lock["schemas"][0].update(digest="sha256:" + "0" * 64), "KA02"),
    "the spec's meaning": (lambda lock: lock["sources"][0].update(meaning="sha256:" + "0" * 64), "KA02"),
    "an input that is not there": (lambda lock: lock["inputs"].append(INPUT), "KA02"),
}
INPUT = {
    "name": "x",
    "kind": "file",
    "path": "specs/none.jsonl",
    "digest": "sha256:" + "0" * 64,
    "bytes": 1,
    "license": "MIT",
}


def threshold_of(lock: dict[str, Any]) -> dict[str, Any]:
    params: dict[str, Any] = next(one["params"] for one in lock["obligations"] if one["params"].get("threshold"))
    return params


def conditional_of(lock: dict[str, Any]) -> dict[str, Any]:
    """One of a rule that applies only because of what the spec says."""
    made: dict[str, Any] = next(one for one in lock["obligations"] if one["rule"] == "caws/tier-3/answers-valid")
    return made


def shapes_of(lock: dict[str, Any]) -> dict[str, Any]:
    """The obligation that lists every shape."""
    rule = "caws/core/parity-every-shape"
    made: dict[str, Any] = next(one for one in lock["obligations"] if one["rule"] == rule)
    return made


def expectation_of(lock: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = next(one for one in lock["obligations"] if one["expect"] is not None)
    return made


@pytest.mark.parametrize("what", sorted(LOCK_EDITS))
def test_a_lock_made_lenient_is_noticed(bundle: Bundle, what: str) -> None:
    """Even when the verdict was judged again by the lenient lock."""
    change, code = LOCK_EDITS[what]
    bundle.edit(bundle.lock, change)
    bundle.judge_again()
    found = bundle.audit()
    codes = {one.code for one in found.findings}
    assert code in codes
    assert "KA13" in codes, "no run in the journal carried out this lock"
    assert found.exit_code == 1


def test_a_spec_that_does_not_compile_here_is_a_note(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """An auditor without a plug-in of the spec can still recompute everything else."""
    names = catalog.names
    monkeypatch.setattr(catalog, "names", lambda room: [name for name in names(room) if name != "answers"])
    (found,) = bundle.audit().findings
    assert (found.code, found.severity, found.subject) == ("KA90", "note", "specs/eight-ball.yaml")


@pytest.mark.parametrize(
    "change",
    [
        lambda lock: lock.pop("policies"),
        lambda lock: lock.update(note="hello"),
        lambda lock: lock["steps"][0].update(seed=1337),
        lambda lock: lock.update(obligations=[]),
        lambda lock: lock["lock"].update(format="9"),
    ],
)
def test_a_lock_outside_its_schema_is_broken(bundle: Bundle, change: Callable[[dict[str, Any]], None]) -> None:
    bundle.edit(bundle.lock, change)
    assert bundle.codes() == ["KA01"]
    assert bundle.audit().exit_code == 3


@pytest.mark.parametrize("text", ["", "x", "[]", '{"lock": {}}'])
def test_a_lock_that_cannot_be_read_is_broken(bundle: Bundle, text: str) -> None:
    bundle.lock.write_text(text)
    assert bundle.codes() == ["KA01"]


def test_an_edited_spec_disagrees_with_its_lock(bundle: Bundle) -> None:
    spec = bundle.root / "specs" / "eight-ball.yaml"
    spec.write_text(spec.read_text().replace("risk_tier: 3", "risk_tier: 2"))
    assert [(one.code, one.subject) for one in bundle.audit().findings] == [("KA02", "specs/eight-ball.yaml")]
    assert bundle.audit().exit_code == 1


def test_a_comment_in_the_spec_changes_nothing(bundle: Bundle) -> None:
    spec = bundle.root / "specs" / "eight-ball.yaml"
    spec.write_text("# a thought\n" + spec.read_text())
    assert bundle.audit().findings == []


def test_a_weaker_pack_of_the_project_is_noticed(bundle: Bundle) -> None:
    """A project may have its own packs; one that was not there when the plan was made disagrees with the lock."""
    own = bundle.root / "policies" / "caws" / "core"
    shutil.copytree(assets.folder("policies") / "caws" / "core", own)
    rule = own / "parity-cosine-fp16" / "rule.yaml"
    rule.write_text(rule.read_text().replace("0.9999", "0.1"))
    assert bundle.codes() == ["KA02", "KA03"]
