"""Specs whose diagnostics other tests pin: golden cases by every word, border cases by their codes.

What a family says of each of them is asked again for every mutant of that family, by its checks alone, which is fast.
"""

from __future__ import annotations

import importlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from kcompiler.checks import World
from kcompiler.source import Tree, load
from kcompiler.spec import Spec
from kcompiler.spec.parse import parse
from tests.unit.kcompiler.checks import test_borders
from tests.unit.kcompiler.checks.claims import source_of
from tests.unit.kcompiler.checks.laboratory import GOOD, ROOT

GOLDEN = ROOT / "tests/golden/validate"
#: cases with these need more than the checks: other distributions, composition, a made tree
_MORE = ("options.json", "plugins")


@dataclass(frozen=True)
class Case:
    """A spec that was understood. `words` says that every word about it is pinned, else its codes are."""

    name: str
    spec: Spec
    tree: Tree
    world: World
    words: bool

    def said(self, family: str) -> tuple[Any, ...]:
        """What the family's present module says of it, as far as that is pinned."""
        checks = importlib.import_module(f"kcompiler.checks.{family}").CHECKS
        found = [item for check in checks for item in check.ask(self.spec, self.tree, self.world)]
        return tuple(found) if self.words else tuple(sorted({item.code for item in found}))


def _case(name: str, text: bytes, folder: Path, words: bool) -> Case | None:
    tree, _ = load("spec.yaml", text)
    if tree is None or {"include", "profiles", "matrix"} & set(tree.data):
        return None
    try:
        spec = parse(tree).spec
    except Exception:  # a case about the form of a spec
        return None
    return spec and Case(name, spec, tree, World(folder, folder, (folder / "policies", ROOT / "policies")), words)


@cache
def cases(home: Path) -> tuple[Case, ...]:
    """Every case; those with files lie in copies below `home`."""
    return tuple(case for case in (*_goldens(home), *_borders(home)) if case is not None)


def _goldens(home: Path) -> Iterator[Case | None]:
    for path in sorted(GOLDEN.iterdir()):
        if any((path / more).exists() for more in _MORE) or not (path / "spec.yaml").is_file():
            continue
        folder = home / path.name
        shutil.copytree(path, folder)
        yield _case(path.name, (path / "spec.yaml").read_bytes(), folder, True)


def _borders(home: Path) -> Iterator[Case | None]:
    folder = home / "borders"
    folder.mkdir()
    (folder / test_borders.TOOLS).write_text(test_borders.TOOL, encoding="utf-8")
    for number, (code, *changes) in enumerate(test_borders.BORDERS):
        for side, change in zip(("wrong", "right"), changes, strict=True):
            data = yaml.safe_load(GOOD)
            change(data)
            text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True).encode()
            yield _case(f"{number}-{code}-{side}", text, folder, False)


def about(module: str, home: Path) -> tuple[list[Case], list[Case]]:
    """Every case: those named after a code of the module, and the others."""
    codes = set(re.findall(r"KC\d{4}", source_of(module)))
    near: list[Case] = []
    far: list[Case] = []
    for case in cases(home):
        (near if any(code in case.name for code in codes) else far).append(case)
    return near, far
