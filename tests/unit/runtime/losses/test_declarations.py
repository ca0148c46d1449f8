"""Every loss says what it computes, in words that the lock keeps."""

from __future__ import annotations

import subprocess
import sys

import pytest

from runtime import catalog
from runtime.contract import Loss
from runtime.contract.conditions import FACTS, FORBIDDEN, MASKS

DIVERGENCES = {"kl", "reverse_kl", "jsd", "skew_kl", "skew_reverse_kl", "top_k_kl"}
DISTANCES = {"acceptance", "tvd", "mse"}
OF_ROWS = {"claims", "compliance", "integration", "length", "early_tool", "code_mode", "halt", "self_eval"}
NAMES = (
    *("ce_teacher", "ce_truth", "json_args", "ranking", "clause", "tool_name"),
    *sorted(DIVERGENCES | DISTANCES | OF_ROWS),
)
PINNED = {
    "formula",
    "direction",
    "temperature",
    "temperature_squared",
    "mask",
    "shift",
    "denominator",
    "tail",
    "vocabulary",
    "unit",
}


def test_the_room_holds_these_losses() -> None:
    assert set(NAMES) <= set(catalog.names("losses"))


@pytest.mark.parametrize("name", NAMES)
def test_semantics_pin_every_choice(name: str) -> None:
    loss: Loss = catalog.load("losses", name)
    assert set(loss.semantics) - {"bound"} == PINNED
    assert loss.semantics["mask"] == loss.mask
    assert loss.semantics["unit"] == "nat/token"
    assert all(isinstance(choice, (str, bool)) for choice in loss.semantics.values())


@pytest.mark.parametrize("name", NAMES)
def test_temperature_is_a_parameter_exactly_where_the_semantics_use_it(name: str) -> None:
    loss: Loss = catalog.load("losses", name)
    assert ("temperature" in loss.params.model_fields) == (loss.semantics["temperature"] == "both sides")
    assert loss.semantics["temperature_squared"] is (name in DIVERGENCES)
    assert loss.divergence is (name in DIVERGENCES or name == "mse")


@pytest.mark.parametrize("name", catalog.names("losses"))
def test_every_loss_says_where_it_hurts_and_whose_it_is(name: str) -> None:
    loss: Loss = catalog.load("losses", name)
    assert len(loss.hurts) > 40
    assert loss.source


def test_only_terms_that_read_the_teacher_ask_for_logits() -> None:
    needing = {name for name in NAMES if "logits" in catalog.load("losses", name).needs}
    assert needing == {"ce_teacher"} | DIVERGENCES | DISTANCES


def test_facts_and_masks_of_rows_are_known_by_their_names() -> None:
    for name in OF_ROWS:
        loss: Loss = catalog.load("losses", name)
        assert loss.facts <= set(FACTS)
        assert not loss.needs
    masks = {name: catalog.load("losses", name).mask for name in OF_ROWS}
    assert {masks[name] for name in ("length", "early_tool", "code_mode", "self_eval")} == set(MASKS)
    assert masks["compliance"] == FORBIDDEN


def test_span_terms_have_masks_of_their_own() -> None:
    masks = {name: catalog.load("losses", name).mask for name in NAMES}
    assert masks["tool_name"] == "tool_name"
    assert masks["json_args"] == "json_args"
    assert (masks["ranking"], masks["clause"]) == ("choice", "clause")
    assert {masks[name] for name in (*DIVERGENCES, *DISTANCES, "ce_teacher", "ce_truth")} == {"response"}


@pytest.mark.parametrize("temperature", [0.0, -1.0, 1e6, float("nan"), float("inf"), "2"])
def test_an_impossible_temperature_is_refused(temperature: object) -> None:
    loss: Loss = catalog.load("losses", "kl")
    with pytest.raises(ValueError, match="temperature"):
        loss.params.model_validate({"temperature": temperature})


def test_loading_losses_imports_no_tensor_library() -> None:
    code = (
        "import sys; from runtime import catalog; [catalog.load('losses', n) for n in catalog.names('losses')];"
        "print([m for m in ('torch', 'numpy', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
