"""A step that the journal has twice, made of the same: what it promises is compared, and only that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kcompiler.audit import repeated
from kcompiler.audit.journal import Line
from runtime.contract import placing
from runtime.digest import of_bytes

TOLERANCE = placing.Tolerance(absolute=0.0, relative=0.25, of=("terms.*.final",))


def stored(root: Path, final: float | None) -> str:
    """A report in the store; its digest (of the file: nothing here hashes folders)."""
    text = json.dumps({"data": {"terms": {"kl": {"final": {"value": final}}}}})
    digest = of_bytes(text.encode())
    folder = root / ".kcompiler/store/sha256" / digest[7:9] / digest[7:]
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(text)
    return digest


def record(report: str, weights: str, **changes: Any) -> dict[str, Any]:
    components = {"step": "train", "input.dataset": "d", "environment.kernels": "AuthenticAMD avx512"}
    data = {
        "step": "train", "action": "a", "kind": "train@1", "backend": "torch", "forged": False, "params": {},
        "components": components | changes.pop("components", {}), "wall_s": 1.0, "cpu_s": 1.0, "gpu_s": 0.0,
        "attempts": 1, "lost_attempts": 0,
        "gives": {
            "report": {"kind": "report", "digest": report, "bytes": 1},
            "checkpoint": {"kind": "checkpoint", "digest": weights, "bytes": 1},
        },
    }  # fmt: skip
    return data | changes


def found(root: Path, promise: str, *records: dict[str, Any]) -> list[str]:
    """Messages about the last record, which is in use; all of them stand in the journal."""
    step: dict[str, Any] = {"id": "train", "promise": promise}
    if promise == "statistical":
        step["tolerance"] = TOLERANCE.to_json()
    lines = [
        Line(number=i, text=b"", hash="", content={"type": "step_committed", "data": one})
        for i, one in enumerate(records)
    ]
    used = {"train": records[-1]}
    findings = list(repeated.promises(root, {"steps": [step]}, used, lines, "journal.jsonl"))
    assert {(one.code, one.severity) for one in findings} <= {("KA16", "disagreement")}
    return [one.message for one in findings]


def test_figures_within_the_tolerance_are_accepted_and_beyond_it_refused(tmp_path: Path) -> None:
    first, near, far = (stored(tmp_path, value) for value in (1.0, 1.25, 1.26))
    assert found(tmp_path, "statistical", record(first, "w1"), record(near, "w2")) == []
    (message,) = found(tmp_path, "statistical", record(first, "w1"), record(far, "w2"))
    assert message == (
        "step `train` (statistical) was not reproduced: terms.kl.final 1, then 1.26; 0.25 apart are allowed"
    )
    nothing = stored(tmp_path, None)
    assert len(found(tmp_path, "statistical", record(first, "w1"), record(nothing, "w2"))) == 1


def test_how_long_something_took_is_never_promised(tmp_path: Path) -> None:
    def timed(digest: str, kind: str) -> dict[str, Any]:
        made = record("r", "w")
        made["gives"]["seconds"] = {"kind": kind, "digest": digest, "bytes": 1}
        return made

    assert found(tmp_path, "bitwise", timed("one", "times"), timed("other", "times")) == []
    (message,) = found(tmp_path, "bitwise", timed("one", "items"), timed("other", "items"))
    assert message.endswith("other bytes on port `seconds`")


def test_a_statistical_promise_holds_on_another_machine_and_is_about_the_same_step_alone(tmp_path: Path) -> None:
    first, far = stored(tmp_path, 1.0), stored(tmp_path, 2.0)
    elsewhere = {"environment.kernels": "GenuineIntel avx2"}
    assert len(found(tmp_path, "statistical", record(first, "w", components=elsewhere), record(far, "w"))) == 1
    others: list[dict[str, Any]] = [
        {"components": {"input.dataset": "another"}},
        {"components": {"step": "teacher"}},
        {"forged": True},
    ]
    for other in others:
        assert found(tmp_path, "statistical", record(first, "w", **other), record(far, "w")) == []
    # a report that `state gc` took cannot be compared with
    assert found(tmp_path, "statistical", record("sha256:" + "0" * 64, "w"), record(far, "w")) == []


def test_the_same_bytes_are_promised_on_a_machine_of_the_same_words(tmp_path: Path) -> None:
    report = stored(tmp_path, 1.0)
    assert found(tmp_path, "bitwise", record(report, "w"), record(report, "w")) == []
    (message,) = found(tmp_path, "bitwise", record(report, "w1"), record(report, "w2"))
    assert message == "step `train` (bitwise) was not reproduced: other bytes on port `checkpoint`"
    elsewhere = record(report, "w1", components={"environment.kernels": "GenuineIntel avx2"})
    assert found(tmp_path, "bitwise", elsewhere, record(report, "w2")) == []
    assert found(tmp_path, "none", record(report, "w1"), record(report, "w2")) == []


@pytest.mark.parametrize("damage", [{"gives": {"report": "text"}}, {"components": {}, "attempts": "1"}])
def test_a_damaged_line_of_the_journal_is_passed_over(tmp_path: Path, damage: dict[str, Any]) -> None:
    """That it is damaged, or not a record, is found where the journal itself is read."""
    report = stored(tmp_path, 1.0)
    assert found(tmp_path, "bitwise", {**record(report, "w1"), **damage}, record(report, "w2")) == []
