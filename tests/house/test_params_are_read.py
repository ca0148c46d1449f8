"""No step declares a parameter that its code never reads: the machine refuses such a step at its first complete run
(KR0106), after all its work was done. A model that inherits fields for somebody else is found here, before that.

Fields of the step's own model are looked for as `params.NAME`, those of models inside it as `.NAME`."""

import ast
import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import grimp
import pytest
from pydantic import BaseModel

from runtime import catalog
from runtime.contract import Step

GRAPH = grimp.build_graph("runtime", include_external_packages=False, exclude_type_checking_imports=True)
#: what hands out a whole model
WHOLE = {"model_dump", "model_dump_json"}


@cache
def read_in(module: str) -> tuple[frozenset[str], frozenset[str]]:
    """Attributes that a module reads: of something called params, and of anything."""
    own, any_ = set(), set()
    for node in ast.walk(ast.parse(Path(importlib.import_module(module).__file__ or "").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            any_.add(node.attr)
            name = node.value.id if isinstance(node.value, ast.Name) else getattr(node.value, "attr", "")
            if name.endswith("params"):
                own.add(node.attr)
    return frozenset(own), frozenset(any_)


def modules(step: Step) -> set[str]:
    """What carries it out, by whichever backend: what a server needs, who asks none does not read."""
    found = {step.run.__module__}
    for name in catalog.names("backends"):
        operation = catalog.load("backends", name).operations.get(step.name, "").partition(":")[0]
        found |= {operation, *GRAPH.find_upstream_modules(operation)} if operation else set()
    return found - {"runtime.machine.ledger"}


def inside(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from inside(part)


def below(model: type[BaseModel]) -> set[str]:
    """Fields of the models inside a model, however deep."""
    found: set[str] = set()
    for field in model.model_fields.values():
        for one in inside(field.annotation):
            found |= set(one.model_fields) | below(one)
    return found


def unread(step: Step, model: type[BaseModel]) -> set[str]:
    texts = [read_in(module) for module in modules(step)]
    own, any_ = (frozenset[str]().union(*(text[i] for text in texts)) for i in (0, 1))
    return set(model.model_fields) - own | (set() if own & WHOLE else below(model) - any_)


@pytest.mark.parametrize("name", catalog.names("steps"))
def test_every_parameter_of_a_step_is_read_by_its_code(name: str) -> None:
    step: Step = catalog.load("steps", name)
    assert unread(step, step.params) == set()


@pytest.mark.parametrize("name", catalog.names("steps"))
def test_a_parameter_too_many_is_found(name: str) -> None:
    step: Step = catalog.load("steps", name)
    more = type("More", (step.params,), {"__annotations__": {"that_nobody_reads": int}})
    assert unread(step, more) == {"that_nobody_reads"}
