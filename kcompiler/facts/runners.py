"""Section `evaluation.runners` → the further ways to ask, whose answers they give, and which suites they are asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kcompiler.facts.teacher import has_weights
from kcompiler.spec import Spec
from runtime import catalog
from runtime.contract import RunnerKind, Suite
from runtime.contract.hosted import is_first_token

#: the models of a plan that suites question under these names; the package is the student's
OWN = {**{name: name for name in ("teacher", "student", "ce_only", "random_init")}, "coreml": "student"}


@dataclass(frozen=True)
class Way:
    """One further runner. `of` is whose answers it gives, "" for a model of its own; `place` the file or folder that it
    asks, "" where it asks a model of the plan, or an address."""

    index: int
    name: str
    kind: RunnerKind
    params: Any
    of: str
    place: str

    @property
    def pointer(self) -> str:
        return f"/evaluation/runners/{self.index}"

    @property
    def from_plan(self) -> str:
        """Kind of the artifact that it answers with; "" where it asks something else."""
        return "" if self.place else self.kind.takes

    @property
    def asks(self) -> str:
        """Kind of what it asks, "" for an address or for nothing."""
        return self.kind.place_kind if self.place else self.kind.takes


def ways(spec: Spec) -> list[Way]:
    """The further runners, as they are written."""
    found = []
    for index, written in enumerate(spec.evaluation.runners):
        kind: RunnerKind = catalog.load("runners", written.use)
        place = kind.placed(written.params)
        plan = bool(kind.takes) and not place
        of = written.of or ("student" if plan else "")
        found.append(Way(index, written.called, kind, written.params, of, place))
    return found


def answers(way: Way, suite: Suite, params: Any = None) -> bool:
    """Whether a runner can be asked what a suite asks (under some params, when None). One that compares asks its own
    models together."""
    if suite.compare is not None or not way.kind.able(way.params).issuperset(suite.asks):
        return False
    return not by_first_tokens(way, suite) or in_a_word(suite, params)


def by_first_tokens(way: Way, suite: Suite) -> bool:
    """Whether a runner would tell a suite how likely first tokens are, and no more."""
    return bool(way.kind.scores_by) and "score" in set(suite.asks) - way.kind.can


def in_a_word(suite: Suite, params: Any = None) -> bool:
    """Whether first tokens tell what a suite asks: it asks for replies that can be such tokens."""
    return suite.replies is not None and (params is None or all(map(is_first_token, suite.replies(params))))


def asked(spec: Spec, suite: Any) -> list[Way]:
    """The further runners that a suite of the spec questions."""
    declared: Suite = catalog.load("suites", suite.use)
    if suite.runners is not None:
        return [way for way in ways(spec) if way.name in suite.runners]
    return [way for way in ways(spec) if answers(way, declared, suite.params)]


def own(spec: Spec, suite: Suite) -> list[str]:
    """The models of the plan that a suite questions."""
    teacher = ["teacher"] if has_weights(spec) else []
    return [*teacher, "student", *(name for name in spec.evaluation.baselines if name in suite.baselines), "coreml"]
