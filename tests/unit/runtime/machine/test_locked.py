from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.contract import Refusal
from runtime.machine.apply import apply
from runtime.machine.locked import check
from tests.unit.runtime.machinery import approve, chain

CASES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another format": (lambda lock: lock["lock"].update(format="2.0"), "has format 2.0"),
    "another key scheme": (lambda lock: lock["lock"].update(key_scheme="k1"), "key scheme k1"),
    "another hash": (lambda lock: lock["lock"].update(hash="md5"), "hash md5"),
    "no header": (lambda lock: lock.pop("lock"), "lock: Field required"),
    "no steps": (lambda lock: lock.update(steps=[]), "steps: List should have at least 1 item"),
    "steps not a list": (lambda lock: lock.update(steps={}), "steps: Input should be a valid list"),
    "a step twice": (lambda lock: lock["steps"].append(lock["steps"][0]), "two steps are called `make`"),
    "a reserved name": (lambda lock: lock["steps"][0].update(id="apply"), "or the name is reserved"),
    "a name that is a path": (lambda lock: lock["steps"][0].update(id="../x"), r"steps\.0\.id"),
    "a spec name that is a path": (lambda lock: lock["asked"].update(name="a/b"), r"asked\.name"),
    "steps in the wrong order": (
        lambda lock: lock["steps"].append(lock["steps"].pop(0)), "which no earlier step or input supplies",
    ),
    "an unknown input": (
        lambda lock: lock["steps"][0].update(takes={"file": "input:nothing"}), "takes `input:nothing`",
    ),
    "an unknown output": (
        lambda lock: lock["steps"][1].update(takes={"dataset": "step:make#other"}), "takes `step:make#other`",
    ),
    "no reference": (lambda lock: lock["steps"][1].update(takes={"dataset": "make"}), "not a reference"),
    "after an unknown step": (lambda lock: lock["steps"][3].update(after=["x"]), "comes after `x`"),
    "an unknown kind": (
        lambda lock: lock["steps"][0].update(gives={"dataset": {"kind": "pickle"}}), "unknown kind `pickle`",
    ),
    "nothing given": (lambda lock: lock["steps"][0].update(gives={}), r"steps\.0\.gives"),
    "a digest that is none": (
        lambda lock: lock["inputs"].append({"name": "x", "path": "x", "kind": "file", "digest": "md5:1", "bytes": 1}),
        r"inputs\.0\.digest",
    ),
    "a step kind without version": (lambda lock: lock["steps"][0].update(kind="toy_make"), r"steps\.0\.kind"),
    "a negative seed": (lambda lock: lock["steps"][0].update(seed="-1"), r"steps\.0\.seed"),
    "an unknown room": (lambda lock: lock["plugins"][0].update(room="rooms"), r"plugins\.0\.room"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_lock_that_cannot_be_walked_is_refused_before_anything_starts(root: Path, case: str) -> None:
    change, message = CASES[case]
    content = copy.deepcopy(chain(root))
    check(content)
    change(content)
    with pytest.raises(Refusal, match=message) as caught:
        apply(content, root=root, judge=approve)
    assert (caught.value.code, caught.value.place) == ("KR0101", "plan.lock")
    assert not (root / ".kcompiler").exists()


def test_unknown_keys_of_the_same_format_are_for_others(root: Path) -> None:
    check({**chain(root), "obligations": [{"rule": "x"}], "new_section": {}})
