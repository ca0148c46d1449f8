"""Spec × tree × the files it names → what arithmetic and hashes can prove wrong.

One file per family, found by its file name. A family lists its checks in `CHECKS`, each with the sections it reads. A
check runs when those sections could be understood, whatever else is wrong with the spec, so that one run shows every
mistake.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from kcompiler.diagnostic import Diagnostic
from kcompiler.facts import World
from kcompiler.source import Tree
from kcompiler.spec import Spec

__all__ = ["Check", "World", "checks_of", "families", "run"]


class Check:
    """One question asked of a spec, and the sections it needs for an answer.

    `whole` says that it looks at the text of every section, understood or not.
    """

    def __init__(
        self, ask: Callable[[Spec, Tree, World], Iterable[Diagnostic]], *needs: str, whole: bool = False
    ) -> None:
        unknown = set(needs) - set(Spec.model_fields)
        if unknown or not needs:
            raise ValueError(f"no such sections: {sorted(unknown)}")
        self.ask, self.needs, self.whole = ask, frozenset(needs), whole

    def sees(self, varied: Collection[str]) -> bool:
        """Whether its answer may differ between two forms of a spec that differ in these sections."""
        return bool(varied) and (self.whole or not self.needs.isdisjoint(varied))


def families() -> list[str]:
    """Every family of checks, sorted."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")


def run(
    spec: Spec,
    tree: Tree,
    world: World,
    sections: Collection[str] | None = None,
    asked: Callable[[Check], bool] = lambda _check: True,
) -> list[Diagnostic]:
    """Every check that is `asked`, and whose sections are among `sections` (all of them by default)."""
    available = set(Spec.model_fields) if sections is None else set(sections)
    found: list[Diagnostic] = []
    for name in families():
        for check in checks_of(name):
            if check.needs <= available and asked(check):
                found += check.ask(spec, tree, world)
    return found


def checks_of(family: str) -> tuple[Check, ...]:
    """The checks of one family, in order."""
    found: tuple[Check, ...] = importlib.import_module(f"kcompiler.checks.{family}").CHECKS
    return found
