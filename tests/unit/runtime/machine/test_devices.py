"""Who compiles takes a device for what it was when the step was last carried out; nobody is asked."""

from __future__ import annotations

from typing import Any

from runtime.contract.keys import History
from runtime.machine import devices, host

HERE = host.words()


def step(name: str = "train-kd", **params: Any) -> dict[str, Any]:
    return {"id": name, "backend": "torch", "params": params}


def record(spec: str = "mine", name: str = "train-kd", **components: str) -> dict[str, Any]:
    return {"action": "sha256:1", "spec": spec, "step": name, "gives": {}, "components": components}


def test_a_device_is_what_it_was_when_the_step_was_last_carried_out() -> None:
    history = History([record(**{"environment.cuda": "a card"}), record(**{"environment.cuda": "another card"})])
    words = devices.recorded(history, "mine")
    assert words(step(device="cuda")) == {**HERE, "cuda": "another card"}
    assert words(step(device="cpu")) == words(step()) == HERE


def test_a_device_of_which_nothing_is_recorded_is_asked_at_apply() -> None:
    history = History([record(**{"environment.cuda": "a card"}), record("other", **{"environment.mps": "a GPU"})])
    words = devices.recorded(history, "mine")
    assert words(step(device="mps")) == {**HERE, "mps": devices.NOT_ASKED}
    assert words(step("evaluate", device="cuda")) == {**HERE, "cuda": devices.NOT_ASKED}


def test_a_backend_that_no_device_decides_anything_of_keeps_its_word() -> None:
    history = History([record(**{"environment.cuda": ""})])
    assert devices.recorded(history, "mine")(step(device="cuda")) == {**HERE, "cuda": ""}
