"""A locked step → what an action key knows of the machine and of the devices that the step asks for.

Of a step that chooses kernels by the model of the processor the key knows that model, too: two of one maker and with
the same vectors need not choose alike. Of a step that gives times it knows everything of the machine that has a name.

Devices are asked of the step's backend, whose toolchain alone can tell: it is imported for a step that names a device
beside the CPU, and for no other.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from runtime import catalog
from runtime.contract import Refusal
from runtime.contract.keys import History
from runtime.contract.placing import chooses_kernels, devices_of
from runtime.machine import host

Words = Callable[[Mapping[str, Any]], Mapping[str, str]]
#: what stands in a key, of which nothing can be carried out, for a device that is not here
NOT_HERE = "not here"
#: the same, for a device that nobody has asked for yet
NOT_ASKED = "asked at apply"


def words() -> Words:
    """The words of this machine for any step of a lock."""
    here = _here()
    return lambda step: {**here(step), **{name: _words(step["backend"], name) for name in devices_of(step["params"])}}


def recorded(history: History, spec: str) -> Words:
    """The same for those who compile, and load no toolchain: a device is taken for what it was when the step was last
    carried out. Whether it still is, is seen at apply."""
    here = _here()

    def of(step: Mapping[str, Any]) -> Mapping[str, str]:
        last = history.last(spec, str(step["id"])) or {}
        known = last.get("components", {})
        return {
            **here(step),
            **{name: known.get(f"environment.{name}", NOT_ASKED) for name in devices_of(step["params"])},
        }

    return of


def _here() -> Words:
    """The words of the processor for any step."""
    here, model, timing = host.words(), host.model(), host.timing()

    def of(step: Mapping[str, Any]) -> Mapping[str, str]:
        if _measures(step):
            return {**here, **{f"timing.{name}": value for name, value in timing.items()}}
        return {**here, "processor": model} if chooses_kernels(step["params"]) else here

    return of


def _measures(step: Mapping[str, Any]) -> bool:
    """Whether what a step gives are times."""
    name = str(step.get("kind", "")).partition("@")[0]
    return name in catalog.names("steps") and bool(catalog.load("steps", name).timed)


def require(steps: Iterable[Mapping[str, Any]]) -> None:
    """Raises Refusal for the first device of these steps that is not on this machine."""
    for step in steps:
        for name in devices_of(step["params"]):
            found = _asked(str(step["backend"]), name)
            if isinstance(found, Refusal):
                raise found


def _words(backend: str, name: str) -> str:
    found = _asked(backend, name)
    return NOT_HERE if isinstance(found, Refusal) else found


@cache
def _asked(backend: str, name: str) -> str | Refusal:
    module, _, function = str(catalog.load("backends", backend).devices).partition(":")
    if not function:
        # of a backend that has none (it forges, or computes nothing) no device decides anything
        return ""
    try:
        return str(getattr(importlib.import_module(module), function)(name))
    except ModuleNotFoundError:
        return Refusal(
            f"models are to run on `{name}`, and the toolchain that could tell is not installed",
            place="execution.device",
            action="install it: pip install '.[run]'",
            code="KR0123",
        )
    except Refusal as refusal:
        return refusal
