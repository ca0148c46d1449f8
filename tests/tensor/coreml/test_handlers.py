"""The table of keywords that coremltools' handlers read is what the installed handlers' source says."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import torch
from coremltools.converters.mil.frontend.torch import utils
from coremltools.converters.mil.frontend.torch.ops import _TORCH_OPS_REGISTRY

from runtime.models import handlers

HANDLERS: dict[str, Callable[..., Any]] = _TORCH_OPS_REGISTRY.name_to_func_mapping


def keywords(handler: Callable[..., Any], seen: tuple[Callable[..., Any], ...] = ()) -> set[str]:
    """What a handler asks `_get_kwinputs` for, itself or in a function that it hands its node to."""
    found: set[str] = set()
    around = inspect.getmodule(handler)
    for call in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(handler)))):
        assert not (isinstance(call, ast.Attribute) and call.attr == "kwinputs"), "reads them in another way"
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            continue
        if call.func.id == "_get_kwinputs":
            keyword = call.args[2]
            assert isinstance(keyword, ast.Constant), "a keyword that is computed"
            found.add(str(keyword.value))
            continue
        given = {one.id for one in (*call.args, *(word.value for word in call.keywords)) if isinstance(one, ast.Name)}
        other = getattr(around, call.func.id, None)
        if "node" in given and inspect.isfunction(other) and other not in (*seen, handler):
            found |= keywords(other, (*seen, handler))
    return found


def test_the_table_is_what_the_installed_handlers_read() -> None:
    read = {kind: frozenset(keywords(handler)) for kind, handler in HANDLERS.items()}
    assert {kind: words for kind, words in read.items() if words} == dict(handlers.READ)


def test_an_operator_is_looked_up_as_coremltools_does() -> None:
    aten = torch.ops.aten
    looked = 0
    for name in dir(aten):
        packet = getattr(aten, name)
        for overload in packet.overloads() if hasattr(packet, "overloads") else ():
            target = getattr(packet, overload)
            if "__" not in target.name():
                looked += 1
                assert handlers.kind_of(target.name()) == utils.sanitize_op_kind(target.name()), target.name()
    assert looked > 300
