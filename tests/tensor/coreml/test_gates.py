"""A package or golden vectors that somebody changed: the gate that is there for it fails, and no other need notice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from kcompiler import assets, policy
from kcompiler.judge import judge
from kcompiler.spec.verification import Tolerances
from runtime.mil.verify import verify
from runtime.steps.verify import VerifyParams
from tests.longer import also
from tests.tensor.coreml.conftest import Converted
from tests.tensor.coreml.test_verify import PARAMS, spoiled
from tests.tensor.export.world import Stage
from tests.tensor.mil import tamper

SPEC = {
    "risk_tier": 3,
    "shapes": {"prefill": [16, 32]},
    "verification": {"tolerances": Tolerances().model_dump()},
}


def failing(takes: dict[str, Path], root: Path, params: VerifyParams = PARAMS) -> set[str]:
    """The rules of caws/core over the report of the packages that do not pass."""
    stage = Stage(root, takes)
    verify(takes, params, stage)
    around = {"backend": "coreml", "forged": False, "versions": {}}
    whole = {**stage.reports["report"], "kind": "coreml.parity", "environment": around}
    pack = policy.load(["caws/core"], [assets.folder("policies")])
    made, _ = policy.obligations(pack, SPEC, {"coreml.parity": ["step"]}, {"step": params.model_dump()})
    asked = [one for one in made if one["rule"].startswith(("caws/core/parity-", "caws/core/package-"))]
    assert len(asked) > 15
    return {
        one.rule.removeprefix("caws/core/") for one in judge({"step": whole}, asked).outcomes if one.outcome != "pass"
    }


@pytest.fixture(scope="module")
def untouched(converted: Converted, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Weights at random lose more to INT8 than trained ones."""
    found = failing(converted.takes, tmp_path_factory.mktemp("untouched"))
    assert found <= {"parity-quantized", "parity-relative-error", "parity-cache-error"}
    return found


def heads_exchanged(variant: str) -> Callable[[dict[str, Path]], None]:
    def change(takes: dict[str, Path]) -> None:
        port = "float32" if variant == "float32" else "package"
        package = takes[port] / f"{variant}.mlpackage"
        tamper.rewrite(package, lambda _, block: tamper.followed(block, "keys", "reverse", [1]), "prefill_32")

    return change


def index_without(keep: Callable[[dict[str, Any]], bool]) -> Callable[[dict[str, Path]], None]:
    def change(takes: dict[str, Path]) -> None:
        path = takes["goldens"] / "goldens.json"
        index = json.loads(path.read_text())
        index["functions"]["decode"] = [case for case in index["functions"]["decode"] if keep(case)]
        path.write_text(json.dumps(index))

    return change


def fewer_steps(takes: dict[str, Path]) -> None:
    path = takes["goldens"] / "goldens.json"
    index = json.loads(path.read_text())
    for case in index["functions"]["decode"]:
        case["steps"] = 1
    path.write_text(json.dumps(index))
    held = load_file(takes["goldens"] / "goldens.safetensors")
    cut = {
        name: value[:2] if name.endswith(("/tokens", "/logits")) and name[0] == "d" else value
        for name, value in held.items()
    }
    save_file(
        {name: np.ascontiguousarray(value) for name, value in cut.items()}, takes["goldens"] / "goldens.safetensors"
    )


def fewer_prompts(takes: dict[str, Path]) -> None:
    path = takes["goldens"] / "goldens.json"
    index = json.loads(path.read_text())
    index["functions"]["prefill_16"] = index["functions"]["prefill_16"][1:]
    path.write_text(json.dumps(index))


def another_function(takes: dict[str, Path]) -> None:
    """The activation of the float32 program is another one, and the weights are right."""

    def change(_: Any, block: Any) -> None:
        for operation in block.operations:
            if operation.type == "silu":
                operation.type = "softsign"

    for name in ("prefill_16", "prefill_32", "decode"):
        tamper.rewrite(takes["float32"] / "float32.mlpackage", change, name)


CHANGES: dict[str, tuple[str, Callable[[dict[str, Path]], None], set[str]]] = {
    "keys of one prefill between heads": (
        "package", heads_exchanged("fp16"), {"parity-cache", "parity-cache-fp16", "parity-float16"},
    ),
    "keys between heads, quantized only": ("package", heads_exchanged("quantized"), {"parity-cache"}),
    "keys between heads, in float32": ("float32", heads_exchanged("float32"), {"parity-float32", "parity-cache"}),
    "another activation": ("float32", another_function, {"parity-float32"}),
    "no decode from one prefill": (
        "goldens", index_without(lambda case: case["start"] != "prefill_32"), {"package-as-asked", "parity-goldens", "parity-starts", "parity-top1"},
    ),
    "no decode at an edge": (
        "goldens", index_without(lambda case: case["prompt_tokens"] != 16), {"parity-goldens", "package-as-asked"},
    ),
    "fewer steps": ("goldens", fewer_steps, {"package-as-asked", "parity-goldens", "parity-top1", "parity-greedy"}),
    "fewer prompts": ("goldens", fewer_prompts, {"parity-goldens"}),
}  # fmt: skip


#: one of each port; what they change otherwise is told apart above
QUICK = {"no decode from one prefill", "fewer steps"}


@pytest.mark.parametrize("name", [one if one in QUICK else also(one) for one in CHANGES])
def test_what_was_changed_fails_its_gate(name: str, converted: Converted, untouched: set[str], tmp_path: Path) -> None:
    port, change, wanted = CHANGES[name]
    takes, _ = spoiled(converted, tmp_path, port)
    change(takes)
    found = failing(takes, tmp_path / "out") - untouched
    assert wanted <= found
    if port == "goldens":
        assert found == wanted


def test_the_logits_do_not_show_exchanged_keys(converted: Converted, tmp_path: Path) -> None:
    """Why the cache has gates of its own: what a prompt's keys are does not change its own logits."""
    takes, _ = spoiled(converted, tmp_path, "package")
    heads_exchanged("fp16")(takes)
    stage = Stage(tmp_path / "out", takes)
    verify(takes, PARAMS, stage)
    fp16 = stage.reports["report"]["data"]["variants"][1]
    shape = next(item for item in fp16["shapes"] if item["function"] == "prefill_32")
    assert shape["cosine"]["value"] > 0.9999
    assert shape["cache"][0]["keys"]["cosine"]["value"] < 0.9
    assert shape["cache"][0]["values"]["cosine"]["value"] > 0.9999
