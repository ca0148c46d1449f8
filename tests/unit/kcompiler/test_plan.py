"""Spec → the content of the lock: pinned, complete, the same everywhere; and what stops it from being made."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from kcompiler import lock
from kcompiler.front import compile_spec
from kcompiler.plan import lock_path, make
from kcompiler.project import Project
from runtime import catalog, digest
from tests.unit.kcompiler.compiling import ROOT, made, planned, steps


def test_the_plan_is_the_same_in_every_folder(tmp_path: Path) -> None:
    assert lock.dump(planned(tmp_path / "a")) == lock.dump(planned(tmp_path / "b" / "c"))


def test_the_plan_satisfies_its_published_schema(tmp_path: Path) -> None:
    schema = json.loads((ROOT / "schemas" / "plan.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(planned(tmp_path))


def test_no_place_and_no_time_of_this_machine_is_in_it(tmp_path: Path) -> None:
    text = lock.dump(planned(tmp_path))
    assert str(tmp_path) not in text
    assert str(ROOT) not in text


def test_steps_stand_in_the_order_of_the_graph(tmp_path: Path) -> None:
    found = planned(tmp_path)
    seen: set[str] = set()
    for step in found["steps"]:
        waits = {name[5:].partition("#")[0] for name in step["takes"].values() if name.startswith("step:")}
        assert waits | set(step["after"]) <= seen
        seen.add(step["id"])


def test_only_the_toolchain_that_is_used_is_pinned(tmp_path: Path) -> None:
    real = planned(tmp_path)["toolchain"]
    wanted: dict[str, str] = {}
    for name in ("python", "torch", "coreml"):
        wanted |= catalog.load("backends", name).requires
    assert real == wanted
    assert planned(tmp_path, backend="null")["toolchain"] == {}


def test_built_in_plug_ins_are_no_plugins_of_the_lock(tmp_path: Path) -> None:
    assert planned(tmp_path)["plugins"] == []


def test_every_pack_is_pinned_with_its_rules(tmp_path: Path) -> None:
    (pack,) = planned(tmp_path)["policies"]
    rules = list((ROOT / "policies" / "caws" / "core").glob("*/rule.yaml"))
    assert (pack["pack"], pack["rules"]) == ("caws/core", len(rules))


def test_every_obligation_names_a_step_of_the_plan_that_makes_its_report(tmp_path: Path) -> None:
    found = planned(tmp_path)
    reports = {
        (f"step:{step['id']}", give["report"])
        for step in found["steps"]
        for give in step["gives"].values()
        if give["kind"] == "report"
    } | {("step:apply", "run")}
    assert found["obligations"]
    assert {(one["from"], one["report"]) for one in found["obligations"]} <= reports


def test_what_a_rule_expects_is_taken_from_the_spec(tmp_path: Path) -> None:
    (one,) = [one for one in planned(tmp_path)["obligations"] if one["rule"] == "caws/core/parity-every-shape"]
    assert one["expect"] == ["prefill_32", "prefill_64"]


def changed_derivations(folder: Path, change: Any) -> set[str]:
    before, after = steps(planned(folder / "before")), steps(planned(folder / "after", change))
    assert before.keys() == after.keys()
    return {name for name, step in before.items() if step["derivation"] != after[name]["derivation"]}


TRAINED = {"train-kd", "probe", "export", "convert", "verify", "evaluate-answers"}


@pytest.mark.parametrize(
    ("change", "reached"),
    [
        (lambda data: data["training"]["stages"][0]["losses"][0].update(weight=0.5), TRAINED),
        (lambda data: data["quantization"].update(islands=["rms_norm"]), {"convert", "verify", "evaluate-answers"}),
        (lambda data: data["evaluation"]["suites"][0].update(limit=3), {"evaluate-answers"}),
        (lambda data: data["data"].update(held_out=0.3), {"data", "tokenizer", "teacher", "reach", *TRAINED}),
        (lambda data: data["metadata"].update(description="Something else entirely."), set()),
        (lambda data: data["budgets"].update(wall_s=61), set()),
        (lambda data: data.update(policies=["caws/core", "caws/tier-3"]), set()),
    ],
    ids=["loss weight", "islands", "suite", "data", "description", "budget", "policies"],
)
def test_a_change_reaches_the_steps_it_concerns_and_what_follows(
    tmp_path: Path, change: Any, reached: set[str]
) -> None:
    assert changed_derivations(tmp_path, change) == reached


def test_the_source_is_pinned_by_its_meaning(tmp_path: Path) -> None:
    found = planned(tmp_path)
    (source,) = found["sources"]
    spec = tmp_path / "specs" / "spec.yaml"
    spec.write_text("# a comment\n" + spec.read_text(encoding="utf-8"), encoding="utf-8")
    again, _ = make(compile_spec(spec, tmp_path), Project(tmp_path))
    assert again == found
    assert source["path"] == "specs/spec.yaml"


def test_an_input_that_changed_changes_the_plan(tmp_path: Path) -> None:
    rows = tmp_path / "specs" / "rows.jsonl"
    rows.parent.mkdir()
    source = {"name": "mine", "kind": "jsonl", "path": "rows.jsonl", "license": "MIT"}
    pins = []
    for text in ('{"prompt": "Will it?", "response": "Yes."}\n', '{"prompt": "Will it?", "response": "No."}\n'):
        rows.write_text(text, encoding="utf-8")
        found = planned(tmp_path, lambda data: data["data"]["sources"].append(source))
        pins.append((found["inputs"][0]["digest"], steps(found)["data"]["derivation"]))
        assert pins[-1][0] == digest.of_file(rows)
    assert pins[0][1] != pins[1][1]


def extra(**step: Any) -> Any:
    return lambda data: data.update(steps=[{"id": "look", "use": "tokenizer", **step}])


PARAMS = {"source": "train", "vocab_size": 512, "special": {}, "template": "{prompt}{response}"}


@pytest.mark.parametrize(
    ("takes", "code"),
    [
        ({"dataset": "nobody#dataset"}, "KC3002"),
        ({}, "KC3003"),
        ({"dataset": "tokenizer#tokenizer"}, "KC3004"),
        ({"dataset": "data#dataset", "wrong": "data#dataset"}, "KC3005"),
        ({"dataset": "look#tokenizer"}, "KC3004"),
    ],
)
def test_what_is_wrong_with_the_graph_points_into_the_spec(tmp_path: Path, takes: dict[str, str], code: str) -> None:
    found, problems = made(tmp_path, extra(takes=takes, params=PARAMS))
    assert found is None
    assert [item.code for item in problems] == [code]
    assert problems[0].pointer == "/steps/0"
    assert problems[0].file == "specs/spec.yaml"
    assert problems[0].line > 0
    assert problems[0].help


def test_two_steps_of_one_name_are_refused(tmp_path: Path) -> None:
    one = {"id": "look", "use": "tokenizer", "takes": {"dataset": "data#dataset"}, "params": PARAMS}
    found, problems = made(tmp_path, lambda data: data.update(steps=[one, one]))
    assert found is None
    assert [item.code for item in problems] == ["KC3006"]


def test_a_pack_that_is_not_for_this_tier_is_refused(tmp_path: Path) -> None:
    def shipped(data: dict[str, Any]) -> None:
        data |= {"risk_tier": 1, "policies": ["caws/core", "caws/tier-3"]}
        data["quantization"]["islands"] = ["rms_norm"]

    found, problems = made(tmp_path, shipped)
    assert found is None
    assert "KC6012" in {item.code for item in problems}


def test_the_lock_lies_below_generated(tmp_path: Path) -> None:
    assert lock_path(Project(tmp_path), planned(tmp_path)) == tmp_path / "generated" / "answers" / "plan.lock"


@pytest.mark.parametrize(
    ("steps", "every", "points", "advised"),
    [
        (40, 50, 2, 9),
        (40, 13, 4, 9),
        (40, 10, 5, None),
        (40, 14, 4, 9),
        (5, 50, 2, 1),
        (4, 1, 4, None),
        (100, 33, 4, 24),
        (100, 40, 4, 24),
    ],
)
def test_a_window_of_points_is_there_before_anything_is_trained(
    tmp_path: Path, steps: int, every: int, points: int, advised: int | None
) -> None:
    mode = "block"

    def said(name: str) -> list[Any]:
        packs = tmp_path / name / "policies"
        shutil.copytree(next(ROOT.glob("tests/golden/plan/KC6036-*/policies")), packs)
        rule = packs / "lab" / "balance" / "rule.yaml"
        rule.write_text(f"mode: {mode}\n{rule.read_text(encoding='utf-8')}", encoding="utf-8")

        def change(data: dict[str, Any]) -> None:
            data["training"]["stages"][0].update(steps=steps, gradient_norms_every=every)
            data.update(policies=["lab"])

        return [one for one in made(tmp_path / name, change)[1] if one.code == "KC6036"]

    found = said("first")
    assert len(found) == (points < 5)
    if found and advised is None:
        assert "train 5 steps or more" in found[0].help
    elif found:
        assert f"has {points}" in found[0].summary
        assert found[0].help == f"write `gradient_norms_every: {advised}`"
    mode = "warn"
    assert said("warning") == []
    mode, every = "block", advised or every
    assert len(said("advised")) == (advised is None and points < 5)


@pytest.mark.parametrize(
    ("look", "patience", "every", "points", "advised"),
    [
        (10, 4, 10, 4, {"gradient_norms_every": 9}),
        (10, 4, 9, 5, {}),
        (2, 1, 1, 2, {"patience": 3, "gradient_norms_every": 1}),
        # patience cannot run out before the last step, which is measured
        (50, 4, 50, 5, {}),
        (50, None, 50, 5, {}),
    ],
)
def test_patience_may_end_a_training_before_its_window_is_full(
    tmp_path: Path, look: int, patience: int | None, every: int, points: int, advised: dict[str, int]
) -> None:
    def said(name: str, **changes: int) -> list[Any]:
        packs = tmp_path / name / "policies"
        shutil.copytree(next(ROOT.glob("tests/golden/plan/KC6036-*/policies")), packs)
        rule = packs / "lab" / "balance" / "rule.yaml"
        rule.write_text(f"mode: block\n{rule.read_text(encoding='utf-8')}", encoding="utf-8")

        def change(data: dict[str, Any]) -> None:
            validation = {"every": look, "patience": changes.get("patience", patience)}
            stage = data["training"]["stages"][0]
            stage.update(steps=200, gradient_norms_every=changes.get("gradient_norms_every", every))
            stage["validation"] = {name: value for name, value in validation.items() if value is not None}
            data["data"]["validation"] = 0.1
            data.update(policies=["lab"])

        return [one for one in made(tmp_path / name, change)[1] if one.code == "KC6036"]

    found = said("first")
    assert len(found) == bool(advised)
    if found:
        assert f"has {points}, where its patience ends it first" in found[0].summary
        assert {name: int(number) for name, number in re.findall(r"`(\w+): (\d+)`", found[0].help)} == advised
        assert said("advised", **advised) == []
