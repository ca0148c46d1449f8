"""Locks of shipped specs → which steps a delivery speaks of."""

from __future__ import annotations

from typing import Any

import pytest

from kcompiler import lock as locks
from kcompiler.deliver import choose
from tests.flow.world import ROOT

LOCKS = sorted(path.parent.name for path in (ROOT / "generated").glob("*/plan.lock"))


def records(lock: dict[str, Any]) -> dict[str, Any]:
    """As if every step was committed."""
    return {
        step["id"]: {"gives": {port: {"digest": f"sha256:{step['id']}#{port}"} for port in step["gives"]}}
        for step in lock["steps"]
    }


@pytest.mark.parametrize("name", LOCKS)
def test_every_evaluation_of_the_package_is_spoken_of(name: str) -> None:
    """Whatever an evaluation gives beside its report: `gold` and `choice` keep a line of each row."""
    lock: dict[str, Any] = locks.read(ROOT / "generated" / name / "plan.lock")
    (convert,) = choose.conversions(lock)
    found = choose.chosen(lock, records(lock), convert)
    evaluations = {
        step["id"]
        for step in lock["steps"]
        if any(str(give.get("report")).startswith("eval.") for give in step["gives"].values())
    }
    assert evaluations
    assert evaluations <= found.steps


def step(name: str, kind: str, *takes: str, report: str = "") -> dict[str, Any]:
    give: dict[str, Any] = {"kind": kind, **({"report": report} if report else {})}
    return {"id": name, "takes": {str(at): one for at, one in enumerate(takes)}, "gives": {kind: give}}


#: one student as a package, in two GGUF files and as ONNX, and the teacher as a third file
PLAN = {
    "steps": [
        step("tokenizer", "tokenizer"),
        step("teacher", "checkpoint"),
        step("train", "checkpoint", "step:tokenizer#tokenizer"),
        step("export", "program", "step:tokenizer#tokenizer", "step:train#checkpoint"),
        step("convert", "package", "step:export#program"),
        step("verify", "report", "step:convert#package", report="coreml.parity"),
        step("onnx", "onnx", "step:export#program"),
        step("verify-onnx", "report", "step:onnx#onnx", report="onnx.parity"),
        step("gguf-q8", "gguf", "step:train#checkpoint"),
        step("ask-q8", "items", "step:gguf-q8#gguf"),
        step("parity", "report", "step:ask-q8#items", report="parity"),
        step("gguf-f16", "gguf", "step:train#checkpoint"),
        step("gguf-teacher", "gguf", "step:teacher#checkpoint"),
    ]
}


def outcome(step: str, report: str, **more: Any) -> dict[str, Any]:
    return {"step": step, "report": report, "mode": "block", "outcome": "pass", "pointer": "/data/x", **more}


def packed(*outcomes: dict[str, Any]) -> dict[str, str]:
    """Folder → why it is left out."""
    parts = choose.chosen(PLAN, records(PLAN), "convert")
    return {one.folder: one.lacks for one in choose.forms(PLAN, records(PLAN), {"outcomes": [*outcomes]}, parts)}


def test_what_blocking_rules_judged_by_its_data_is_packed_and_nothing_else() -> None:
    onnx, gguf = outcome("verify-onnx", "onnx.parity"), outcome("parity", "parity")
    said = "no blocking rule of this plan is about what it computes"
    assert packed(onnx, gguf) == {"onnx": "", "gguf/q8": "", "gguf/f16": said}
    nothing = {"onnx": said, "gguf/q8": said, "gguf/f16": said}
    assert packed() == nothing
    for wrong in (
        {"mode": "warn"},
        {"outcome": "waived"},
        {"outcome": "fail"},
        # who made a report is no word about the model
        {"pointer": "/environment"},
        {"report": "asked"},
        {"step": "verify"},
    ):
        assert packed({**onnx, **wrong}, {**gguf, **wrong}) == nothing, wrong
    assert packed(onnx, outcome("verify-onnx", "onnx.parity", outcome="inconclusive"), gguf)["onnx"] == said


def test_a_package_that_only_rules_about_every_report_looked_at_is_not_handed_over() -> None:
    report = {"data": {"variants": [{"variant": "quantized"}]}}
    seen = outcome("verify", "coreml.parity")
    assert choose.precisions(report, {"outcomes": [seen]}, "verify") == ["quantized"]
    with pytest.raises(choose.Undeliverable, match="no blocking rule"):
        choose.precisions(report, {"outcomes": [{**seen, "pointer": "/environment"}]}, "verify")
