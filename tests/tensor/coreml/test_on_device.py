"""What a Mac would measure, by a stand-in of coremltools' API that computes: each fault keeps the level down in words."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kcompiler.policy import evidence
from kcompiler.policy.laws.remade import contradiction
from kcompiler.verifier import again
from kcompiler.verifier import ondevice as apart
from runtime import digest
from runtime.contract import BrokenEvidence, Unavailable, delivery, ondevice
from runtime.contract.report import dump, envelope, hex_of
from runtime.coreml import api, found
from runtime.coreml.attest import Wanted, attest
from runtime.coreml.predict import NotPredicted, Predictor
from tests.longer import longer
from tests.tensor.coreml.conftest import COVERING, Converted
from tests.tensor.coreml.standin import (
    MAC,
    Faults,
    clock,
    delivered,
    made,
    spoilt,
    stand_in,
    with_nan,
)

pytestmark = pytest.mark.tensor


@pytest.fixture(scope="module")
def folder(converted: Converted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A delivery of one short prefill: what is measured of it costs least."""
    made = tmp_path_factory.mktemp("delivery") / "out"
    made.mkdir()
    return delivered(made, converted.takes["package"], converted.takes["goldens"])


def measured(folder: Path, coreml: Any = None, machine: Any = MAC, **changes: Any) -> dict[str, Any]:
    wanted = {"precision": "quantized", "units": "cpu_and_ne", "repetitions": 1, "warm_up": 0, "clock": clock()}
    data = attest(folder, Wanted(**{**wanted, **changes}), machine, coreml or stand_in())
    sound(data)
    return data


def sound(data: dict[str, Any]) -> dict[str, Any]:
    """The report, which satisfies its schema and its laws."""
    report = envelope(
        kind=ondevice.KIND,
        step="device",
        subject={},
        fingerprints={},
        environment={"forged": False, "backend": "coreml"},
        data=data,
    )
    assert evidence.read(dump(report).encode()).problem == ""
    assert again.contradiction(report) == ""
    return report


@pytest.fixture(scope="module")
def whole(folder: Path) -> dict[str, Any]:
    return measured(folder, repetitions=20, warm_up=1)


def test_a_mac_that_predicts_plans_and_times_is_attested_five(whole: dict[str, Any]) -> None:
    assert (whole["level"]["value"], whole["lacks"]) == (5, [])
    assert [run["units"] for run in whole["runs"]] == ["cpu_only", "cpu_and_ne"]
    assert whole["residency"]["on_target"]["value"] == 1
    decode = whole["latency"]["decode"]
    # the clock grows by a millisecond a look
    assert (decode["value"], decode["unit"], decode["n"]) == (1000, "token/s", 20)
    assert whole["package"]["sha256"] == whole["package"]["sha256_after"]


FAULTS = {
    "other logits": (
        Faults(outputs=spoilt("logits", lambda one: one[..., ::-1])),
        2,
        "L3: cpu_only: prefill_16: cosine is",
    ),
    "other logits on the target": (
        Faults(outputs=spoilt("logits", lambda one: one + 9 * np.eye(one.shape[-1])[0], units="cpu_and_ne")),
        3,
        "L4: cpu_and_ne: prefill_16: cosine is",
    ),
    "keys exchanged between heads": (
        Faults(outputs=spoilt("keys", lambda one: one[:, ::-1], of="prefill_16")),
        2,
        "L3: cpu_only: prefill_16, keys of layer_0: cosine is",
    ),
    "NaN": (Faults(outputs=spoilt("logits", with_nan, of="decode")), 2, "L3: cpu_only: decode: nan is"),
    "an output is missing": (
        Faults(outputs=lambda _name, _units, one: {key: value for key, value in one.items() if key != "new_key"}),
        2,
        "L3: cpu_only: new_key of decode have not the contract's shape",
    ),
    "an output of another shape": (
        Faults(outputs=spoilt("keys", lambda one: one[:, :, :4], of="prefill_16")),
        2,
        "L3: cpu_only: prefill_16: ",
    ),
    "predict raises": (
        Faults(predict=RuntimeError("Error computing NN outputs.")),
        2,
        "L3: cpu_only: prefill_16 on cpu_only was not predicted: RuntimeError: Error computing NN outputs.",
    ),
    "the model does not load": (
        Faults(load=Exception("no proxy")),
        2,
        "L3: cpu_only: decode on cpu_only was not loaded: Exception: no proxy",
    ),
    "an operation is missing in the plan": (
        Faults(left_out=("softmax",)),
        3,
        "L4: the compute plan of prefill_16 places",
    ),
    "the plan says no device of an operation": (
        Faults(unsaid=("softmax",)),
        3,
        "L4: the compute plan of prefill_16 places",
    ),
    "the plan does not load": (Faults(plan=ValueError("no .mlmodelc")), 3, "L4: the compute plan: the compute plan of"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_keeps_the_level_down_and_says_which(folder: Path, fault: str) -> None:
    faults, level, words = FAULTS[fault]
    data = measured(folder, stand_in(faults))
    assert data["level"]["value"] == level
    assert any(one.startswith(words) for one in data["lacks"]), data["lacks"]


def test_operations_that_fall_back_to_the_cpu_are_counted_and_named(folder: Path, whole: dict[str, Any]) -> None:
    data = measured(folder, stand_in(Faults(devices={"softmax": "MLCPUComputeDevice", "matmul": "MLGPUComputeDevice"})))
    assert data["level"]["value"] == 4
    decode = next(one for one in data["residency"]["functions"] if one["function"] == "decode")
    away = decode["cpu"]["k"] + decode["gpu"]["k"]
    assert decode["cpu"]["k"] == 2  # a softmax a layer
    assert decode["on_target"]["k"] == decode["operations"]["value"] - away
    assert decode["elsewhere"] == [f"{decode['gpu']['k']} matmul on gpu", "2 softmax on cpu"]
    assert data["residency"]["on_target"]["value"] < whole["residency"]["on_target"]["value"]
    # to the GPU the same is right for the units that ask for one
    on_gpu = measured(folder, stand_in(Faults(devices={"softmax": "MLCPUComputeDevice"})), units="all")
    assert 0.9 < on_gpu["residency"]["on_target"]["value"] < 1


def retimed(data: dict[str, Any], ns: list[int]) -> dict[str, Any]:
    """The same where the calls of each function took so long."""
    timed = [ondevice.timed(one["function"], one["tokens"]["value"], ns) for one in data["latency"]["functions"]]
    found = {**data, "latency": ondevice.latency(data["units"], 1, len(ns), timed, "decode")}
    found |= ondevice.attested(found)
    sound(found)
    return found


def test_too_few_times_are_no_benchmark_and_slow_ones_are_said(whole: dict[str, Any]) -> None:
    few = retimed(whole, [10**6] * 19)
    assert (few["level"]["value"], few["lacks"][0]) == (4, "L5: times of prefill_16: 19 calls of 20 at least")
    slow = retimed(whole, [2 * 10**9] * 20)
    assert (slow["level"]["value"], slow["latency"]["decode"]["value"]) == (5, 0.5)
    still = retimed(whole, [0] * 20)
    assert still["level"]["value"] == 4
    assert still["lacks"][0] == "L5: times of prefill_16: the clock is too coarse: a call took no time"


def test_a_package_that_changes_while_it_runs_is_not_attested(folder: Path, tmp_path: Path) -> None:
    away = shutil.copytree(folder, tmp_path / "away")
    strange = away / "packages" / "quantized.mlpackage" / "strange"
    data = measured(away, stand_in(Faults(before=lambda: strange.write_text("x"))))
    assert data["level"]["value"] == 2
    assert "L3: the package was another one after the run than before it" in data["lacks"]


@pytest.mark.parametrize("part", ["packages/quantized.mlpackage/Manifest.json", "goldens/goldens.json"])
def test_another_package_or_other_vectors_than_the_contract_names_are_refused(
    folder: Path, tmp_path: Path, part: str
) -> None:
    away = shutil.copytree(folder, tmp_path / "away")
    (away / part).write_text((away / part).read_text() + " ")
    with pytest.raises(BrokenEvidence, match=r"it is not the one that contract.json names"):
        measured(away)


def test_a_delivery_without_vectors_or_without_the_package_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BrokenEvidence, match="no package `fp16`"):
        measured(folder, precision="fp16")
    away = shutil.copytree(folder, tmp_path / "away")
    contract = delivery.load(away)
    (away / "contract.json").write_text(delivery.dump(contract.model_copy(update={"golden": None})))
    with pytest.raises(BrokenEvidence, match="no golden vectors"):
        measured(away)


def resealed(folder: Path, **changes: Any) -> Path:
    """The same delivery with golden vectors as they lie there, and this in its contract."""
    contract = delivery.load(folder)
    assert contract.golden is not None
    golden = contract.golden.model_copy(update={"sha256": hex_of(digest.of_folder(folder / "goldens"))})
    (folder / "contract.json").write_text(delivery.dump(contract.model_copy(update={"golden": golden, **changes})))
    return folder


@pytest.mark.parametrize("text", ["{}", "[]", "no JSON", '{"functions": {"decode": [], "prefill_16": []}}'])
def test_golden_vectors_that_cannot_be_read_are_refused(folder: Path, tmp_path: Path, text: str) -> None:
    away = shutil.copytree(folder, tmp_path / "away")
    (away / "goldens" / "goldens.json").write_text(text)
    with pytest.raises(BrokenEvidence, match=r"they cannot be read|no golden vectors for function"):
        measured(resealed(away))


def test_golden_vectors_that_are_not_those_of_their_index_fail_the_run(folder: Path, tmp_path: Path) -> None:
    away = shutil.copytree(folder, tmp_path / "away")
    index = json.loads((away / "goldens" / "goldens.json").read_text())
    index["functions"]["prefill_16"][0]["case"] = "other"
    (away / "goldens" / "goldens.json").write_text(json.dumps(index))
    data = measured(resealed(away))
    assert data["level"]["value"] == 2
    assert data["lacks"][0].startswith(
        "L3: cpu_only: outputs and golden vectors do not fit: KeyError: 'prefill_16/other/"
    )
    (away / "goldens" / "goldens.safetensors").write_bytes(b"x" * 64)
    with pytest.raises(BrokenEvidence, match="they cannot be read"):
        measured(resealed(away))


def test_a_contract_of_nothing_that_can_be_run_is_refused(folder: Path, tmp_path: Path) -> None:
    away = shutil.copytree(folder, tmp_path / "away")
    contract = delivery.load(away)
    only = {name: one for name, one in contract.functions.items() if one.kind == "prefill"}
    with pytest.raises(BrokenEvidence, match="no prefill and decode"):
        measured(resealed(away, functions=only))
    package = contract.packages[0].model_copy(update={"path": "../packages/quantized.mlpackage"})
    with pytest.raises(BrokenEvidence, match="does not lie in the delivery"):
        measured(resealed(away, functions=contract.functions, packages=[package]))


@pytest.mark.parametrize(
    ("machine", "versions", "words"),
    [
        ({"system": "Linux"}, {}, "L3: a Mac: this is Linux"),
        ({"processor": "unknown"}, {}, "L3: `processor` is not known"),
        ({"release": ""}, {}, "L3: `release` is not known"),
        ({}, {"coreml": ""}, "L3: `coreml` is not known"),
        ({}, {"coremltools": ""}, "L3: `coremltools` is not known"),
    ],
)
def test_a_fact_without_which_a_level_says_nothing(
    whole: dict[str, Any], machine: dict[str, str], versions: dict[str, str], words: str
) -> None:
    changed = {**whole, "machine": {**whole["machine"], **machine}, "toolchain": {**whole["toolchain"], **versions}}
    assert ondevice.attested(changed) == {
        "level": {"value": 2, "unit": "level", "tag": "measured"},
        "lacks": [words],
    }


def test_nothing_is_measured_where_core_ml_is_not(folder: Path) -> None:
    with pytest.raises(Unavailable) as reason:
        found.coreml()
    data = measured(folder, reason.value, {**MAC, "system": "Linux"})
    assert data["level"]["value"] is None
    assert data["lacks"] == [f"Core ML predicts on a Mac, and this is {sys.platform}"]
    for datum in (data["level"], data["residency"]["on_target"], data["latency"]["decode"]):
        assert datum["tag"] == "unavailable"
        assert datum["reason"] == data["lacks"][0]


def test_a_system_without_plans_says_so(folder: Path) -> None:
    data = measured(folder, stand_in(no_plans="this system has no MLComputePlan: macOS 14.4 or later has it"))
    assert data["level"]["value"] == 3
    assert data["lacks"] == ["L4: the compute plan: this system has no MLComputePlan: macOS 14.4 or later has it"]


FORGED = {
    "a level that was not reached": lambda one: one["level"].update(value=4),
    "a lower one": lambda one: one["lacks"].append("L5: a charger"),
    "speed that no nanosecond has": lambda one: one["latency"]["decode"].update(value=9999),
    "a speed of one function": lambda one: one["latency"]["functions"][0]["seconds"].update(value=1e-9),
    "residency that no function has": lambda one: one["residency"]["on_target"].update(
        k=1, value=1 / one["residency"]["on_target"]["n"]
    ),
    "an operation on two devices": lambda one: one["residency"]["functions"][0]["cpu"].update(k=1),
    "another unit of the times": lambda one: one["latency"].update(units="all"),
    "the same run twice": lambda one: one["runs"].append(one["runs"][0]),
    "own tolerances": lambda one: one["tolerances"]["kl"].update(by="me"),
    "a machine that cannot": lambda one: one["machine"].update(cannot="no Mac"),
    "logits that are off": lambda one: one["runs"][1]["shapes"][0]["cosine"].update(value=0.5),
    "a case that was not run": lambda one: one["runs"][0]["decode"]["covered"].update(k=1),
    "a function that was not run": lambda one: one["runs"][0]["shapes"].pop(),
}


@pytest.mark.parametrize("forged", FORGED)
def test_a_report_that_is_not_what_its_facts_give_is_no_evidence(whole: dict[str, Any], forged: str) -> None:
    data = json.loads(json.dumps(whole))
    FORGED[forged](data)
    report = {"kind": ondevice.KIND, "data": data, "environment": {}}
    assert contradiction(report) != ""
    # whoever verifies a bundle computes it by code of its own
    assert again.contradiction(report) != ""


#: what that delivery has of the golden vectors
FEWER = {"prefill": [16], "golden_prompts": 1, "decode_steps": 1}


def test_what_was_asked_for_is_compared(whole: dict[str, Any]) -> None:
    bounds = {name: one["value"] for name, one in whole["tolerances"].items()}
    units, precision = whole["units"], whole["package"]["precision"]
    asked = {"precision": precision, "units": units, "tolerances": bounds, **COVERING, **FEWER}
    other = next(one for one in ("fp16", "quantized") if one != precision)
    wider = {**bounds, "kl": bounds["kl"] / 2}
    for changed, told in (
        ({}, []),
        ({"units": "all"}, [f"units: asked for all, measured {units}"]),
        ({"precision": other}, [f"precision: asked for {other}, measured {precision}"]),
        ({"tolerances": wider}, [f"tolerances.kl: asked for {wider['kl']:g}, held to {bounds['kl']}"]),
    ):
        assert list(ondevice.unlike({**asked, **changed}, whole)) == told
        assert len(list(apart.unlike({**asked, **changed}, whole))) == len(told)
    # a run over less than the plan asks for is whole in itself
    for changed in ({"layers": 3}, {"golden_prompts": 3}, {"prefill": [16, 32]}):
        assert list(ondevice.unlike({**asked, **changed}, whole))
        assert list(apart.unlike({**asked, **changed}, whole))


# what is typed against what is there


def test_coremltools_is_as_it_is_typed() -> None:
    import coremltools

    assert coremltools.__version__ == "9.0"
    assert api.drift(found._classes()) == []


def test_the_stand_in_is_as_it_is_typed() -> None:
    assert api.drift(made(Faults())) == []


class Otherwise:
    """An MLModel whose predict was changed."""

    def __init__(self, model: str, compute_units: Any, function_name: str) -> None: ...
    def predict(self, features: Any, *, device: str) -> Any: ...
    def make_state(self) -> Any: ...


def test_a_drift_is_found_and_named() -> None:
    real = made(Faults())
    assert api.drift({**real, "MLModel": Otherwise}) == [
        "MLModel `predict` takes no `data` at place 1",
        "MLModel `predict` takes no `state` at place 2",
        "MLModel `predict` needs `features`",
        "MLModel `predict` needs `device`",
        "MLModel `get_compiled_model_path` is not there",
    ]
    less = {name: one for name, one in real.items() if name not in ("MLState", "MLGPUComputeDevice")}
    assert api.drift(less) == ["there is no MLState", "there is no MLGPUComputeDevice"]
    assert api.drift({**real, "MLComputePlanCost": object}) == ["MLComputePlanCost has no `weight`"]
    assert api.drift({**real, "ComputeUnit": object})[0] == "ComputeUnit has no ALL"


# the probe, on a machine that says it is a Mac


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(sys, "platform", "darwin")
    return monkeypatch


def refused() -> str:
    with pytest.raises(Unavailable) as reason:
        found.coreml()
    return str(reason.value)


def test_a_mac_without_coremltools(mac: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def none(name: str) -> types.ModuleType:
        if name.startswith("coremltools"):
            raise ModuleNotFoundError("No module named 'coremltools'", name="coremltools")
        return real(name)

    mac.setattr(importlib, "import_module", none)
    assert refused() == "coremltools is not installed here"


def test_a_mac_with_a_coremltools_without_its_library(mac: pytest.MonkeyPatch) -> None:
    # as it is installed here: a wheel of Linux has none
    assert refused().startswith("coremltools 9.0 is here without its native library, libcoremlpython")


def test_a_mac_with_everything_but_another_api(mac: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from coremltools.models import compute_plan, model

    mac.setattr(model, "_MLModelProxy", object)
    mac.setattr(found, "FRAMEWORK", tmp_path / "Info.plist")
    assert found.coreml().versions == {"coremltools": "9.0", "coreml": ""}
    assert found.coreml().no_plans == "this system has no MLComputePlan: macOS 14.4 or later has it"
    mac.setattr(compute_plan, "_MLComputePlanProxy", object)
    (tmp_path / "Info.plist").write_bytes(
        b'<plist version="1.0"><dict><key>CFBundleVersion</key><string>3500.32.1</string></dict></plist>'
    )
    assert (found.coreml().no_plans, found.coreml().versions["coreml"]) == ("", "3500.32.1")
    (tmp_path / "Info.plist").write_text("no plist")
    assert found.framework() == ""
    mac.delattr(compute_plan.MLComputePlan, "load_from_path")
    assert refused() == (
        "coremltools 9.0 has another API than the one that is used: MLComputePlan.load_from_path is not there"
    )


# state


@pytest.fixture(scope="module")
def summing(tmp_path_factory: pytest.TempPathFactory, converter_folders: None) -> Path:
    """A package that keeps a sum: acc += x."""
    import coremltools as ct
    from coremltools.converters.mil.mil import Builder as mb
    from coremltools.converters.mil.mil import types as mil_types

    @mb.program(
        input_specs=[mb.TensorSpec((1, 3), dtype=mil_types.fp16), mb.StateTensorSpec((1, 3), dtype=mil_types.fp16)],
        opset_version=ct.target.iOS18,
    )
    def program(x: Any, acc: Any) -> Any:
        new = mb.coreml_update_state(state=acc, value=mb.add(x=mb.read_state(input=acc), y=x))
        return mb.identity(x=new, name="sum")

    model = ct.convert(program, convert_to="mlprogram", skip_model_load=True, minimum_deployment_target=ct.target.iOS18)
    path = tmp_path_factory.mktemp("stateful") / "sum.mlpackage"
    model.save(str(path))
    return path


def test_a_state_is_kept_between_calls_and_one_that_is_not_written_is_told(summing: Path) -> None:
    def predictor(faults: Faults) -> Predictor:
        return Predictor(stand_in(faults), summing, "main", "cpu_only", dtypes={"x": "float16"}, states=["acc"])

    x = np.array([[1, 2, 3]], np.float32)
    right = predictor(Faults())
    for step in range(1, 4):
        np.testing.assert_array_equal(right.run({"x": x}).outputs["sum"], step * x)
    np.testing.assert_array_equal(right.state()["acc"], 3 * x)
    with pytest.raises(
        NotPredicted, match="main on cpu_only left its state `acc` as it was before the call that writes"
    ):
        predictor(Faults(frozen=("",))).run({"x": x})


@pytest.fixture(scope="module")
def keeping(stateful: Converted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A delivery whose package keeps its cache."""
    made = tmp_path_factory.mktemp("keeping") / "out"
    made.mkdir()
    return delivered(made, stateful.takes["package"], stateful.takes["goldens"])


@longer
def test_one_state_is_handed_to_every_function(keeping: Path) -> None:
    """The decode makes it, the prefill writes a prompt into it, and the host copies nothing."""
    faults = Faults()
    data = measured(keeping, stand_in(faults))
    # one call of each is no time
    assert (data["level"]["value"], data["lacks"][0][:2]) == (4, "L5")
    assert set(faults.asked) == {"decode"}
    for run in data["runs"]:
        for part in (*run["shapes"], run["decode"]):
            assert all(one[side]["cosine"]["value"] > 0.999 for one in part["cache"] for side in ("keys", "values"))


STATES = {
    "no function writes": (
        Faults(frozen=("",)),
        "prefill_16 on cpu_only left its state `key_cache` as it was before the call that writes it",
    ),
    "the decode does not write": (
        Faults(frozen=("decode",)),
        "decode on cpu_only left its state `key_cache` as it was before the call that writes it",
    ),
    "a state is missing": (
        Faults(state=lambda found: {"key_cache": found["key_cache"]}),
        "decode has no state value_cache",
    ),
    "a state of another shape": (
        Faults(state=lambda found: {name: one[:, :, :32] for name, one in found.items()}),
        "state key_cache of decode has shape (2, 2, 32, 32), the contract's is (2, 2, 48, 32)",
    ),
}


@pytest.mark.parametrize("fault", STATES)
@longer
def test_a_fault_of_a_state_keeps_the_level_down_and_says_which(keeping: Path, fault: str) -> None:
    faults, words = STATES[fault]
    data = measured(keeping, stand_in(faults))
    assert data["level"]["value"] == 2
    assert words in data["lacks"][0]


def test_a_core_ml_that_makes_no_state_says_so(keeping: Path) -> None:
    def none(_found: Any) -> Any:
        raise RuntimeError("no memory")

    data = measured(keeping, stand_in(Faults(state=none)))
    assert data["lacks"][0] == "L3: cpu_only: decode on cpu_only made no state: RuntimeError: no memory"
