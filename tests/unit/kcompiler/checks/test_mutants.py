"""Every comparison of the families over tables, turned round or moved by one, is noticed by a claim about it."""

from __future__ import annotations

import ast
import importlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tests.unit.kcompiler.checks import test_memory, test_order, test_roofline, test_statistics, test_toolchain
from tests.unit.kcompiler.checks.claims import Claim, disagrees, mutated, source_of
from tests.unit.kcompiler.judge.mutants import Mutant, mutants
from tests.unit.kcompiler.test_tables import CHECKS as TABLE_CHECKS

Check = Callable[[], None]
ABOUT: dict[str, tuple[list[tuple[str, Claim]], tuple[Check, ...]]] = {
    f"kcompiler.checks.{family}": ([(family, claim) for claim in module.CLAIMS], module.ARITHMETIC)
    for family, module in (
        ("memory", test_memory),
        ("roofline", test_roofline),
        ("statistics", test_statistics),
        ("toolchain", test_toolchain),
        ("order", test_order),
    )
}
ABOUT["kcompiler.checks._sizes"] = (
    [*ABOUT["kcompiler.checks.memory"][0], *ABOUT["kcompiler.checks.roofline"][0]],
    (*test_memory.ARITHMETIC, *test_roofline.ARITHMETIC, *test_toolchain.ARITHMETIC),
)
ABOUT["kcompiler.tables"] = ([], TABLE_CHECKS)
#: (module, line of its text, mutant) that no behaviour can show, and why
UNNOTICEABLE: dict[tuple[str, str, str], str] = {}


def comparisons(source: str) -> Iterator[Mutant]:
    """The mutants that change a comparison."""
    for mutant in mutants(source):
        try:
            tree = ast.parse(mutant.was, mode="eval")
        except SyntaxError:
            continue
        if isinstance(tree.body, ast.Compare):
            yield mutant


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


@pytest.mark.slow
@pytest.mark.parametrize("module", ABOUT)
def test_no_turned_comparison_survives(module):
    source, (claims, checks) = source_of(module), ABOUT[module]
    importlib.import_module(module)
    with mutated(module, compile(source, module, "exec")):
        assert noticed(claims, checks) == "", "the real module is not accepted"
    lines = source.splitlines()
    alive, made = [], 0
    for mutant in comparisons(source):
        made += 1
        if (module, lines[mutant.line - 1].strip(), f"{mutant.was} → {mutant.now}") in UNNOTICEABLE:
            continue
        try:
            with mutated(module, compile(mutant.tree, module, "exec")):
                if not noticed(claims, checks):
                    alive.append(str(mutant))
        except Exception:  # it cannot even be imported
            continue
    assert not alive, "\n".join(alive)
    assert made > 5, "a runner that makes no mutants kills all of them"
