"""A number that a rule compares with, far beyond what its own passing cases hold, is told: an expression's, too."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import pytest

from kcompiler import assets, policy
from kcompiler.judge import judge
from kcompiler.policy import distant, lint

CASES = assets.folder("policies") / "caws/tier-3/lm-likelihood"
HEAD = "id: gain\ntitle: What the teacher gives\non: eval.language_model\nremedy: ask why\n"


def found(tmp_path: Path, text: str) -> list[tuple[str, Fraction]]:
    """Key and number of each that is told of a rule with this text beside a shipped passing case."""
    folder = tmp_path / "lab/gain"
    folder.mkdir(parents=True)
    (folder.parent / "pack.yaml").write_text("name: lab\nversion: 1\ntitle: Rules of a lab\n")
    for name in ("pass", "fail", "missing"):
        shutil.copy(CASES / f"{name}.json", folder)
    (folder / "rule.yaml").write_text(HEAD + text)
    loaded = policy.load(["lab"], [tmp_path])
    assert list(loaded.problems) == []
    (rule,) = loaded.packs[0].rules
    told = [(one.key, one.limit) for one in distant.found(rule, judge)]
    assert len([one for one in lint._distant(rule, judge) if one.code == "KC6057"]) == len(told) * (
        "So far" not in text
    )
    return told


def asked(that: str) -> str:
    return f'kind: assert\nparams: {{that: "{that}"}}\n'


#: an end of an interval may be absent, which a rule asks first
HAS = "has(report.kd_gain.low) && has(report.teacher_gain.low) && "
FAR: dict[str, tuple[str, list[str]]] = {
    "no student loses so much": ("report.kd_gain.low > -100000.0", ["100000"]),
    "nor beside what is near": ("report.kd_gain.low > -0.05 && report.kd_gain.low > -100000.0", ["100000"]),
    "the other way round": ("(-100000.0 < report.kd_gain.low || report.kd_gain.low > 0.1)", ["100000"]),
    "computed of numbers": ("report.kd_gain.low > -1000.0 * 100.0", ["100000"]),
    "of a sum": ("report.kd_gain.low + report.teacher_gain.low > -100000.0", ["100000"]),
    "near": ("report.kd_gain.low > -0.05", []),
    "two data": ("report.kd_gain.low > report.teacher_gain.low - 1.0", []),
    "the reverse of one": ("!(report.kd_gain.low < -100000.0)", ["100000"]),
}


@pytest.mark.parametrize("claim", FAR)
def test_of_an_expression(tmp_path: Path, claim: str) -> None:
    that, limits = FAR[claim]
    assert found(tmp_path, asked(HAS + that)) == [("that", Fraction(one)) for one in limits]


def test_of_a_bound_unless_somebody_says_why(tmp_path: Path) -> None:
    bound = 'kind: bound\nparams: {metric: kd_gain, op: ">", threshold: "-100000", unit: nat/token, on: low}\n'
    assert found(tmp_path / "a", bound) == [("threshold", Fraction(100000))]
    assert found(tmp_path / "b", "# So far off: a placeholder of the study plan\n" + bound) != []
    assert found(tmp_path / "c", bound.replace("-100000", "-0.1")) == []
