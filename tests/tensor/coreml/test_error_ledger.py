"""What each form loses, block by block: the numbers are torch's own, and a damaged block is the one that is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from kcompiler import assets, policy
from kcompiler.judge import judge
from kcompiler.spec.verification import Tolerances
from runtime.contract import BrokenEvidence, Refusal
from runtime.contract import program as contracts
from runtime.mil import package as packages
from runtime.mil.error_ledger import Chances, Distances, Page
from runtime.models import blocks, build
from runtime.models.error_ledger import measure
from runtime.steps.error_ledger import ErrorLedgerParams
from tests.tensor.coreml.conftest import COVERING, Converted
from tests.tensor.export.world import Stage
from tests.tensor.mil import tamper

PARAMS = ErrorLedgerParams(float32=1e-5, float16=0.02, quantized=0.05, **COVERING, threads=1)
SPEC = {
    "risk_tier": 3,
    "shapes": {"prefill": [16, 32]},
    "verification": {"ledger": True, "tolerances": Tolerances().model_dump()},
}
ALL = {"as-asked", "complete", "delta", "delta-functions", "kl", "float16", "float32", "forms", "functions", "good"}


def report(takes: dict[str, Path], root: Path, params: ErrorLedgerParams = PARAMS) -> dict[str, Any]:
    stage = Stage(root, takes)
    measure(takes, params, stage)
    return stage.reports["report"]


def failing(whole: dict[str, Any]) -> set[str]:
    """The rules about the ledger that do not pass."""
    around = {"backend": "coreml", "forged": False, "versions": {}}
    pack = policy.load(["caws/core"], [assets.folder("policies")])
    made, _ = policy.obligations(pack, SPEC, {"quantization.ledger": ["step"]}, {"step": PARAMS.model_dump()})
    asked = [one for one in made if one["rule"].startswith("caws/core/ledger-")]
    assert {one["rule"].removeprefix("caws/core/ledger-") for one in asked} == ALL
    whole = {**whole, "kind": "quantization.ledger", "environment": around}
    return {
        one.rule.removeprefix("caws/core/ledger-")
        for one in judge({"step": whole}, asked).outcomes
        if one.outcome != "pass"
    }


@pytest.fixture(scope="module")
def whole(converted: Converted, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return report(converted.takes, tmp_path_factory.mktemp("ledger"))


@pytest.fixture
def takes(converted: Converted, tmp_path: Path) -> dict[str, Path]:
    """Packages that a test may change, and of the golden vectors one prefill alone: a run takes a second."""
    made = {port: Path(shutil.copytree(converted.takes[port], tmp_path / port)) for port in ("package", "float32")}
    goldens = tmp_path / "goldens"
    shutil.copytree(converted.takes["goldens"], goldens)
    index = json.loads((goldens / "goldens.json").read_text())
    index["functions"] = {name: cases[:1] for name, cases in index["functions"].items()}
    (goldens / "goldens.json").write_text(json.dumps(index))
    return {**converted.takes, **made, "goldens": goldens}


def functions(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """`variant/function` → its part."""
    pages = {**{one["variant"]: one for one in data["variants"]}, "delta": data["delta"]}
    return {f"{name}/{one['function']}": one for name, page in pages.items() for one in page["functions"]}


def test_every_block_of_every_form_is_measured_and_loses_more_with_fewer_bits(whole: dict[str, Any]) -> None:
    data = whole["data"]
    assert [one["variant"] for one in data["variants"]] == ["float32", "fp16", "quantized"]
    found = functions(data)
    assert len(found) == 4 * 3
    for one in found.values():
        assert [block["block"] for block in one["blocks"]] == ["layer_0", "layer_1"]
        assert one["compared"]["k"] == one["compared"]["n"] == 3
        assert one["covered"]["k"] == one["covered"]["n"] > 0
        assert all(block["relative_l2"]["n"] > 0 for block in one["blocks"])
    for name in ("decode", "prefill_16", "prefill_32"):
        errors = [
            found[f"{form}/{name}"]["blocks"][1]["relative_l2"]["value"] for form in ("float32", "fp16", "quantized")
        ]
        assert 0 < errors[0] < 2e-6 < 5e-4 < errors[1] < 3e-3 < 1e-2 < errors[2] < 0.05
        # what the recipe costs beside float16 is nearly all that quantization costs
        assert found[f"delta/{name}"]["blocks"][1]["relative_l2"]["value"] == pytest.approx(errors[2], rel=0.1)
        divergences = [found[f"{form}/{name}"]["logits"]["kl"]["value"] for form in ("float32", "fp16", "quantized")]
        assert 0 <= divergences[0] < 1e-9 < divergences[1] < 1e-4 < divergences[2] < 1e-2
    assert data["bad"]["value"] == 0
    assert failing(whole) == set()


def test_packages_that_keep_their_cache_in_states_have_a_ledger_too(stateful: Converted, tmp_path: Path) -> None:
    whole = report(stateful.takes, tmp_path)
    assert {one["compared"]["value"] for one in functions(whole["data"]).values()} == {1.0}
    assert whole["data"]["bad"]["value"] == 0
    assert failing(whole) == set()


def test_sizes_are_those_of_the_package_and_a_table_that_is_only_looked_up_counts_a_row(
    whole: dict[str, Any], converted: Converted
) -> None:
    by_form = {one["variant"]: one for one in whole["data"]["variants"]}
    for form in ("fp16", "quantized"):
        held = packages.open(converted.takes["package"] / f"{form}.mlpackage").weights("decode")
        rotary = [one for one in held if {reader.op_type for reader in one.consumers} == {"gather"}]
        # cosines and sines of 48 positions
        assert len(rotary) == 2
        stored = sum(one.bytes for one in held)
        assert by_form[form]["bytes"]["value"] == stored
        assert by_form[form]["bytes_per_token"]["value"] == stored - sum(one.bytes * 47 // 48 for one in rotary)
    assert by_form["quantized"]["bytes"]["value"] < 0.52 * by_form["fp16"]["bytes"]["value"]


def test_blocks_of_the_checkpoint_are_the_hidden_states_of_transformers(converted: Converted) -> None:
    model = build.load(converted.takes["checkpoint"])
    ids = [3, 1, 4, 1, 5, 9]
    done: list[int] = []
    ((first, last),) = blocks.outputs(model, [ids], done.append)
    # Transformers hangs hooks of its own on them
    assert not any(layer._forward_hooks for layer in model.base_model.layers)
    with torch.no_grad():
        hidden = model(input_ids=torch.tensor([ids]), output_hidden_states=True, use_cache=False).hidden_states
        assert torch.equal(first, hidden[1][0])
        # Transformers gives the last one normed
        assert torch.equal(model.base_model.norm(last[None]), hidden[2])
    assert done == [1]


def test_distances_and_chances_are_those_of_torch() -> None:
    drawn = np.random.default_rng(3)
    # more rows than are compared at one time
    reference, found = (drawn.standard_normal((70, 33)).astype(np.float32) * 3 for _ in range(2))
    found = (reference + 0.3 * found).astype(np.float32)
    distances, chances = Distances(), Chances()
    for at in (slice(0, 40), slice(40, 70)):
        distances.add(reference[at], found[at])
        chances.add(reference[at], found[at])
    a, b = torch.from_numpy(reference).double(), torch.from_numpy(found).double()
    told = {**distances.data(), **chances.data()}
    lengths = (a - b).norm(dim=-1) / a.norm(dim=-1)
    wanted = {
        "cosine": functional.cosine_similarity(a, b).min(),
        "relative_l2": lengths.mean(),
        "relative_l2_worst": lengths.max(),
        "kl": functional.kl_div(b.log_softmax(-1), a.log_softmax(-1), reduction="batchmean", log_target=True),
        "top1_agreement": (a.argmax(-1) == b.argmax(-1)).double().mean(),
        "top3_containment": (b.topk(3).indices == a.argmax(-1)[:, None]).any(-1).double().mean(),
    }
    assert {name: one["value"] for name, one in told.items()} == pytest.approx(
        {name: float(value) for name, value in wanted.items()}, rel=1e-9
    )
    assert {one["n"] for one in told.values()} == {70}
    assert 0 < told["top1_agreement"]["value"] < told["top3_containment"]["value"] < 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_what_is_not_finite_on_either_side_is_no_number(value: float, side: int) -> None:
    sides = [np.ones((4, 5), np.float32), np.ones((4, 5), np.float32)]
    sides[side][2, 3] = value
    distances, chances = Distances(), Chances()
    distances.add(*sides)
    chances.add(*sides)
    told = {**distances.data(), **chances.data()}
    assert {one["tag"] for name, one in told.items() if not name.startswith("top")} == {"unavailable"}
    if side == 1:
        assert told["top1_agreement"]["k"] == 3


def test_of_nothing_there_is_no_number_and_shapes_must_agree() -> None:
    told = {**Distances().data(), **Chances().data()}
    assert {one["tag"] for one in told.values()} == {"unavailable"}
    zero = Distances()
    zero.add(np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32))
    assert zero.data()["relative_l2"]["tag"] == "unavailable"
    with pytest.raises(ValueError, match="cannot be compared"):
        zero.add(np.zeros((2, 3), np.float32), np.zeros((2, 4), np.float32))


def turned(package: Path, function: str, value: str) -> None:
    """Let the residual stream be turned round where a block gives it."""

    def edit(_: Any, block: Any) -> None:
        tamper.followed(block, value, "reverse", [2])
        # it was added at the end: whoever reads the value comes after it
        *operations, added = [type(one).FromString(one.SerializeToString()) for one in block.operations]
        at = next(i for i, one in enumerate(operations) if any(out.name == f"{value}_before" for out in one.outputs))
        del block.operations[:]
        block.operations.extend([*operations[: at + 1], added, *operations[at + 1 :]])

    tamper.rewrite(package, edit, function)


@pytest.mark.parametrize(
    ("form", "value", "bad", "rules"),
    [
        ("float32", "add_6", "layer_0", {"float32", "kl"}),
        ("fp16", "add_13_cast_fp16", "layer_1", {"float16", "delta", "kl"}),
        ("quantized", "add_13_cast_fp16", "layer_1", {"delta", "kl"}),
    ],
)
def test_the_damaged_block_of_one_form_is_the_first_that_is_named(
    form: str, value: str, bad: str, rules: set[str], takes: dict[str, Path], tmp_path: Path
) -> None:
    package = takes["float32" if form == "float32" else "package"] / f"{form}.mlpackage"
    turned(package, "prefill_16", value)
    whole = report(takes, tmp_path)
    named = {name: one["first_bad"] for name, one in functions(whole["data"]).items() if one["first_bad"]}
    wanted = {f"{form}/prefill_16"} | ({"delta/prefill_16"} if form != "float32" else set())
    # a decode reads the cache of its prefill, which a later block has not written
    assert {name: one for name, one in named.items() if not name.endswith("/decode")} == dict.fromkeys(wanted, bad)
    assert rules | {"good"} <= failing(whole) <= rules | {"good", "complete", "as-asked"}
    said = functions(whole["data"])[f"{form}/prefill_16"]["logits"]["relative_l2"]["value"]
    assert said > 0.5


def changed(takes: dict[str, Path], change: Any) -> None:
    path = takes["package"] / "contract.json"
    contract = json.loads(path.read_text())
    change(contract)
    path.write_text(json.dumps(contract))


def test_a_block_that_the_package_does_not_name_is_no_pass(takes: dict[str, Path], tmp_path: Path) -> None:
    changed(takes, lambda held: held["functions"]["prefill_16"]["modules"]["residual"].pop("model.layers.1"))
    whole = report(takes, tmp_path)
    one = functions(whole["data"])["fp16/prefill_16"]
    assert (one["compared"]["k"], one["compared"]["n"], one["first_bad"]) == (2, 3, "layer_1")
    assert one["blocks"][1]["relative_l2"]["tag"] == "unavailable"
    assert failing(whole) >= {"complete", "delta", "float16", "float32"}


def test_an_output_of_another_shape_is_a_case_that_was_not_compared(takes: dict[str, Path], tmp_path: Path) -> None:
    def longer(held: dict[str, Any]) -> None:
        held["functions"]["prefill_16"]["outputs"][0]["shape"][1] = 17

    changed(takes, longer)
    whole = report(takes, tmp_path)
    one = functions(whole["data"])["quantized/prefill_16"]
    assert (one["covered"]["k"] < one["covered"]["n"], one["compared"]["k"]) == (True, 0)
    assert one["first_bad"] == "layer_0"
    assert failing(whole) >= {"complete", "delta", "kl", "float16", "float32"}


def test_nothing_is_measured_without_cases_or_forms_or_of_another_depth(takes: dict[str, Path], tmp_path: Path) -> None:
    shutil.move(takes["package"] / "quantized.mlpackage", tmp_path / "aside.mlpackage")
    with pytest.raises(Refusal, match=r"quantized.mlpackage is not an .mlpackage folder"):
        report(takes, tmp_path)

    def deepened(held: dict[str, Any]) -> None:
        held["kv_cache"].update(layers=3)
        for one in held["functions"]["decode"]["inputs"]:
            if one["name"].endswith("_cache"):
                one["shape"][0] = 3

    changed(takes, deepened)
    with pytest.raises(BrokenEvidence, match="the checkpoint has 2 layers, the package 3"):
        report(takes, tmp_path, PARAMS.model_copy(update={"layers": 3}))
    deeper = PARAMS.model_copy(update={"layers": 3})
    with pytest.raises(BrokenEvidence, match="the checkpoint has 2 layers, the package 3"):
        report(takes, tmp_path, deeper)
    with pytest.raises(BrokenEvidence, match="the package has layers: 3, the plan asks for 2"):
        report(takes, tmp_path)
    (takes["goldens"] / "goldens.json").write_text(json.dumps({"functions": {"decode": []}}))
    with pytest.raises(BrokenEvidence, match="no golden vectors for function"):
        report(takes, tmp_path, deeper)


def test_a_form_that_is_left_out_of_the_report_blocks(whole: dict[str, Any]) -> None:
    for at in range(3):
        less = json.loads(json.dumps(whole))
        del less["data"]["variants"][at]
        assert "forms" in failing(less)
    less = json.loads(json.dumps(whole))
    del less["data"]["delta"]["functions"][1]
    assert "delta-functions" in failing(less)
    less = json.loads(json.dumps(whole))
    del less["data"]["variants"][1]["functions"][1]
    assert "functions" in failing(less)


def test_a_page_without_a_case_says_so(converted: Converted) -> None:
    contract = contracts.load(converted.takes["package"])
    page = Page(contract, 0.1)
    page.add("decode", None, {})
    told = {one["function"]: one for one in page.data(dict.fromkeys(contract.functions, (4, 4)))}
    assert told["decode"]["covered"]["k"] == 3
    assert {one["first_bad"] for one in told.values()} == {"layer_0"}
    assert {one["compared"]["value"] for one in told.values()} == {0.0}
