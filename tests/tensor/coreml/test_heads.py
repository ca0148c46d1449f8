"""A package of a student with heads says what the checkpoint's heads say, in prefill and decode, whoever keeps the cache;
a head that is lost or of another checkpoint is told."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from runtime.contract import BrokenEvidence, Refusal
from runtime.contract import program as contracts
from runtime.contract.heads import FILE
from runtime.contract.lacking import parity_unlike
from runtime.mil.convert import convert
from runtime.models import build, heads
from runtime.models.export import export
from tests.longer import also
from tests.tensor.coreml.conftest import CONVERT, EXPORT
from tests.tensor.coreml.test_verify import PARAMS, report
from tests.tensor.export.world import Stage, world

NAMES = ["halt", "self_eval"]
HEADED_EXPORT = EXPORT.model_copy(update={"heads": NAMES})
HEADED = PARAMS.model_copy(update={"heads": NAMES})
#: random weights: what int8 costs them is of no student
BOUNDS = {"float32": 1e-5, "fp16": 1e-2, "quantized": 0.1}
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "state": ({}, {"cache": "state"}),
    "enumerated": ({"strategy": "enumerated"}, {"strategy": "enumerated"}),
    "ane in chunks": ({"profile": "ane", "chunks": 2}, {}),
}


@pytest.fixture(scope="module")
def takes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A dataset, a tokenizer and a checkpoint with two heads."""
    root = tmp_path_factory.mktemp("headed")
    found = world(root, "llama", num_hidden_layers=2)
    model = build.load(found["checkpoint"])
    heads.attach(model, NAMES, seed=5)
    with torch.no_grad():
        for one in heads.of(model).values():
            one.weight.mul_(20)
            one.bias.fill_(-1.5)
    build.save(model, found["checkpoint"])
    return found


def made(takes: dict[str, Path], root: Path, kind: str) -> dict[str, Path]:
    of_export, of_convert = KINDS[kind]
    first = Stage(root / "exported", takes)
    export(takes, HEADED_EXPORT.model_copy(update=of_export), first)
    second = Stage(root / "converted", {"program": first.root / "program"})
    convert({"program": first.root / "program"}, CONVERT.model_copy(update=of_convert), second)
    ports = {port: second.root / port for port in ("package", "float32")}
    return {**takes, "goldens": first.root / "goldens", **ports}


@pytest.fixture(scope="module")
def plain(takes: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return made(takes, tmp_path_factory.mktemp("plain"), "plain")


def said(data: dict[str, Any]) -> dict[str, float]:
    """Variant and head → its worst relative error."""
    found: dict[str, float] = {}
    for variant in data["variants"]:
        for section in [*variant["shapes"], variant["decode"]]:
            assert [one["head"] for one in section["heads"]] == NAMES
            for one in section["heads"]:
                key = f"{variant['variant']} {one['head']}"
                found[key] = max(found.get(key, 0.0), one["relative_error"]["value"])
    return found


@pytest.mark.parametrize("kind", ["state", also("enumerated"), also("ane in chunks")])
def test_every_form_of_a_package_says_what_the_checkpoint_says(
    kind: str, takes: dict[str, Path], tmp_path: Path
) -> None:
    params = HEADED.model_copy(
        update={key: one for side in KINDS[kind] for key, one in side.items() if key != "profile"}
    )
    data = report(made(takes, tmp_path / "made", kind), tmp_path, params)
    errors = said(data)
    assert all(value < BOUNDS[key.partition(" ")[0]] for key, value in errors.items()), errors
    assert not list(parity_unlike(params.model_dump(mode="json"), data))


def test_numbers_and_what_a_report_lacks(plain: dict[str, Path], tmp_path: Path) -> None:
    contract = contracts.load(plain["package"])
    assert contracts.heads(contract.functions) == tuple(NAMES)
    for name, function in contract.functions.items():
        shapes = {value.name: value.shape for value in function.outputs}
        assert shapes["halt"] == shapes["self_eval"] == [1, 1 if name == "decode" else int(name.partition("_")[2])]
    data = report(plain, tmp_path, HEADED)
    errors = said(data)
    assert all(value < BOUNDS[key.partition(" ")[0]] for key, value in errors.items()), errors
    assert data["recipe"]["violations"]["value"] == 0
    asked = HEADED.model_dump(mode="json")
    assert not list(parity_unlike(asked, data))
    assert any("heads" in one for one in parity_unlike(PARAMS.model_dump(mode="json"), data))
    del data["variants"][1]["decode"]["heads"][1]
    assert list(parity_unlike(asked, data)) == ["fp16/decode: heads ['halt'], asked for ['halt', 'self_eval']"]


def test_a_package_with_other_heads_than_the_plan_names_is_broken(plain: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(BrokenEvidence, match=r"the heads \['halt', 'self_eval'\], the plan asks for \[\]"):
        report(plain, tmp_path, PARAMS)


def test_a_head_of_another_checkpoint_is_told(plain: dict[str, Path], takes: dict[str, Path], tmp_path: Path) -> None:
    """The golden vectors of another head: logits and caches are as they should be."""
    shutil.copytree(takes["checkpoint"], tmp_path / "checkpoint")
    file = tmp_path / "checkpoint" / FILE
    held = load_file(file)
    held["heads.halt.weight"] = held["heads.halt.weight"].roll(1, dims=1)
    save_file(held, file, {"format": "pt"})
    other = {**takes, "checkpoint": tmp_path / "checkpoint"}
    first = Stage(tmp_path / "exported", other)
    export(other, HEADED_EXPORT, first)
    data = report({**plain, "goldens": first.root / "goldens"}, tmp_path / "seen", HEADED)
    errors = said(data)
    assert errors["quantized halt"] > 0.3
    assert errors["quantized self_eval"] < BOUNDS["quantized"]
    assert all(one["cosine"]["value"] > 0.999 for variant in data["variants"] for one in variant["shapes"])


def test_a_package_has_the_heads_that_are_asked_for_and_no_others(takes: dict[str, Path], tmp_path: Path) -> None:
    stage = Stage(tmp_path / "one", takes)
    export(takes, EXPORT.model_copy(update={"heads": ["halt"], "prefill": [16]}), stage)
    assert contracts.heads(contracts.load(stage.root / "program").functions) == ("halt",)
    assert any("head `self_eval` is left out: student.heads does not name it" in one for one in stage.said)


def test_a_head_that_no_checkpoint_has_is_refused(takes: dict[str, Path], tmp_path: Path) -> None:
    bare = shutil.copytree(takes["checkpoint"], tmp_path / "bare")
    (bare / FILE).unlink()
    with pytest.raises(Refusal, match="the checkpoint has no head `halt`"):
        export({**takes, "checkpoint": bare}, HEADED_EXPORT, Stage(tmp_path / "two", takes))
