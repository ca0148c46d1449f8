"""A rule, its cases and a judge → which slips in the rule no case notices, and what would make one notice.

A threshold that nobody checks is a promise that nobody reads: a rule is as good as the slips in it that its cases find.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kcompiler.policy import cases
from kcompiler.policy.cases import Case, Decided, Judge
from kcompiler.policy.edges import Change, changes
from kcompiler.policy.load import LoadedRule
from kcompiler.policy.mutants import Mutant, of
from runtime.contract import report as contract

#: slips that more said of a case finds; of all others a report at the edge says more
_BY_WORDS = ("mode", "path", "how")
#: what a case can say besides its outcome, in the order in which it is asked
_SAID = ("blocks", "pointer", "matches", "threshold", "observed")
#: changed reports that are no evidence, before all of a rule's are given up: numbers that follow from each other
_REFUSED = 16


@dataclass(frozen=True, kw_only=True)
class Lived:
    """A mutant that every case lets through, and the case that would not: the name of its file and what it would say
    (a case that is there says more in `expect`). Without `case` none was found by changing one datum."""

    mutant: Mutant
    name: str = ""
    case: Mapping[str, Any] | None = None

    @property
    def asked(self) -> bool:
        """Whether a blocking rule's cases must notice it: most always, the others where a case was found that would."""
        return self.mutant.asked or self.case is not None


@dataclass(frozen=True, kw_only=True)
class Score:
    """How many slips there are, and those that nothing noticed."""

    mutants: int
    lived: Sequence[Lived]


@dataclass(frozen=True)
class _Ready:
    """A case with its report as bytes, so that the judge reads it once."""

    case: Case
    reports: Mapping[str, bytes]
    obligation: Mapping[str, Any]

    def judged(self, judge: Judge, change: Mapping[str, Any] | None = None) -> Decided:
        return judge(self.reports, [{**self.obligation, **(change or {})}]).outcomes[0]

    def notices(self, mutant: Mutant, judge: Judge) -> bool:
        return bool(self.case.expect.unmet(self.judged(judge, mutant.change)))


def _ready(loaded: LoadedRule, case: Case) -> _Ready:
    reports = {step: contract.dump(one).encode() for step, one in cases.given(case).items()}
    return _Ready(case, reports, cases.obligation(loaded, case))


def scored(
    loaded: LoadedRule, judge: Judge, *, killers: bool = True, only: Callable[[Mutant], bool] = lambda _: True
) -> Score:
    """The mutants of a rule (or `only` some) against all of its cases. Raises ValueError or OSError for a case that
    cannot be read."""
    every = {name: _ready(loaded, cases.read(loaded.folder / f"{name}.json")) for name in cases.names(loaded)}
    made = [one for one in of(loaded, every["pass"].case.report) if only(one)]
    lived = [one for one in made if not any(ready.notices(one, judge) for ready in every.values())]
    if not killers:
        return Score(mutants=len(made), lived=[Lived(mutant=one) for one in lived])
    search = _Search(loaded, every, judge)
    return Score(mutants=len(made), lived=[search.killed(one) for one in lived])


@dataclass(frozen=True)
class _Trial:
    """The passing case with a changed report, and what the rule says of it."""

    change: Change
    ready: _Ready
    right: Decided


class _Search:
    """What the cases of one rule would have to say so that they notice; each finding serves the next mutants, too."""

    def __init__(self, loaded: LoadedRule, every: Mapping[str, _Ready], judge: Judge) -> None:
        self.loaded, self.every, self.judge = loaded, dict(every), judge
        self.new: dict[str, dict[str, Any]] = {}
        self._trials: list[_Trial] | None = None

    def killed(self, mutant: Mutant) -> Lived:
        for name in self.new:
            if self.every[name].notices(mutant, self.judge):
                return Lived(mutant=mutant, name=name, case=self.new[name])
        ways = (self._said, self._edge) if mutant.sort in _BY_WORDS else (self._edge, self._said)
        return next((found for way in ways if (found := way(mutant)) is not None), Lived(mutant=mutant))

    def _said(self, mutant: Mutant) -> Lived | None:
        for key in _SAID:
            for name, ready in sorted(self.every.items()):
                if getattr(ready.case.expect, key) is not None or (key == "blocks" and not name.startswith("fail")):
                    continue
                right, other = ready.judged(self.judge), ready.judged(self.judge, mutant.change)
                if getattr(right, key) != getattr(other, key):
                    more = ready.case.expect.model_copy(update={key: getattr(right, key)})
                    return self._found(mutant, name, ready, {"expect": more.model_dump(exclude_none=True)})
        return None

    def _edge(self, mutant: Mutant) -> Lived | None:
        if self._trials is None:
            self._trials = list(self._tries())
        for trial in self._trials:
            if trial.ready.judged(self.judge, mutant.change).outcome != trial.right.outcome:
                return self._found(mutant, self._name(trial.right.outcome, mutant), trial.ready, _told(trial))
        return None

    def _found(self, mutant: Mutant, name: str, ready: _Ready, case: dict[str, Any]) -> Lived:
        """The finding as a case that is there from now on."""
        wanted = cases.Wanted.model_validate(case["expect"])
        self.every[name] = _Ready(ready.case.model_copy(update={"expect": wanted}), ready.reports, ready.obligation)
        self.new[name] = {**self.new.get(name, {}), **case}
        return Lived(mutant=mutant, name=name, case=self.new[name])

    def _name(self, outcome: str, mutant: Mutant) -> str:
        word = outcome if outcome in ("pass", "fail") else "missing"
        about = "edge" if mutant.sort in ("operator", "threshold", "on") else mutant.sort.replace("_", "-")
        names = (f"{word}-{about}", *(f"{word}-{about}-{number}" for number in range(2, 1000)))
        return next(name for name in names if name not in self.every)

    def _tries(self) -> Iterator[_Trial]:
        """Those changes of the passing case that leave it evidence."""
        whole, refused = self.every["pass"].case, 0
        if whole.report is None:
            return
        for change in changes(self.loaded, whole):
            report = copy.deepcopy(whole.report)
            cases.apply(report, change.change, change.remove)
            ready = _ready(self.loaded, whole.model_copy(update={"report": report}))
            right = ready.judged(self.judge)
            if "is no evidence" not in right.reason:
                refused = -(10**6)
                yield _Trial(change, ready, right)
                continue
            refused += 1
            if refused == _REFUSED:
                return


def _told(trial: _Trial) -> dict[str, Any]:
    """A changed report as a case file tells it."""
    change = trial.change
    made: dict[str, Any] = {"expect": {"outcome": trial.right.outcome}}
    return {
        **made,
        **({"change": change.change} if change.change else {}),
        **({"remove": change.remove} if change.remove else {}),
    }


def write(loaded: LoadedRule, lived: Sequence[Lived]) -> list[str]:
    """Writes what was found into the rule's folder: further cases, and more in the `expect` of those that are there;
    nothing that a case says is replaced. Returns the names of the files. Raises OSError."""
    every = {one.name: one.case for one in lived if one.case is not None}
    for name, case in every.items():
        file = loaded.folder / f"{name}.json"
        if not file.exists():
            file.write_text(cases.text(case), encoding="utf-8")
        else:
            file.write_text(cases.expecting(file.read_text(encoding="utf-8"), case["expect"]), encoding="utf-8")
    return sorted(every)
