"""Every comparison of what reads packs, binds reports, writes pins and compares vocabularies is noticed by its own tests.

The code of the functions is exchanged where they stand, so that nobody who imported them keeps the real ones, and the
tests of the module run as they always do.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import gc
import importlib
import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType

import pytest

from tests.unit.kcompiler.judge.mutants import Mutant, long, mutants

HERE = Path(__file__).parent
#: module → its tests
MODULES = {
    "kcompiler.audit.again": ("audit/test_again.py",),
    "kcompiler.audit.items": ("audit/test_items.py",),
    "kcompiler.pin": ("test_pin.py",),
    "kcompiler.policy.cel.check": ("policy/test_cel.py", "policy/test_assert.py"),
    "kcompiler.policy.cel.evaluate": ("policy/test_cel.py", "policy/test_assert.py"),
    "kcompiler.policy.kinds.assert": ("policy/test_assert.py", "policy/test_explained.py"),
    "kcompiler.policy.binding": ("judge/test_plans.py", "judge/test_binding.py", "policy/test_believed.py"),
    "kcompiler.policy.load": ("policy/test_load.py", "policy/test_assert.py", "policy/test_baseline.py"),
    "kcompiler.policy.oblige": ("policy/test_oblige.py", "policy/test_conditions.py"),
    "kcompiler.policy.rule": ("policy/test_load.py", "policy/test_oblige.py"),
    "kcompiler.policy.shape": ("policy/test_load.py", "policy/test_oblige.py", "policy/test_conditions.py"),
    "runtime.contract.vocabulary": ("../runtime/contract/test_vocabulary.py",),
}
LONG = (
    "kcompiler.pin",
    "runtime.contract.vocabulary",
    "kcompiler.audit.again",
    "kcompiler.audit.items",
    "kcompiler.policy.binding",
    "kcompiler.policy.cel.check",
    "kcompiler.policy.cel.evaluate",
    "kcompiler.policy.kinds.assert",
    "kcompiler.policy.load",
    "kcompiler.policy.oblige",
    "kcompiler.policy.rule",
    "kcompiler.policy.shape",
)
#: (module, mutant) that no behaviour can show, and why
UNNOTICEABLE: dict[tuple[str, str], str] = {
    ("kcompiler.policy.cel.evaluate", "left < 0 → left <= 0"): "the rest of zero is zero, whatever its sign",
}
SECONDS = 60


class _Hung(BaseException):
    """A mutant did not come to an end."""


def _ring(_signal: int, _frame: object) -> None:
    raise _Hung


def codes(code: CodeType) -> Iterator[CodeType]:
    """The code and all that is defined in it."""
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from codes(inner)


@contextlib.contextmanager
def exchanged(file: str, made: CodeType) -> Iterator[int]:
    """The functions that live now and come from `file` run as `made` has them; how many are other than before."""
    wanted = {(code.co_qualname, code.co_firstlineno): code for code in codes(made)}
    kept: list[tuple[FunctionType, CodeType]] = []
    for one in gc.get_objects():
        if isinstance(one, FunctionType) and one.__code__.co_filename == file:
            code = wanted.get((one.__code__.co_qualname, one.__code__.co_firstlineno))
            if code is not None and code != one.__code__:
                kept.append((one, one.__code__))
                one.__code__ = code
    try:
        yield len(kept)
    finally:
        for function, code in kept:
            function.__code__ = code
        forget()


def forget() -> None:
    """No answer is kept from another mutant."""
    for one in gc.get_objects():
        if isinstance(one, functools._lru_cache_wrapper) and one.__module__.startswith(("kcompiler", "runtime")):
            one.cache_clear()


def holds(tests: tuple[str, ...]) -> bool:
    """Whether the tests of these files pass; the first that does not ends them."""
    forget()
    files = [str(HERE / name) for name in tests]
    before = signal.signal(signal.SIGALRM, _ring)
    signal.alarm(SECONDS)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *files]) == 0
    except _Hung:
        return False
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def survives(file: str, mutant: Mutant, tests: tuple[str, ...]) -> bool:
    with exchanged(file, mutant.compiled(file)) as changed:
        return not changed or holds(tests)


def problems(module: str) -> list[str]:
    """What a module's tests leave unnoticed, and what is wrong with the question itself."""
    file = importlib.import_module(module).__file__
    assert file is not None
    if not holds(MODULES[module]):
        return ["the real module is not accepted"]
    found = [one for one in mutants(Path(file).read_text("utf-8")) if isinstance(one.child, ast.Compare)]
    asked = [one for one in found if (module, f"{one.was} → {one.now}") not in UNNOTICEABLE]
    wrong = [str(one) for one in asked if survives(file, one, MODULES[module])]
    if len(found) < 5:
        wrong.append(f"only {len(found)} comparisons were found")
    if len(found) - len(asked) != sum(name == module for name, _ in UNNOTICEABLE):
        wrong.append("what cannot be noticed is not in the text")
    return wrong


@pytest.mark.slow
@pytest.mark.parametrize("module", [long(one) if one in LONG else one for one in MODULES])
def test_no_turned_comparison_survives(module: str) -> None:
    """In a process of its own: each mutant ends a run of pytest, which collects all garbage, and the process of a whole
    test command has millions of objects to look through."""
    code = (
        f"import json; from tests.unit.kcompiler.test_turned import problems; print(json.dumps(problems({module!r})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=HERE.parents[2], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == []
