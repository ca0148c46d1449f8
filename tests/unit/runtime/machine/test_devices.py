"""Who compiles takes a device for what it was when the step was last carried out; nobody is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime import catalog
from runtime.contract.keys import History
from runtime.machine import devices, host

HERE = host.words()
ROOT = Path(__file__).parents[4]


def step(name: str = "train-kd", **params: Any) -> dict[str, Any]:
    return {"id": name, "backend": "torch", "params": params}


def record(spec: str = "mine", name: str = "train-kd", **components: str) -> dict[str, Any]:
    return {"action": "sha256:1", "spec": spec, "step": name, "gives": {}, "components": components}


def test_a_device_is_what_it_was_when_the_step_was_last_carried_out() -> None:
    history = History([record(**{"environment.cuda": "a card"}), record(**{"environment.cuda": "another card"})])
    words = devices.recorded(history, "mine")
    assert words(step(device="cuda")) == {**HERE, "cuda": "another card"}
    assert words(step(device="cpu")) == words(step()) == HERE


@pytest.mark.parametrize("words", [devices.words(), devices.recorded(History([]), "mine")])
def test_the_model_of_the_processor_counts_where_kernels_are_chosen_by_it(words: devices.Words) -> None:
    """Two processors of one maker with the same vectors need not find the same kernel faster, and sum in its order."""
    timed = {**HERE, "processor": host.model()}
    assert words(step(device="cpu", precision="fp32")) == timed
    for params in ({"device": "cpu"}, {"precision": "fp32"}, {"threads": 2}):
        assert words(step(**params)) == HERE
    assert "processor" not in devices.recorded(History([]), "mine")(step(device="cuda", precision="fp32"))


@pytest.mark.parametrize("name", [*host.timing()])
def test_a_time_is_of_the_machine_with_every_name_it_has(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A measurement is reused where nothing of the machine differs, and nowhere else; other steps do not care."""
    measured = {**step("benchmark-speed", device="cpu"), "kind": "benchmark@1"}
    there, other = devices.words()(measured), {**step(), "kind": "train@1"}
    before = devices.words()(other)
    known = {**host.timing(), name: "another"}
    monkeypatch.setattr(host, "timing", lambda: known)
    assert devices.words()(measured) == {**there, f"timing.{name}": "another"}
    assert devices.words()(other) == before


def test_what_gives_times_promises_nothing_and_is_taken_by_no_other_than_its_comparison() -> None:
    steps = [catalog.load("steps", name) for name in catalog.names("steps")]
    timed = [one for one in steps if one.timed]
    assert [(one.name, one.promise) for one in timed] == [("benchmark", "none")]
    assert {port.kind for port in timed[0].gives.values()} == {"report"}


def test_what_chooses_kernels_is_known_by_its_parameters() -> None:
    """`distill` carries out two steps and `recording` one; nothing else makes products by the kernel that the processor decides."""
    users = {
        path.stem for path in (ROOT / "runtime").rglob("*.py") if "runtime.train.linear import" in path.read_text()
    }
    assert users == {"distill", "recording"}
    steps = [catalog.load("steps", name) for name in catalog.names("steps")]
    having = {one.name for one in steps if {"device", "precision"} <= set(one.params.model_fields)}
    assert having == {"bootstrap", "record_signals", "train"}


def test_a_device_of_which_nothing_is_recorded_is_asked_at_apply() -> None:
    history = History([record(**{"environment.cuda": "a card"}), record("other", **{"environment.mps": "a GPU"})])
    words = devices.recorded(history, "mine")
    assert words(step(device="mps")) == {**HERE, "mps": devices.NOT_ASKED}
    assert words(step("evaluate", device="cuda")) == {**HERE, "cuda": devices.NOT_ASKED}


def test_a_backend_that_no_device_decides_anything_of_keeps_its_word() -> None:
    history = History([record(**{"environment.cuda": ""})])
    assert devices.recorded(history, "mine")(step(device="cuda")) == {**HERE, "cuda": ""}
