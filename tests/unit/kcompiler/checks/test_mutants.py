"""Every comparison of every check, turned round or moved by one, is noticed: by a case that is pinned or by a claim."""

from __future__ import annotations

import ast
import functools
import importlib
import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kcompiler import checks
from tests.unit.kcompiler.checks import (
    test_chunks,
    test_corners,
    test_expanded,
    test_goldens,
    test_heads,
    test_layers,
    test_memory,
    test_order,
    test_recipe,
    test_roofline,
    test_runners,
    test_speed,
    test_statistics,
    test_storing,
    test_toolchain,
)
from tests.unit.kcompiler.checks.claims import Claim, dependents, disagrees, long, modules, mutated, short, source_of
from tests.unit.kcompiler.checks.corpus import Case, about
from tests.unit.kcompiler.judge.mutants import STRIDE, Mutant, mutants
from tests.unit.kcompiler.judge.mutants import long as asked_for
from tests.unit.kcompiler.test_tables import CHECKS as TABLE_CHECKS

Check = Callable[[], None]
_WHOLE = {
    "chunks": test_chunks,
    "facts.chunks": test_chunks,
    "goldens": test_goldens,
    "heads": test_heads,
    "layers": test_layers,
    "facts.layers": test_layers,
    "memory": test_memory,
    "order": test_order,
    "recipe": test_recipe,
    "roofline": test_roofline,
    "runners": test_runners,
    "speed": test_speed,
    "statistics": test_statistics,
    "storing": test_storing,
    "tokens": test_expanded,
    "toolchain": test_toolchain,
}
MODULES = [*modules(), "kcompiler.tables"]
#: comparisons that a module has at least, where that is not five: a runner that makes no mutants kills all of them
FEW = {
    "chunks": 4,
    "device": 2,
    "fixtures": 4,
    "heads": 2,
    "facts.paths": 1,
    "facts.placing": 4,
    "facts.lengths": 3,
    "facts.record": 2,
    "facts.rows": 4,
    "facts.models": 3,
    "facts.registry": 2,
    "facts.teacher": 4,
    "licences": 1,
    "readiness": 2,
    "names": 3,
    "secrets": 1,
    "facts.ruling": 4,
    "facts.speed": 2,
}
#: (module, line of its text, mutant) that no behaviour can show, and why
UNNOTICEABLE: dict[tuple[str, str, str], str] = {
    ("tokens", "if spec.tokenizer.expand and width < spec.tokenizer.vocab_size",
     "width < spec.tokenizer.vocab_size → width <= spec.tokenizer.vocab_size"):
        "where the two are equal nothing is wrong, and nothing is said",
    ("signals",
     'able = [name for name in catalog.names("teachers") if set(missing) <= _usable("teachers", name, "signals")]',
     "set(missing) <= _usable('teachers', name, 'signals') → set(missing) < _usable('teachers', name, 'signals')"):
        "no loss needs all that a source gives",
    ("goldens", "narrow = next((one for one in filled if _filled(spec, [short, *others], short) < one[1]), None)",
     "_filled(spec, [short, *others], short) < one[1] → _filled(spec, [short, *others], short) <= one[1]"):
        "(prompts + 1) · length + 3 is never the twenty that every pack asks",
    ("goldens", "longer = next(at for at in range(short, short + most + 1) if _filled(spec, [at, *others], at) >= most)",
     "_filled(spec, [at, *others], at) >= most → _filled(spec, [at, *others], at) > most"):
        "the same",
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


def broken(family: str, claim: Claim) -> bool:
    """Whether a claim does not hold."""
    with tempfile.TemporaryDirectory() as folder:
        return bool(disagrees(family, claim, Path(folder)))


def fails(check: Check) -> bool:
    """False; raises where a check that is asked by hand does not hold."""
    check()
    return False


def differs(case: Case, family: str) -> bool:
    """Whether the present module says something else of a case than the real one."""
    return case.said(family) != real(case, family)


#: (case, family) → what the real module says of it; asked before anything is mutated, once for all modules
_SAID: dict[tuple[int, str], tuple[Any, ...]] = {}


def real(case: Case, family: str) -> tuple[Any, ...]:
    key = (id(case), family)
    if key not in _SAID:
        _SAID[key] = case.said(family)
    return _SAID[key]


def noticed(probes: list[Callable[[], bool]]) -> bool:
    """Whether any probe sees a mutant. The one that does is asked first about the next: mutants of one line are alike."""
    for place, probe in enumerate(probes):
        try:
            seen = probe()
        except Exception:  # a mutant may end in any way: each of them is noticed
            seen = True
        if seen:
            probes.insert(0, probes.pop(place))
            return True
    return False


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("corpus")


#: modules whose mutants many claims are asked about
MANY = {
    "authoring",
    "facts.models",
    "facts.paths",
    "facts.registry",
    "facts.rows",
    "facts.teacher",
    "facts.weights",
    "goldens",
    "statistics",
    "references",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "module", [asked_for(one) if short(one) in MANY or at % STRIDE else one for at, one in enumerate(MODULES)]
)
def test_no_turned_comparison_survives(module, home):
    source, families = source_of(module), families_of(module)
    importlib.import_module(module)
    near, far = about(module, home)
    for case, family in itertools.product([*near, *far], families):
        real(case, family)
    # what is quick, and what is likely to notice, comes first
    probes: list[Callable[[], bool]] = [
        *(functools.partial(fails, check) for check in arithmetic_of(module)),
        *(functools.partial(differs, case, family) for case in near for family in families),
        *(functools.partial(broken, family, claim) for family, claim in claims_of(module)),
        *(functools.partial(differs, case, family) for case in far for family in families),
    ]
    with mutated(module, compile(source, module, "exec")):
        assert not noticed(probes), f"the real module is not accepted: {probes[0]}"
    lines = source.splitlines()
    alive, made = [], 0
    for mutant in comparisons(source):
        made += 1
        if (short(module), lines[mutant.line - 1].strip(), f"{mutant.was} → {mutant.now}") in UNNOTICEABLE:
            continue
        try:
            with mutated(module, mutant.compiled(module)):
                if not noticed(probes):
                    alive.append(str(mutant))
        except Exception:  # it cannot even be imported
            continue
    assert not alive, "\n".join(alive)
    assert made >= FEW.get(short(module), 5)


def test_what_cannot_be_noticed_is_still_in_the_text():
    for name, line, _ in UNNOTICEABLE:
        assert line in source_of(long(name)), (name, line)
