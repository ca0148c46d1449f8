"""A name in `where` or `when` that nothing has is told at its place: misspelt it would switch the rule off."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from kcompiler.diagnostic import Diagnostic
from kcompiler.front import compile_spec
from kcompiler.plan import make
from kcompiler.project import Project
from runtime.contract import part, splits
from runtime.contract.questioned import PORT_OF_RUNNER, Runner
from tests.unit.kcompiler.policy.test_phases import project

ANSWERS = """\
id: ID
title: The student answers well
on: eval.answers
WHICH
kind: bound
params: {metric: validity.student, op: ">=", threshold: "0.5", unit: ratio}
remedy: train longer
"""
START = """\
id: ID
title: The first attempt succeeds
on: start
WHICH
phase: pre-step
kind: bound
params: {metric: attempt, op: "<=", threshold: "2", unit: count}
remedy: look why
"""
#: rule, what it chooses by, code and severity, what the message says, and its advice
WRONG = [
    (ANSWERS, 'where: {step: "runners[*]", has: studnt}', "KC6026 error", "can never be `studnt`", "`student`"),
    (ANSWERS, "where: {step: split, has: tests}", "KC6026 error", "can never be `tests`", "`test`"),
    (START, 'where: {step: "params.runners[*]", has: studnt}', "KC6026 error", "can never be `studnt`", "`student`"),
    (START, "where: {step: params.strategy, has: multifunctoin}", "KC6026 error", "can never be `multifunctoin`",
     "`multifunction`"),
    (START, "where: {step: params.init, has: wrds}", "KC6027 error", "no step of this plan has `wrds`", "by `when`"),
    (START, "mode: warn\nwhere: {step: params.init, has: wrds}", "KC6027 warning", "has `wrds`", "by `when`"),
    (START, 'where: {step: "params.losses[*].params.temperature", has: hot}', "KC6027 error", "has `hot`", "by `when`"),
    (START, "when: {spec: hardware.profile, has: m1-max-64g}", "KC6015 error", "can never be `m1-max-64g`",
     "`m1-max-64gb`"),
    (START, "when: {spec: metadata.name, has: answer}", "KC6027 warning", "this spec has `answers`", "`answers`"),
    (START, "when: [{spec: metadata.name, has: answer}, {spec: risk_tier, has: 9}]", "KC6015 error", "never be `9`", ""),
]  # fmt: skip
#: what another spec may have, or says that it is for one
RIGHT = [
    (ANSWERS, 'where: {step: "runners[*]", has: ce_only}'),
    (ANSWERS, "where: {step: split, has: train}"),
    (START, "where: {step: params.device, has: cuda}"),
    (START, "where: {step: params.teacher_device, has: 'cuda:1'}"),
    (START, 'where: {step: "params.losses[*].params.temperature", has: 3}'),
    (START, "where: {step: params.steps, has: 77777}"),
    (START, "when: {spec: metadata.name, has: others}\nwhere: {step: params.init, has: wrds}"),
    (START, "when: {spec: hardware.profile, has: m3-ultra-512gb}"),
    (START, 'when: {spec: "training.stages[*].name", has: kd2}'),
    (START, "when: {spec: metadata.name, has: [answers, answer]}"),
]


def problems(folder: Path, rules: dict[str, str]) -> dict[str, list[Diagnostic]]:
    """What a plan finds wrong with each."""
    spec = project(folder, rules)
    _, found = make(compile_spec(spec, folder), Project(folder))
    of: dict[str, list[Diagnostic]] = {name: [] for name in rules}
    for one in found:
        if one.file.startswith("policies/lab/"):
            of[one.file.split("/")[2]].append(one)
    return of


def written(which: list[tuple[str, str]]) -> dict[str, str]:
    return {f"r{at}": text.replace("ID", f"r{at}").replace("WHICH", how) for at, (text, how) in enumerate(which)}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[Diagnostic]:
    found = problems(tmp_path_factory.mktemp("lab"), written([(text, which) for text, which, *_ in WRONG]))
    assert [len(one) for one in found.values()] == [1] * len(WRONG)
    return [one for (one,) in found.values()]


@pytest.mark.parametrize("at", range(len(WRONG)))
def test_a_name_that_nothing_has_is_told_at_its_place(told: list[Diagnostic], at: int) -> None:
    _, which, code, said, advice = WRONG[at]
    one = told[at]
    assert f"{one.code} {one.severity}" == code
    assert said in one.summary
    assert advice in one.help
    assert one.line == 4 + which.count("\n")
    assert one.pointer.startswith(("/where/has", "/when"))


def test_what_another_spec_may_have_is_no_mistake_and_the_advice_mends_it(
    tmp_path: Path, told: list[Diagnostic]
) -> None:
    mended = []
    for (text, which, _, _, _), one in zip(WRONG, told, strict=True):
        if meant := re.findall(r"did you mean `([^`]+)`", one.help):
            wrong = re.findall(r"has: ([^}\]]+)\}", which)[0]
            mended.append((text, which.replace(wrong, meant[0])))
    assert len(mended) > 5
    rules = written([*RIGHT, *(one for one in mended if "risk_tier" not in one[1])])
    assert {name: [one.summary for one in found] for name, found in problems(tmp_path, rules).items() if found} == {}


def test_names_are_listed_once() -> None:
    assert set(get_args(part.Split)) == set(splits.SPLITS)
    assert set(get_args(Runner)) == set(PORT_OF_RUNNER)
