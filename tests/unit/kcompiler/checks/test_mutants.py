"""Every comparison of every check, turned round or moved by one, is noticed: by a case that is pinned or by a claim."""

from __future__ import annotations

import ast
import importlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from kcompiler import checks
from tests.unit.kcompiler.checks import (
    test_corners,
    test_memory,
    test_order,
    test_recipe,
    test_roofline,
    test_statistics,
    test_toolchain,
)
from tests.unit.kcompiler.checks.claims import Claim, dependents, disagrees, long, modules, mutated, short, source_of
from tests.unit.kcompiler.checks.corpus import Case, about
from tests.unit.kcompiler.judge.mutants import Mutant, mutants
from tests.unit.kcompiler.test_tables import CHECKS as TABLE_CHECKS

Check = Callable[[], None]
_WHOLE = {
    "memory": test_memory,
    "order": test_order,
    "recipe": test_recipe,
    "roofline": test_roofline,
    "statistics": test_statistics,
    "toolchain": test_toolchain,
}
MODULES = [*modules(), "kcompiler.tables"]
#: comparisons that a module has at least, where that is not five: a runner that makes no mutants kills all of them
FEW = {
    "facts.paths": 1,
    "facts.lengths": 3,
    "facts.record": 2,
    "facts.rows": 4,
    "facts.models": 3,
    "facts.registry": 2,
    "facts.teacher": 4,
    "licences": 1,
    "names": 3,
    "secrets": 1,
}
#: (module, line of its text, mutant) that no behaviour can show, and why
UNNOTICEABLE: dict[tuple[str, str, str], str] = {
    ("facts.time", 'return f"{int(value):,} s" if value >= 10 else f"{int(value * 1000) / 1000:g} s"', "value >= 10 → value > 10"):
        "ten whole seconds read alike in both forms",
    ("dims", 'bound = f"at least {least:g}" if value < least else f"at most {most:g}"', "value < least → value <= least"):
        "a value at the bound is not told of at all",
    ("objectives", "if len(alive) > 1 and all(mine[i] > DOMINANT * rest[i] * (1 + 1e-9) for i in (0, 1)):",
     "mine[i] > DOMINANT * rest[i] * (1 + 1e-09) → mine[i] >= DOMINANT * rest[i] * (1 + 1e-09)"):
        "the bound is moved by a billionth, so that rounding decides nothing",
    ("objectives", "if course is None or step <= course.from_step:", "step <= course.from_step → step < course.from_step"):
        "the line starts at the weight",
    ("objectives", "if step >= course.until_step:", "step >= course.until_step → step > course.until_step"):
        "the line ends at `to`",
    ("tokens", 'elif text.index("{prompt}") > text.index("{response}"):',
     "text.index('{prompt}') > text.index('{response}') → text.index('{prompt}') >= text.index('{response}')"):
        "two texts do not begin at one place",
}  # fmt: skip


def families_of(module: str) -> list[str]:
    """The families whose words may change with a module: itself, and those that import it.

    The tables are asked by hand alone: claims lay other tables over them.
    """
    if module == "kcompiler.tables":
        return []
    names = [short(name) for name in (module, *dependents(module))]
    return [name for name in names if name in checks.families()]


def claims_of(module: str) -> list[tuple[str, Claim]]:
    found = []
    for family in families_of(module):
        found += [(family, claim) for claim in test_corners.CLAIMS.get(family, ())]
        found += [(family, claim) for claim in (_WHOLE[family].CLAIMS if family in _WHOLE else ())]
    return found


def arithmetic_of(module: str) -> list[Check]:
    """What is asked by hand of a module and of those that import it."""
    if module == "kcompiler.tables":
        return list(TABLE_CHECKS)
    names = [short(name) for name in (module, *dependents(module))]
    found: list[Check] = []
    for name in names:
        found += [*test_corners.ARITHMETIC.get(name, ()), *(_WHOLE[name].ARITHMETIC if name in _WHOLE else ())]
    return list(dict.fromkeys(found))


def comparisons(source: str) -> Iterator[Mutant]:
    """The mutants that change a comparison."""
    return (mutant for mutant in mutants(source) if isinstance(mutant.child, ast.Compare))


def noticed(claims: Iterable[tuple[str, Claim]], checks: Iterable[Check]) -> str:
    """The first claim or check that does not hold; empty when all do."""
    try:
        for check in checks:
            check()
        for family, claim in claims:
            with tempfile.TemporaryDirectory() as folder:
                wrong = disagrees(family, claim, Path(folder))
            if wrong:
                return wrong
    except Exception as error:  # a mutant may end in any way: each of them is noticed
        return f"{type(error).__name__}: {error}"
    return ""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("corpus")


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_no_turned_comparison_survives(module, home):
    source, claims, asked = source_of(module), claims_of(module), arithmetic_of(module)
    importlib.import_module(module)
    families = families_of(module)
    near, far = (
        [(case, family, case.said(family)) for case in cases for family in families] for cases in about(module, home)
    )

    def changed(pinned: Sequence[tuple[Case, str, tuple[Any, ...]]]) -> bool:
        try:
            return any(case.said(family) != said for case, family, said in pinned)
        except Exception:  # a mutant may end in any way: each of them is noticed
            return True

    with mutated(module, compile(source, module, "exec")):
        assert not changed([*near, *far]), "the real module says something else"
        assert noticed(claims, asked) == "", "the real module is not accepted"
    lines = source.splitlines()
    alive, made = [], 0
    for mutant in comparisons(source):
        made += 1
        if (short(module), lines[mutant.line - 1].strip(), f"{mutant.was} → {mutant.now}") in UNNOTICEABLE:
            continue
        try:
            with mutated(module, mutant.compiled(module)):
                # what is quick, and what is likely to notice, comes first
                if not (noticed((), asked) or changed(near) or noticed(claims, ()) or changed(far)):
                    alive.append(str(mutant))
        except Exception:  # it cannot even be imported
            continue
    assert not alive, "\n".join(alive)
    assert made >= FEW.get(short(module), 5)


def test_what_cannot_be_noticed_is_still_in_the_text():
    for name, line, _ in UNNOTICEABLE:
        assert line in source_of(long(name)), (name, line)
