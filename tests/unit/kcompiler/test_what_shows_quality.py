"""What KC6018 and KC6019 advise is followed, and the spec is planned; what they speak of is what decides."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kcompiler import plan
from kcompiler.front import compile_spec
from kcompiler.project import Project

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "plan"
ORIGINAL = "- {use: answers}\n    - {use: language_model}"
TEXT_ALONE = "- {use: answers}\n    - {use: same_text}"
METRIC = 'metric: of_teacher, op: ">=", threshold: "0.5", unit: "1"'
USE = "- {use: choice, choices: [A, B]}"


def codes(home: Path, case: str, *changes: tuple[str, str], rule: tuple[str, str] | None = None) -> set[str]:
    """Codes of everything said about a golden case with these texts replaced in its spec, and in its rule."""
    (source,) = GOLDEN.glob(f"{case}-*")
    shutil.copytree(source, home / case)
    files = [(home / case / "spec.yaml", changes)]
    if rule is not None:
        files.append((next((home / case).rglob("rule.yaml")), (rule,)))
    for path, pairs in files:
        text = path.read_text()
        for before, after in pairs:
            assert before in text
            text = text.replace(before, after)
        path.write_text(text)
    front = compile_spec(home / case / "spec.yaml", home / case)
    assert front.diagnostics == []
    return {item.code for item in plan.make(front, Project(home / case))[1]}


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (("risk_tier: 2", "risk_tier: 2"), {"KC6018"}),
        (("risk_tier: 2", "risk_tier: 1"), {"KC6018"}),
        (("risk_tier: 2", "risk_tier: 3"), set()),
        (("- {use: answers}", "- {use: answers}\n  baselines: [ce_only]"), set()),
    ],
)
def test_what_ships_is_compared_with_no_teacher(tmp_path: Path, change: tuple[str, str], wanted: set[str]) -> None:
    assert codes(tmp_path, "KC6018", change) == wanted


@pytest.mark.parametrize(
    ("change", "rule", "wanted"),
    [
        (("risk_tier: 2", "risk_tier: 2"), None, {"KC4348"}),
        (("risk_tier: 2", "risk_tier: 1"), None, {"KC4348"}),
        (("risk_tier: 2", "risk_tier: 3"), None, set()),
        # the page's own advice, and a rule that reads the comparison but does not block
        (("policies: [lab]", "policies: [lab, quality/original]"), ("- {use: answers}", ORIGINAL), set()),
        (("policies: [lab]", "policies: [lab, quality/original]"), ("- {use: answers}", TEXT_ALONE), {"KC4348"}),
    ],
)
def test_what_nothing_was_done_to_is_compared_with_the_original(
    tmp_path: Path, change: tuple[str, str], rule: tuple[str, str] | None, wanted: set[str]
) -> None:
    assert codes(tmp_path, "KC4348", change, *([rule] if rule else [])) == wanted


@pytest.mark.parametrize(
    ("change", "rule", "wanted"),
    [
        ((USE, USE), None, {"KC6019"}),
        ((USE, "- {use: choice, choices: [A, B], teacher: {correct: 60, n: 80}}"), None, set()),
        ((USE, USE), ("kind: bound", "kind: bound\nmode: warn"), set()),
        ((USE, USE), ("metric: of_teacher", "metric: corrected.student"), set()),
        ((USE, USE), (METRIC, METRIC.replace("of_teacher", "accuracy.teacher").replace('"1"', "ratio")), {"KC6019"}),
        # a pinned accuracy says nothing of single rows
        ((USE, "- {use: choice, choices: [A, B], teacher: {correct: 60, n: 80}}"),
         (METRIC, METRIC.replace("of_teacher", "teacher_gain").replace('"1"', "item/item")), {"KC6019"}),
    ],
)  # fmt: skip
def test_a_rule_reads_what_the_teacher_can_give(
    tmp_path: Path, change: tuple[str, str], rule: tuple[str, str] | None, wanted: set[str]
) -> None:
    assert codes(tmp_path, "KC6019", change, rule=rule) == wanted
