"""A report over fewer layers, prompts, positions or packages than the plan asks for is named, by both who compute it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kcompiler.verifier import lacking as again
from kcompiler.verifier.again import UNLIKE
from runtime.contract import calibration, covering, lacking
from tests.unit.kcompiler.policy import plans

ROOT = Path(__file__).resolve().parents[4]
REPORTS = ROOT / "tests/unit/kcompiler/policy/reports"
#: report → (file, what its plan asks for, who says what it lacks)
REAL: dict[str, tuple[str, dict[str, Any], Any, Any]] = {
    "parity": (
        "verify",
        plans.VERIFY,
        lacking.parity_unlike,
        again.parity,
    ),
    "ledger": ("error-ledger", plans.LEDGER, lacking.ledger_unlike, again.ledger),
    "onnx": ("verify-onnx", plans.ONNX, lacking.onnx_unlike, again.onnx),
}
Change = Callable[[dict[str, Any], dict[str, Any]], object]


_UNAVAILABLE = {"tag": "unavailable", "value": None, "unit": "nat", "reason": "an output is not finite"}


def _one(data: Any) -> Any:
    return data["variants"][2]["shapes"][1]


#: what is asked for and the data are both there to be changed
WRONG: dict[str, dict[str, Change]] = {
    "parity": {
        "first layer alone": lambda _, data: _one(data)["cache"].__delitem__(slice(1, None)),
        "a layer twice": lambda _, data: _one(data)["cache"].__setitem__(1, _one(data)["cache"][0]),
        "a layer too many": lambda _, data: data["variants"][0]["decode"]["cache"].append({**_one(data)["cache"][0]}),
        "no layer": lambda _, data: data["variants"][1]["decode"]["cache"].clear(),
        "a prompt less": lambda _, data: _one(data)["covered"].update(n=6, k=6),
        "one case": lambda _, data: _one(data)["cosine"].update(n=1),
        "no count": lambda _, data: _one(data)["relative_l2"].pop("n"),
        "one head": lambda _, data: _one(data)["cache"][2]["values"]["cosine"].update(n=1),
        "few positions": lambda _, data: _one(data)["kl"].update(n=127),
        "few steps": lambda _, data: data["variants"][2]["decode"]["top1_agreement"].update(n=51, k=51),
        "steps": lambda _, data: data["variants"][2]["decode"]["steps"].update(value=51),
        "few tokens": lambda _, data: data["variants"][2]["decode"]["greedy_agreement"].update(n=64, k=64),
        "one decode": lambda _, data: data["variants"][2]["decode"]["diverged"].update(n=1),
        "a start less": lambda _, data: data["variants"][2]["decode"]["starts"].pop(),
        "another length": lambda _, data: _one(data)["length"].update(value=64),
        "a shape less": lambda _, data: data["variants"][0]["shapes"].pop(),
        "a shape twice": lambda _, data: data["variants"][0]["shapes"].append(data["variants"][0]["shapes"][0]),
        "a form less": lambda _, data: data["variants"].pop(),
        "a form twice": lambda _, data: data["variants"].append(data["variants"][1]),
        "an easier mode": lambda _, data: data["variants"][2].update(mode="exact32"),
        "functions of one package": lambda _, data: data["functions_present"].update(n=4, k=4),
        "one interface": lambda _, data: data["interface"]["violations"].update(n=1),
        "no islands": lambda _, data: data["islands"].update(declared=[]),
        "other islands": lambda _, data: data["islands"].update(declared=["softmax"]),
        "islands nowhere": lambda _, data: data["islands"]["violations"].update(n=0),
        "half of the islands": lambda _, data: data["islands"]["violations"].update(n=47),
        "other operations": lambda _, data: data["islands"]["operations"].update(value=0),
        "nothing quantized": lambda _, data: data["recipe"]["quantized_tensors"].update(value=0),
        "no element looked at": lambda _, data: _one(data)["nan"].pop("n"),
        "few elements": lambda _, data: _one(data)["inf"].update(n=1),
        "few vectors": lambda _, data: _one(data)["all_zero"].update(n=1),
        "few values": lambda _, data: _one(data)["shape_mismatches"].update(n=1),
        "an unavailable number": lambda _, data: _one(data).update(kl=_UNAVAILABLE),
        "one tensor": lambda _, data: data["recipe"]["violations"].update(n=1),
        "chunks": lambda asked, _: asked.update(chunks=2),
        "enumerated": lambda asked, _: asked.update(strategy="enumerated"),
        "one of the layers that read int8": lambda asked, data: (
            asked.update(activations=["model.layers.0.mlp.up_proj", "model.layers.1.mlp.up_proj"]),
            # of four functions each
            data.update(activations={"tag": "measured", "unit": "ratio", "value": 1.0, "k": 4, "n": 4}),
        ),
        "one of the matrices that were trained": lambda asked, data: (
            asked.update(qat=["model.layers.0.mlp.up_proj.weight", "model.layers.1.mlp.up_proj.weight"]),
            data.update(trained={"tag": "measured", "unit": "ratio", "value": 1.0, "k": 1, "n": 1}),
        ),
        "more layers": lambda asked, _: asked.update(layers=4),
        "more prompts": lambda asked, _: asked.update(golden_prompts=3),
        "more steps": lambda asked, _: asked.update(decode_steps=5),
        "another length asked": lambda asked, _: asked.update(prefill=[64, 128, 192]),
        "a length more": lambda asked, _: asked.update(prefill=[64, 128, 192, 256]),
    },
    "ledger": {
        "first block alone": lambda _, data: data["variants"][1]["functions"][0]["blocks"].__delitem__(slice(1, None)),
        "a block twice": lambda _, data: data["delta"]["functions"][0]["blocks"][1].update(block="layer_0"),
        "a prompt less": lambda _, data: data["variants"][0]["functions"][1]["covered"].update(n=6, k=6),
        "blocks not compared": lambda _, data: data["delta"]["functions"][1]["compared"].update(n=2, k=2),
        "few positions": lambda _, data: data["delta"]["functions"][1]["logits"]["kl"].update(n=127),
        "few of a block": lambda _, data: data["delta"]["functions"][1]["blocks"][2]["relative_l2"].update(n=1),
        "few steps": lambda _, data: data["variants"][0]["functions"][0]["logits"]["top1_agreement"].update(n=51),
        "a function less": lambda _, data: data["delta"]["functions"].pop(),
        "a form less": lambda _, data: data["variants"].pop(0),
        "an easier mode": lambda _, data: data["variants"][1].update(mode="exact32"),
        "a block far off": lambda _, data: data["variants"][2]["functions"][1]["blocks"][1]["relative_l2"].update(
            value=50.0
        ),
        "logits far off": lambda _, data: data["variants"][2]["functions"][1]["logits"]["relative_l2"].update(
            value=50.0
        ),
        "an unavailable number": lambda _, data: data["delta"]["functions"][1]["logits"].update(kl=_UNAVAILABLE),
        "a function said to be bad": lambda _, data: data["delta"]["functions"][1].update(first_bad="layer_0"),
        "another sum": lambda _, data: data["bad"].update(value=1),
        "few pages": lambda _, data: data["bad"].update(n=12),
        "more layers": lambda asked, _: asked.update(layers=4),
        "more prompts": lambda asked, _: asked.update(golden_prompts=3),
        "a length more": lambda asked, _: asked.update(prefill=[64, 128, 192, 256]),
    },
    "onnx": {
        "a function less": lambda _, data: data["functions"].pop(),
        "a function twice": lambda _, data: data["functions"].append(data["functions"][0]),
        "a prompt less": lambda _, data: data["functions"][1]["covered"].update(n=5, k=5),
        "one case": lambda _, data: data["functions"][1]["between"]["cache_error"].update(n=1),
        "few positions": lambda _, data: data["functions"][1]["onnx"]["top1_agreement"].update(n=33, k=33),
        "few steps": lambda _, data: data["functions"][0]["coreml"]["top1_agreement"].update(n=35, k=35),
        "few functions": lambda _, data: data["apart"].update(n=1),
        "more steps": lambda asked, _: asked.update(decode_steps=5),
        "a length more": lambda asked, _: asked.update(prefill=[16, 32, 48]),
    },
}


def found(which: str, asked: dict[str, Any], data: dict[str, Any]) -> tuple[list[str], list[str]]:
    _, _, first, second = REAL[which]
    return list(first(asked, data)), list(second(asked, data))


def real(which: str) -> tuple[dict[str, Any], dict[str, Any]]:
    name, asked, _, _ = REAL[which]
    data: dict[str, Any] = json.loads((REPORTS / f"{name}.json").read_text(encoding="utf-8"))["data"]
    return copy.deepcopy(asked), data


@pytest.mark.parametrize("which", REAL)
def test_a_real_report_lacks_nothing(which: str) -> None:
    assert found(which, *real(which)) == ([], [])


@pytest.mark.parametrize(("which", "name"), [(which, name) for which in WRONG for name in WRONG[which]])
def test_whatever_is_less_is_named(which: str, name: str) -> None:
    asked, data = real(which)
    WRONG[which][name](asked, data)
    first, second = found(which, asked, data)
    assert first
    assert second


def test_cases_follow_from_lengths_context_prompts_and_steps() -> None:
    # around 64: 1, 63, 64; around 128: 1, 65, 127, 128; the cache ends before 256: 1, 129, 251, 252
    wanted = {"prefill_64": 6, "prefill_128": 7, "prefill_256": 7, "decode": 13}
    assert covering.wanted([256, 64, 128], 256, 2, 4) == wanted
    assert again._cases({**plans.VERIFY, "prefill": [256, 64, 128]}) == wanted
    # where two edges meet they are one
    assert (
        covering.wanted([1], 8, 1, 1)
        == {"prefill_1": 3, "decode": 2}
        == again._cases({"prefill": [1], "decode_context": 8, "golden_prompts": 1, "decode_steps": 1})
    )


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("a layer less", lambda data: data["activations"]["layers"].pop()),
        ("another layer", lambda data: data["activations"]["layers"][0].update(layer="lm_head")),
        ("fewer counted", lambda data: data["activations"]["rounded"].update(n=1, k=1)),
        ("no section", lambda data: data.pop("activations")),
    ],
)
def test_every_layer_that_reads_integers_has_its_scale(name: str, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads((REPORTS / "calibrate.json").read_text(encoding="utf-8"))["data"]
    unlike = (calibration.unlike, UNLIKE[calibration.KIND])
    assert [list(one(plans.CALIBRATE, data)) for one in unlike] == [[], []], name
    change(data)
    assert [len(list(one(plans.CALIBRATE, data))) for one in unlike] == [1, 1]
