"""The shipped packs decide over reports as the machine really writes them, and not over forged ones.

`reports/` holds the reports of a run of the eight-ball spec with thirty training steps; those of the other suites are
made here by the suites themselves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kcompiler import assets, policy
from kcompiler.judge import judge
from kcompiler.policy import evidence
from kcompiler.spec.verification import Tolerances
from runtime.contract.report import dump
from tests.unit.kcompiler.policy import plans
from tests.unit.kcompiler.policy.genuine import (
    carried,
    choices,
    functions,
    golds,
    needles,
    preferences,
    proportions,
    scenes,
    texts,
    tools,
)
from tests.unit.kcompiler.policy.kept import Late

REPORTS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in sorted((Path(__file__).parent / "reports").glob("*.json"))
}
#: as if the same run had made them: reports about different things are no evidence together
BOUND = {key: REPORTS["evaluate-answers"][key] for key in ("fingerprints", "subject")}
LIVE: dict[str, Callable[[], dict[str, Any]]] = {
    "evaluate-tool_use": tools,
    "evaluate-language_model": texts,
    "evaluate-choice": choices,
    "evaluate-gold": golds,
    "evaluate-needle": needles,
    "evaluate-preference": preferences,
    "evaluate-bfcl": functions,
    "evaluate-integration": carried,
    "evaluate-scenarios": scenes,
    # thirty steps of training do not make a student that passes
    "evaluate-answers": proportions,
}


def read(step: str) -> dict[str, Any]:
    return {**LIVE[step](), **BOUND} if step in LIVE else REPORTS[step]


EVERY: Mapping[str, dict[str, Any]] = Late({step: partial(read, step) for step in {**REPORTS, **LIVE}})
SUITES = ("answers", "bfcl", "choice", "gold", "integration", "needle", "preference", "scenarios", "tool_use")
SPEC = {
    "risk_tier": 3,
    "budgets": {"wall_s": 400.0, "cpu_s": 400.0},
    "teacher": {"source": "bootstrap", "store": None},
    "training": {"stages": [{"name": "kd"}]},
    "shapes": {"prefill": [64, 128, 256]},
    "quantization": {
        "islands": ["rms_norm"],
        "calibration": {"sources": {"answers": 48}},
        "activations": {"match": ["*.mlp.*"]},
    },
    "verification": {"ledger": True, "onnx": True, "tolerances": Tolerances().model_dump()},
    "evaluation": {
        "suites": [{"use": name} for name in (*SUITES, "language_model")],
        "baselines": ["ce_only", "random_init"],
    },
}
PACKS = policy.load(
    [
        "caws/core",
        "caws/tier-3",
        "quality/bfcl",
        "quality/gold",
        "quality/integration",
        "quality/needle",
        "quality/preference",
        "quality/scenarios",
        "quality/transfer",
    ],
    [assets.folder("policies")],
)


#: as their plans have them: how many loss terms each training has, and which rows calibration reads
SETTINGS: dict[str, dict[str, Any]] = {
    "teacher": {"steps": 30},
    "train-kd": {"losses": [{"term": name} for name in ("ce_teacher", "ce_truth", "kl")]},
    "train-ce_only-kd": {"losses": [{"term": "ce_truth"}]},
    "calibrate": plans.CALIBRATE,
    "verify": plans.VERIFY,
    "error-ledger": plans.LEDGER,
    "verify-onnx": plans.ONNX,
}
#: a window of five points is longer than thirty steps of training
UNDECIDED = ("caws/core/gradient-balance-toy", "train-kd", "inconclusive")


def kind_of(step: str) -> str:
    return f"eval.{step.removeprefix('evaluate-')}" if step in LIVE else str(REPORTS[step]["kind"])


def obligations() -> list[dict[str, Any]]:
    producers: dict[str, list[str]] = {}
    for step in EVERY:
        producers.setdefault(kind_of(step), []).append(step)
    made, problems = policy.obligations(PACKS, SPEC, producers, SETTINGS)
    assert problems == []
    return made


@pytest.mark.parametrize("step", sorted(EVERY))
def test_a_real_report_satisfies_its_schema(step: str) -> None:
    found = evidence.read(EVERY[step])
    assert found.problem == ""
    assert sorted(found.schemas or {}) == ["report", f"report.{EVERY[step]['kind']}"]
    assert EVERY[step]["kind"] == kind_of(step)


def test_every_rule_decides_over_real_reports() -> None:
    """No rule misses what it looks for, and every rule of both packs was asked."""
    verdict = judge(EVERY, obligations())
    wrong = [(one.rule, one.step, one.outcome) for one in verdict.outcomes if one.outcome != "pass"]
    assert wrong == [UNDECIDED]
    assert verdict.verdict == "PASS"
    asked = {rule.name for pack in PACKS.packs for rule in pack.rules}
    # this teacher was trained here, is neither rounded nor stored, no weight is rounded while it learns, no head says more than words, no row may be dropped, nothing is cut, moved to other ids or validated, and it is a
    # toy: the rules of other specs are silent
    silent = (
        "gradient-balance",
        "answers-complete",
        "answers-written",
        "answers-written-within",
        "errata-recorded",
        "import-examined",
        "import-checks",
        "parity-heads",
        "qat-as-asked",
        "qat-as-trained",
        "rounding-agreement",
        "rounding-divergence",
        "rows-fit",
        "signals-aligned",
        "signals-mass",
        "signals-recorded",
        "signals-repeat",
    )
    cut = ("cut-checks", "cut-exact", "cut-examined", "reduction-exact", "reduction-test", "reduction-train")
    validation = tuple(f"validation-{name}" for name in ("apart", "best", "fit", "made", "rows"))
    moved = tuple(f"migration-{name}" for name in ("accounted", "exact", "logits", "specials"))
    restricted = ("restriction-exact", "restriction-mass")
    others = {f"caws/core/{name}" for name in (*silent, *cut, *validation, *moved, *restricted)}
    assert {one.rule for one in verdict.outcomes} == asked - others
    assert verdict.unjudged == []


def test_no_rule_passes_on_a_forged_report() -> None:
    """The null backend marks its reports; marked, the very same facts let nothing through."""
    forged = {
        step: {**report, "environment": {**report["environment"], "forged": True}} for step, report in EVERY.items()
    }
    verdict = judge(forged, obligations())
    assert verdict.counts["pass"] == 0
    assert all(one.blocks for one in verdict.outcomes if one.mode == "block")
    assert [one.rule for one in verdict.outcomes if not one.blocks] == [UNDECIDED[0]]


@pytest.mark.parametrize("step", sorted(EVERY))
def test_a_report_that_is_missing_empty_or_not_a_number_passes_nothing(step: str) -> None:
    mine = [one for one in obligations() if one["from"] == f"step:{step}"]
    text = dump(EVERY[step])
    assert judge({step: text.encode()}, mine).verdict == "PASS"
    for given in (
        {},
        {step: b""},
        {step: b"{}"},
        {step: text.replace('"value": ', '"value": NaN, "was": ', 1).encode()},
    ):
        verdict = judge(given, mine)
        assert (verdict.counts["pass"], verdict.verdict) == (0, "NOTHING_EVALUATED")


@pytest.mark.parametrize("step", ["verify", "evaluate-answers", "evaluate-tool_use", "evaluate-language_model"])
@pytest.mark.parametrize("name", ["dataset", "tool_registry", "tokenizer", "prompt_wrapper", "model"])
def test_a_missing_fingerprint_blocks(step: str, name: str) -> None:
    marks = {key: value for key, value in EVERY[step]["fingerprints"].items() if key != name}
    mine = [one for one in obligations() if one["from"] == f"step:{step}"]
    verdict = judge({step: {**EVERY[step], "fingerprints": marks}}, mine)
    assert verdict.verdict != "PASS"
    assert [one.pointer for one in verdict.outcomes if one.blocks] == [f"/fingerprints/{name}"]
