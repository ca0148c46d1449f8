"""A text is read once: by its registry, in its forms, and only while it is short."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from runtime.contract import callforms, toolset
from runtime.data import called
from runtime.data.called import Item, item_of, judge

SAID = 'tool.call{"name":"pay","args":{"amount":5}}'


def item(most: int, **fields: Any) -> Item:
    tool: Mapping[str, Any] = {
        "name": "pay",
        "description": "",
        "parameters": {"type": "object", "properties": {"amount": {"type": "integer", "maximum": most}}},
    }
    row = {"id": "r", "prompt": "?", "response": SAID, **fields}
    return item_of(row, toolset.validators([tool]), {"pay": tool["parameters"]}, called.agreement.EXACT, fits=False)


def test_two_registries_are_two_even_for_one_text():
    for _ in range(2):
        assert [judge(SAID, item(most))["faults"] for most in (5, 4, 9)] == [[], ["value_refused"], []]


def test_one_text_is_another_thing_in_another_form():
    one = item(5)
    assert [judge(SAID, one, [form])["faults"] for form in ("native", "python", "native")] == [[], ["foreign_form"], []]


def test_a_text_is_read_once_for_all_that_is_asked_of_it(monkeypatch: pytest.MonkeyPatch):
    """Its row, itself as an answer, and a policy that always says it."""
    read, asked = callforms.read, list[str]()
    monkeypatch.setattr(callforms, "read", lambda text, *more: asked.append(text) or read(text, *more))
    once = SAID.replace("5", "3")
    one = item(5, response=once)
    assert judge(once, one)["right"]
    assert judge(once, one)["right"]
    assert asked == [once]


def test_what_is_remembered_has_a_bound():
    one = item(5)
    before = called._read.cache_info()
    for at in range(2 * before.maxsize):  # type: ignore[operator]
        judge(f"{SAID} {at}", one)
    for _ in range(2):
        assert judge(SAID + " " * called._LONGEST, one)["right"]
        assert judge(SAID.replace("5", "6") + " " * called._LONGEST, one)["faults"] == ["value_refused", "wrong_value"]
    after = called._read.cache_info()
    assert (after.currsize, after.misses - before.misses) == (before.maxsize, 2 * before.maxsize)  # type: ignore[operator]
