"""What is asked of a package follows from its recipe: four bits are asked other numbers, and no fewer."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from kcompiler import assets
from kcompiler.judge import judge
from kcompiler.spec.verification import COARSE_TOLERANCES, FINE_LIMITS, Tolerances, by_recipe
from tests.unit.kcompiler.compiling import Change, front_of, planned

BLOCKS = {"weights": "int4", "granularity": "per_block", "block": 16}
PALETTE = {"weights": "lut4", "granularity": "per_tensor"}


def recipe(default: dict[str, Any], *rules: dict[str, Any], **tolerances: float) -> Change:
    def change(data: dict[str, Any]) -> None:
        data["quantization"] = {"default": default, "rules": list(rules)}
        if tolerances:
            data["verification"] = {"tolerances": tolerances}

    return change


def integers(**tolerances: float) -> Change:
    """Weights in int8 and layers that read int8."""
    plain = recipe({"weights": "int8"}, **tolerances)

    def change(data: dict[str, Any]) -> None:
        plain(data)
        source = data["data"]["sources"][0]["name"]
        data["quantization"] |= {"calibration": {"sources": {source: 8}}, "activations": {"match": ["*.mlp.*"]}}

    return change


def asked(folder: Path, change: Change) -> dict[str, dict[str, Any]]:
    """The obligations about the packages, by rule."""
    every = planned(folder, change)["obligations"]
    return {one["rule"].removeprefix("caws/core/"): one for one in every if one["report"] == "coreml.parity"}


def test_a_recipe_of_four_bits_is_asked_as_many_questions(tmp_path: Path) -> None:
    fine = asked(tmp_path / "fine", recipe({"weights": "int8"}))
    coarse = asked(tmp_path / "coarse", recipe(BLOCKS))
    assert set(fine) == set(coarse)
    # the step's own parameters, with the recipe among them
    same = [{**every.pop("package-as-asked")["expect"], "recipe": {}} for every in (fine, coarse)]
    assert same[0] == same[1]
    changed = {rule: (fine[rule]["expect"], coarse[rule]["expect"]) for rule in fine if fine[rule] != coarse[rule]}
    assert changed == {
        "parity-quantized": (0.02, 0.4),
        "parity-relative-error": (0.05, 0.5),
        "parity-cache-error": (0.05, 0.5),
        "parity-cosine": (0.999, 0.98),
        "parity-cache": (0.999, 0.95),
        "parity-kl": (0.01, 0.1),
    }
    # what holds the float forms, and what is read back, stays as it was
    assert {
        "parity-float32",
        "parity-float16",
        "parity-cosine-fp16",
        "parity-cache-fp16",
        "parity-top1",
        "package-recipe",
    } <= {*fine}


@pytest.mark.parametrize(
    ("change", "kl"),
    [
        (recipe(PALETTE), 0.1),
        (recipe({"weights": "int8"}, {"match": "*up_proj", **PALETTE}), 0.1),
        (recipe({"weights": "lut8", "granularity": "per_tensor"}), 0.01),
        (recipe({"weights": "int8", "granularity": "per_block", "block": 16}), 0.01),
        (recipe(BLOCKS, kl=0.05), 0.05),
        (recipe(BLOCKS, cosine=0.99), 0.1),
        (recipe({"weights": "int8"}, kl=0.001), 0.001),
        (integers(), 0.1),
        (integers(kl=0.02), 0.02),
    ],
)
def test_what_the_spec_says_wins_over_what_the_recipe_would_get(tmp_path: Path, change: Change, kl: float) -> None:
    spec = front_of(tmp_path, change).spec
    assert spec is not None
    assert spec.verification.tolerances.kl == kl
    # what a check of the recipe asks of the model is what the text said
    assert spec.quantization.coarse == (spec.verification.tolerances.cosine != 0.999)


@pytest.mark.parametrize("text", [None, [], {"quantization": []}, {"quantization": {"default": "int4", "rules": 3}},
                                  {"quantization": {"default": BLOCKS}, "verification": []},
                                  {"quantization": {"default": BLOCKS}, "verification": {"tolerances": 3}}])  # fmt: skip
def test_a_text_that_is_no_spec_is_left_to_the_model(text: Any) -> None:
    before = copy.deepcopy(text)
    assert by_recipe(text) is text
    assert text == before


def test_each_tolerance_of_a_coarse_recipe_lies_within_the_ends_of_the_model() -> None:
    assert Tolerances(**COARSE_TOLERANCES).kl == 0.1
    assert set(COARSE_TOLERANCES) == set(FINE_LIMITS)
    plain = Tolerances()
    assert all(least <= getattr(plain, name) <= most for name, (least, most) in FINE_LIMITS.items())


def test_a_weak_package_of_four_bits_fails_and_one_of_eight_is_not_excused(tmp_path: Path) -> None:
    """A real report on a package of four bits: it passes as such; with one number worse or none it does not."""
    case = json.loads((assets.folder("policies") / "quantization/ab-kl/pass.json").read_text(encoding="utf-8"))
    numeric = ("parity-kl", "parity-cosine", "parity-cache", "parity-top1", "parity-quantized", "parity-greedy")

    def outcomes(obligations: dict[str, dict[str, Any]], **shape: Any) -> dict[str, str]:
        report = copy.deepcopy(case["report"])
        last = report["data"]["variants"][-1]
        assert last["variant"] == "quantized"
        last["shapes"][0].update(shape)
        made = judge({"verify": report}, [one for rule, one in obligations.items() if rule in numeric])
        return {one.rule.removeprefix("caws/core/"): one.outcome for one in made.outcomes if one.outcome != "pass"}

    four, eight = asked(tmp_path / "four", recipe(BLOCKS)), asked(tmp_path / "eight", recipe({"weights": "int8"}))
    assert outcomes(four) == {}
    assert set(outcomes(eight)) == {"parity-kl", "parity-cosine", "parity-cache", "parity-quantized"}
    kl = {"value": 0.1001, "unit": "nat", "tag": "measured", "n": 100}
    assert outcomes(four, kl=kl) == {"parity-kl": "fail"}
    none = {"value": None, "unit": "nat", "tag": "unavailable", "reason": "an output is not finite"}
    assert outcomes(four, kl=none) == {"parity-kl": "not_evaluated"}
    top = {"value": 0.5, "unit": "ratio", "tag": "measured", "k": 50, "n": 100}
    assert outcomes(four, top1_agreement=top) == {"parity-top1": "fail"}
