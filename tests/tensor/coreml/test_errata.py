"""Errata: what the table says is avoided is what a conversion knows and records; what it does not know is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kcompiler import assets, policy, tables
from kcompiler.facts.errata import avoided
from kcompiler.judge import judge
from runtime import catalog
from runtime.contract import program as contracts
from runtime.contract.errata import ABSENT, CHANGED, KNOWN, LEFT_OUT
from runtime.contract.report import rate
from runtime.mil import convert as conversion
from runtime.mil.errata import Done, counted, recorded
from runtime.mil.quiet import quiet
from runtime.models.fxlint import RULE_IDS
from runtime.steps.convert import ConvertParams
from tests.tensor.coreml.conftest import RECIPE, Converted

TOOLCHAIN = {"coremltools": "9.0", "torch": "2.13.0"}


@pytest.fixture(scope="module")
def contract(converted: Converted) -> contracts.Contract:
    return contracts.load(converted.program)


def test_the_table_and_the_conversion_know_the_same() -> None:
    """Of the pinned toolchain; each is avoided in one way, by the file that the table names or a rule of the linter."""
    pins = catalog.load("backends", "coreml").requires
    assert avoided(pins) == [*KNOWN]
    assert len(KNOWN) == len(ABSENT) + len(LEFT_OUT) + len(CHANGED) > 20
    assert set(ABSENT.values()) <= set(RULE_IDS)
    rows = {one.id: one for one in tables.errata().errata}
    assert {name: rows[name].avoided_by for name in CHANGED} == {name: where for name, (_, where) in CHANGED.items()}
    assert {rows[name].avoided_by for name in LEFT_OUT} == {"runtime/mil/convert.py"}
    assert {passes for one in LEFT_OUT.values() for passes in one} <= conversion.REMOVED_PASSES


def test_another_coremltools_has_other_errata() -> None:
    later = avoided({"coremltools": "9.1", "torch": "2.13.0"})
    assert set(KNOWN) - set(later) == {
        "alpha-ignored",
        "int16-cast-underflow",
        "mask-minus-infinity",
        "reciprocal-epsilon",
    }
    assert "training-dialect" not in avoided({"coremltools": "9.0", "torch": "2.8.0"})
    assert avoided({"torch": "2.13.0"}) == []


def test_a_plan_names_errata_only_where_they_are_not_what_this_conversion_knows() -> None:
    plain = ConvertParams(recipe=RECIPE, islands=[])
    assert (plain.errata, "errata" in plain.model_dump()) == ([*KNOWN], False)
    more = ConvertParams(recipe=RECIPE, islands=[], errata=[*KNOWN, "new-defect"])
    assert more.model_dump()["errata"][-1] == "new-defect"


def test_the_report_records_each(converted: Converted) -> None:
    data = converted.stage.reports["report"]["data"]["errata"]
    assert (data["recorded"]["k"], data["recorded"]["n"], data["unknown"]) == (len(KNOWN), len(KNOWN), [])
    places = {one["id"]: one["places"]["value"] for one in data["entries"]}
    assert {one["coremltools"] for one in data["entries"]} == {"9.0"}
    assert places["int16-ids"] == places["training-dialect"] == places["multifunction-quantization"] == 3
    assert places["tied-embedding-exemption"] == 1
    # without an island that reads weights, and with weights that float16 holds
    assert places["island-weights"] == places["small-weights"] == places["gelu-tanh"] == 0
    assert places["constants-quantized"] > 10
    assert {places[name] for name in ABSENT} == {0}


def test_what_ships_is_asked_for_the_record(converted: Converted) -> None:
    """The rule over the real report, and over one of a conversion that did not know an erratum of the plan."""
    around = {"environment": {"backend": "coreml", "forged": False, "versions": {}}, "kind": "conversion"}
    report = {**converted.stage.reports["report"], **around}
    pack = policy.load(["caws/core"], [assets.folder("policies")])

    def outcomes(tier: int, report: dict[str, Any]) -> list[str]:
        spec = {"risk_tier": tier, "shapes": {"prefill": [16, 32]}}
        made, _ = policy.obligations(pack, spec, {"conversion": ["step"]})
        asked = [one for one in made if one["rule"] == "caws/core/errata-recorded"]
        return [one.outcome for one in judge({"step": report}, asked).outcomes]

    assert [outcomes(tier, report) for tier in (1, 2, 3)] == [["pass"], ["pass"], []]
    lacking = rate(len(KNOWN) - 1, len(KNOWN))
    data = report["data"] | {"errata": report["data"]["errata"] | {"recorded": lacking}}
    assert outcomes(1, {**report, "data": data}) == ["fail"]
    without = {key: value for key, value in report["data"].items() if key != "errata"}
    assert "pass" not in outcomes(1, {**report, "data": without})


def test_what_is_not_known_or_was_not_done_is_told(contract: contracts.Contract) -> None:
    def told(asked: list[str], left_out: frozenset[str] = conversion.REMOVED_PASSES, **changes: Any) -> list[str]:
        data = recorded(asked, contract.model_copy(update=changes), Done(), left_out, TOOLCHAIN)
        assert data["recorded"]["n"] == len(asked)
        assert data["recorded"]["k"] == len(asked) - len(data["unknown"])
        unknown: list[str] = data["unknown"]
        return unknown

    assert told([*KNOWN]) == []
    assert told([*KNOWN, "new-defect"]) == ["new-defect"]
    assert told([*KNOWN], frozenset({"common::noop_elimination"})) == [
        "int16-cast-underflow",
        "int16-ids",
        "tensors-merged",
    ]
    assert told(["gelu-tanh", "triu-tril-nan"], lint=contracts.Lint(violations=1)) == ["triu-tril-nan"]
    assert recorded([], contract, Done(), frozenset(), TOOLCHAIN)["recorded"]["tag"] == "unavailable"


def test_what_was_changed_is_counted(converted: Converted, contract: contracts.Contract) -> None:
    """Three weights below half of float16's smallest number, one of them in a tensor that is too large to be raised."""
    function = contract.functions["decode"]
    exported = torch.export.load(converted.program / "decode.pt2")
    names = {tensor: graph for graph, tensor in function.parameters.items()}

    for tensor, values in (("model.norm.weight", [1e-9, -1e-9, 0.0]), ("model.embed_tokens.weight", [1e-9])):
        name = names[tensor]
        target = next(spec.target for spec in exported.graph_signature.input_specs if spec.arg.name == name)
        with torch.no_grad():
            exported.state_dict[target].view(-1)[: len(values)] = torch.tensor(values)
    with quiet():
        program = conversion.converted(exported, function)
        done = conversion.narrow(program, function, ["logits"])
        whole = conversion.joined({"decode": program}, "decode")
    # the tied head
    assert done == {"small-weights": 2, "island-weights": 1}
    assert counted([(whole.functions["decode"], function)], contract, done)["small-weights"] == 2
    held = [op.outputs[0].val for op in whole.functions["decode"].operations if op.op_type == "const"]
    assert sum(isinstance(value, np.ndarray) for value in held) > 20
