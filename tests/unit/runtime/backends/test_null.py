from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from runtime.machine.apply import apply, look
from tests.unit.runtime.machinery import approve, chain, lock, step


def numbers(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [one for item in value.values() for one in numbers(item)]
    if isinstance(value, list):
        return [one for item in value for one in numbers(item)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


def test_every_promised_artifact_is_forged_marked_and_without_a_number(root: Path) -> None:
    run = apply(chain(root, backend="null"), root=root, judge=approve)
    assert run.outcome == "done"
    store = look(root)[1]
    mark = json.loads((store.read(run.digests["join#program"]) / "FORGED.json").read_text())
    assert (mark["forged"], mark["kind"], mark["step"], mark["port"]) == (True, "program", "join", "program")
    assert mark["takes"] == {
        "checkpoint": run.digests["grow#checkpoint"], "dataset": run.digests["make#dataset"],
    }  # fmt: skip
    for report in run.reports.values():
        assert report["environment"]["forged"] is True
    assert all(numbers(run.reports[name]["data"]) == [] for name in ("make", "grow", "join", "join.second", "aside"))
    assert run.reports["grow"]["kind"] == "training"


def test_forged_artifacts_are_reproducible_and_follow_params_seed_and_inputs(root: Path) -> None:
    runs = {}
    cases: dict[str, dict[str, Any]] = {"a": {}, "b": {}, "c": {"rounds": 6}, "d": {"text": "other"}}
    for name, options in cases.items():
        (root / name).mkdir()
        content = chain(root / name, backend="null", **options)
        runs[name] = apply(content, root=root / name, judge=approve).digests["join#program"]
    assert runs["a"] == runs["b"]
    assert len(set(runs.values())) == 3


def test_a_real_step_that_takes_a_forged_artifact_does_not_launder_it(root: Path) -> None:
    content = lock(
        root,
        [
            step("make", "toy_make", params={"text": "x"}, backend="null"),
            step("count", "toy_count", takes={"dataset": "step:make#dataset"}),
            step("free", "toy_make", params={"text": "y"}, after=["make"]),
        ],
    )
    run = apply(content, root=root, judge=approve)
    assert run.reports["count"]["data"]["files"]["value"] == 1
    assert {key: report["environment"]["forged"] for key, report in run.reports.items()} == {
        "make": True, "count": True, "free": False, "apply": True,
    }  # fmt: skip
