"""A mutated module → a judge that uses it, in fresh modules beside the real ones, and whether the claims notice."""

from __future__ import annotations

import importlib
import signal
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import kcompiler
from kcompiler.policy import kinds
from tests.unit.kcompiler.judge.samples import Claim, explains

# expressions are no part of a family: what a family imported first would hold on to its classes
importlib.import_module("kcompiler.policy.cel.vacuous")

EVERY_KIND = [f"kcompiler.policy.kinds.{name}" for name in kinds.names()]
#: an expression has tests of its own, which tests/unit/kcompiler/test_turned.py turns
KINDS = [name for name in EVERY_KIND if not name.endswith(".assert")]
BELOW = [
    f"kcompiler.policy.{name}" for name in ("path", "datum", "kind", "comparison", "obligation", "evidence", "believed")
]
ROOM = "kcompiler.policy.kinds"
JUDGE = "kcompiler.judge"
EVIDENCE, BELIEVED = "kcompiler.policy.evidence", "kcompiler.policy.believed"
#: of this process, not of a clock: whoever else computes beside it makes no module hang
SECONDS = 10

Judge = Callable[..., Any]
Probe = Callable[[Judge], bool]


def family(target: str) -> list[str]:
    """The modules that must be made anew around a mutant, so that nobody keeps the real one; in the order of arrows."""
    if target in (JUDGE, EVIDENCE, BELIEVED):
        return list(dict.fromkeys([target, JUDGE]))
    if target in KINDS:
        return [ROOM, target, JUDGE]
    return [*(name for name in BELOW if name not in (EVIDENCE, BELIEVED)), ROOM, *EVERY_KIND, JUDGE]


def source_of(module: str) -> Path:
    """The file of a module of the family."""
    path = Path(kcompiler.__file__).parents[1] / Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _code(module: str) -> CodeType:
    file = source_of(module)
    return compile(file.read_text(encoding="utf-8"), str(file), "exec")


class _Hung(BaseException):
    """A mutant did not come to an end."""


def _ring(_signal: int, _frame: FrameType | None) -> None:
    raise _Hung


@contextmanager
def _family(target: str, changed: CodeType) -> Iterator[Judge]:
    """The judge of a family in which `target` runs `changed`; afterwards the real modules are back."""
    names = family(target)
    kept = {name: sys.modules[name] for name in names if name in sys.modules}
    held = {(name.rpartition(".")[0], name.rpartition(".")[2]): module for name, module in kept.items()}
    try:
        # kinds.load imports by name, so all of them must stand in sys.modules before the judge asks
        for name in names:
            module = types.ModuleType(name)
            file = source_of(name)
            module.__file__ = str(file)
            if file.stem == "__init__":
                module.__path__ = [str(file.parent)]
            sys.modules[name] = module
            exec(changed if name == target else _code(name), module.__dict__)
            setattr(sys.modules[name.rpartition(".")[0]], name.rpartition(".")[2], module)
        yield sys.modules[JUDGE].judge
    finally:
        # what nobody had imported before must not stay: it holds on to the classes of this family
        for name in set(names) - set(kept):
            sys.modules.pop(name, None)
        sys.modules.update(kept)
        for (parent, child), module in held.items():
            setattr(sys.modules[parent], child, module)
        importlib.invalidate_caches()


def disagrees(judge: Judge, claim: Claim) -> bool:
    """Whether a judge says anything else than the claim."""
    verdict = judge(claim.reports, claim.obligations)
    if [outcome.outcome for outcome in verdict.outcomes] != list(claim.outcomes):
        return True
    if (verdict.verdict, verdict.exit_code) != claim.says:
        return True
    return bool(claim.first) and bool(explains(verdict.outcomes[0], claim.first))


def probes(claims: Iterable[Claim], checks: Iterable[Callable[[], None]] = ()) -> list[Probe]:
    """Claims, then checks, as questions whether a judge is noticed."""

    def claimed(claim: Claim) -> Probe:
        return lambda judge: disagrees(judge, claim)

    def checked(check: Callable[[], None]) -> Probe:
        # a check says by an exception that it does not hold
        return lambda _judge: check() is not None

    return [*map(claimed, claims), *map(checked, checks)]


def survives(target: str, changed: CodeType, asked: list[Probe]) -> bool:
    """Whether no claim and no check tells the mutant from the real module. The one that does is asked first about the
    next: mutants of one line are alike, and without this each of them is asked hundreds of claims in vain."""
    place = 0
    before = signal.signal(signal.SIGPROF, _ring)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with _family(target, changed) as judge:
            for place, probe in enumerate(asked):  # noqa: B007
                if probe(judge):
                    break
            else:
                return True
    except (Exception, _Hung):  # a mutant may end in any way: each of them is noticed
        pass
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    asked.insert(0, asked.pop(place))
    return False
