"""Where a level begins: every number at its tolerance reaches it, and one beyond it does not, with its words."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from runtime.contract import ondevice

ROOT = Path(__file__).resolve().parents[4]
BROUGHT = json.loads((ROOT / "policies/device/attested/device-level/pass.json").read_text(encoding="utf-8"))["report"]


def data() -> dict[str, Any]:
    """Of a Mac that reaches the highest level."""
    found: dict[str, Any] = copy.deepcopy(BROUGHT["data"])
    return found


def at(place: str, run: dict[str, Any]) -> dict[str, Any]:
    found: Any = run
    for word in place.split("."):
        found = found[int(word)] if word.isdigit() else found[word]
    assert isinstance(found, dict)
    return found


BOUNDS = {
    "shapes.0.cosine": (0.999, 0.99899, "prefill_64: cosine is 0.99899, asked >= 0.999"),
    "shapes.0.relative_error": (0.02, 0.0201, "prefill_64: relative_error is 0.0201, asked <= 0.02"),
    "shapes.0.kl": (0.01, 0.0101, "prefill_64: kl is 0.0101, asked <= 0.01"),
    "shapes.0.cache.0.keys.cosine": (0.999, 0.9, "prefill_64, keys of layer_0: cosine is 0.9, asked >= 0.999"),
    "shapes.0.cache.0.values.relative_error": (
        0.05,
        0.051,
        "prefill_64, values of layer_0: relative_error is 0.051, asked <= 0.05",
    ),
    "shapes.0.nan": (0, 1, "prefill_64: nan is 1, not 0"),
    "decode.inf": (0, 1, "decode: inf is 1, not 0"),
    "decode.all_zero": (0, 1, "decode: all_zero is 1, not 0"),
    "decode.shape_mismatches": (0, 1, "decode: shape_mismatches is 1, not 0"),
    "decode.cosine": (0.999, -1, "decode: cosine is -1, asked >= 0.999"),
    "decode.kl": (0.01, 1, "decode: kl is 1, asked <= 0.01"),
    "decode.cache.0.values.cosine": (0.999, 0.99, "decode, values of layer_0: cosine is 0.99, asked >= 0.999"),
}


@pytest.mark.parametrize("place", BOUNDS)
def test_a_number_at_its_bound_is_within_it_and_one_beyond_is_not(place: str) -> None:
    bound, beyond, words = BOUNDS[place]
    for run, lower, units in ((0, 2, "cpu_only"), (1, 3, "all")):
        within = data()
        at(place, within["runs"][run])["value"] = bound
        assert ondevice.attested(within)["level"]["value"] == 5
        at(place, within["runs"][run])["value"] = beyond
        found = ondevice.attested(within)
        assert (found["level"]["value"], found["lacks"]) == (lower, [f"L{lower + 1}: {units}: {words}"])
        at(place, within["runs"][run]).update(value=None, tag="unavailable", reason="not finite")
        found = ondevice.attested(within)
        assert found["level"]["value"] == lower
        assert "is unavailable (not finite)" in found["lacks"][0]


def test_every_case_and_function_must_have_been_run() -> None:
    fewer = data()
    fewer["runs"][0]["decode"]["covered"].update(k=4)
    assert ondevice.attested(fewer)["lacks"] == ["L3: cpu_only: decode: 4 of 5 golden cases were run"]
    none = data()
    none["runs"][0]["shapes"] = []
    assert ondevice.attested(none)["lacks"] == ["L3: cpu_only: ran no prefill of prefill_64"]
    failed = data()
    failed["runs"][1].update(failed="decode on all was not predicted: RuntimeError: x", shapes=[], decode={})
    assert ondevice.attested(failed)["lacks"] == ["L4: all: decode on all was not predicted: RuntimeError: x"]
    del failed["runs"][1]
    assert ondevice.attested(failed)["lacks"] == ["L4: a run on all"]
    unplanned = data()
    del unplanned["residency"]["functions"][1]
    assert ondevice.attested(unplanned)["lacks"] == ["L4: the compute plan of decode"]
    untimed = data()
    del untimed["latency"]["functions"][0]
    assert ondevice.attested(untimed)["lacks"] == ["L5: times of prefill_64: 0 calls of 20 at least"]


def test_what_is_lacking_is_listed_up_to_a_bound() -> None:
    many = data()
    layer = many["runs"][0]["decode"]["cache"][0]
    many["runs"][0]["decode"]["cache"] = [copy.deepcopy(layer) for _ in range(40)]
    for one in many["runs"][0]["decode"]["cache"]:
        one["keys"]["cosine"]["value"] = 0.1
    assert len(ondevice.attested(many)["lacks"]) == ondevice.MOST_NAMED


def test_a_model_without_operations_is_nowhere() -> None:
    found = ondevice.residency("all", [ondevice.placed("main", "all", {}, {}, None)])
    assert found["on_target"]["tag"] == "unavailable"
