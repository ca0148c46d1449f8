"""Source of a module → every version of it with one small mistake: what a gate's tests must notice.

Comparisons are turned round and moved by one, `and` becomes `or`, checks are dropped or always taken, outcome words are
swapped, constants are changed, and statements whose value nobody takes are left out.
"""

from __future__ import annotations

import ast
import copy
import os
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any

import pytest

_COMPARE: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_WORDS = {
    "pass": "fail", "fail": "pass", "error": "pass", "not_evaluated": "pass", "inconclusive": "pass", "block": "warn",
    "measured": "estimated", "estimated": "measured", "unavailable": "measured",
}  # fmt: skip
_BINARY: dict[type[ast.operator], type[ast.operator]] = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add}


@dataclass(frozen=True)
class Mutant:
    """One wrong version of a module: `child`, somewhere in `tree`, replaced. Nothing is copied until it is asked for."""

    tree: ast.Module
    parent: ast.AST
    field: str
    index: int | None
    child: ast.AST
    replacement: ast.AST

    @property
    def line(self) -> int:
        return getattr(self.child, "lineno", 0)

    @property
    def was(self) -> str:
        return ast.unparse(self.child).split("\n")[0]

    @property
    def now(self) -> str:
        return ast.unparse(self.replacement).split("\n")[0]

    def compiled(self, module: str) -> CodeType:
        """The wrong version, to be run as `module`; the tree is as it was afterwards."""
        _put(self.parent, self.field, self.index, self.replacement)
        try:
            return compile(self.tree, module, "exec")
        finally:
            _put(self.parent, self.field, self.index, self.child)

    def __str__(self) -> str:
        return f"{self.line}: {self.was}  →  {self.now}"


def _expressions(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in place of an expression."""
    if isinstance(node, ast.Compare):
        for index, op in enumerate(node.ops):
            for other in _COMPARE[type(op)]:
                changed = copy.deepcopy(node)
                changed.ops[index] = other()
                yield changed
    elif isinstance(node, ast.BoolOp):
        changed_bool = copy.deepcopy(node)
        changed_bool.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield changed_bool
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield node.operand
    elif isinstance(node, ast.IfExp):
        yield node.body
        yield node.orelse
    elif isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        changed_bin = copy.deepcopy(node)
        changed_bin.op = _BINARY[type(node.op)]()
        yield changed_bin
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield ast.Constant(not node.value)
        elif isinstance(node.value, int):
            yield ast.Constant(node.value + 1)
        elif isinstance(node.value, str) and node.value in _WORDS:
            yield ast.Constant(_WORDS[node.value])


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in place of a statement."""
    if isinstance(node, ast.If):
        for truth in (True, False):
            changed = copy.deepcopy(node)
            changed.test = ast.Constant(truth)
            yield changed
    elif isinstance(node, ast.AugAssign) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield ast.Pass()


def _frozen(node: ast.AST) -> bool:
    """Parts without behaviour: annotations and imports are never entered."""
    return isinstance(node, ast.Import | ast.ImportFrom)


def _places(node: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """(parent, field, index or None, child) of every part that may be changed."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list") or (
            isinstance(node, ast.Subscript) and name == "slice" and _is_type(node)
        ):
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST) and not _frozen(child):
                yield node, name, index, child
                yield from _places(child)


def _is_type(node: ast.Subscript) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in ("Literal", "Annotated", "Callable", "tuple", "dict")


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of a module, in the order of the text."""
    tree = ast.parse(source)
    for parent, name, index, child in _places(tree):
        for maker in (_expressions, _statements):
            for replacement in maker(child):
                ast.fix_missing_locations(ast.copy_location(replacement, child))
                yield Mutant(tree, parent, name, index, child, replacement)


def _put(parent: ast.AST, name: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, name, node)
    else:
        getattr(parent, name)[index] = node


#: of the mutants of a module, every so many; all with KCOMPILER_MUTANTS=1 (tests/README.md)
STRIDE = 1 if "KCOMPILER_MUTANTS" in os.environ else 3


def long(module: str) -> Any:
    """A module whose mutants take ten seconds and more: they are asked by KCOMPILER_MUTANTS=1 (tests/README.md)."""
    unasked = "KCOMPILER_MUTANTS" not in os.environ
    return pytest.param(module, marks=pytest.mark.skipif(unasked, reason="many mutants: KCOMPILER_MUTANTS=1"))
