"""A model while it runs → the first of its modules that gives a number which is not finite."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(slots=True)
class Trace:
    """The name of that module, "" while there is none, and whether its own weights are to blame."""

    module: str = ""
    weights: bool = False

    @property
    def words(self) -> str:
        return f"from `{self.module}` on" + (", whose weights are not finite themselves" if self.weights else "")


def finite(value: Any) -> bool:
    """Whether every number in a tensor, or in whatever holds tensors, is finite."""
    if isinstance(value, Tensor):
        return not value.is_floating_point() or bool(torch.isfinite(value).all())
    if isinstance(value, dict):
        return all(finite(one) for one in value.values())
    return all(finite(one) for one in value) if isinstance(value, (list, tuple)) else True


@contextlib.contextmanager
def traced(model: nn.Module) -> Iterator[Trace]:
    """Within the context every module's output is looked at. A module ends after those inside it, so that the first
    one found is the innermost."""
    trace = Trace()

    def look(name: str, module: nn.Module, output: Any) -> None:
        if not trace.module and not finite(output):
            trace.module = name or type(module).__name__
            trace.weights = not all(finite(one.detach()) for one in module.parameters(recurse=False))

    hooks = [
        module.register_forward_hook(lambda module, _given, output, name=name: look(name, module, output))
        for name, module in model.named_modules()
    ]
    try:
        yield trace
    finally:
        for hook in hooks:
            hook.remove()


@contextlib.contextmanager
def ordered(model: nn.Module) -> Iterator[list[str]]:
    """Within the context: the names of the modules that ran, in the order in which they ended."""
    names: list[str] = []
    hooks = [
        module.register_forward_hook(lambda _module, _given, _output, name=name: names.append(name))
        for name, module in model.named_modules()
    ]
    try:
        yield names
    finally:
        for hook in hooks:
            hook.remove()


def named(names: list[str], most: int = 3) -> str:
    """The first few of some rows, and how many more."""
    shown = ", ".join(f"`{name}`" for name in names[:most])
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"row{'' if len(names) == 1 else 's'} {shown}{more}"
