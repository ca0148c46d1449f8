"""A rule's folder → does the rule decide its own passing, failing and missing-data case as they say?

`pass.json` is `{"report": …, "given": …, "expect": {"outcome": "pass"}}`: a report as a step would write it, and what
the plan would have resolved for the rule. `fail.json` and `missing.json` are the same, or say only what differs:
`change` (JSON pointer → value) and `remove` in the report of pass.json; `report: null` means that none was given. With
`like`, a case of another rule, by its path from this one, takes the place of pass.json: rules of several packs about
one report need it once.
Further cases are called after what they expect: `pass-edge.json`, `fail-of-package.json`. The same judge decides as in
apply and gate: kyverno's test command and its enforcement once disagreed (#7956).
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pydantic import Field, ValidationError

from kcompiler.policy import kinds
from kcompiler.policy.kind import Closed
from kcompiler.policy.load import LoadedRule
from kcompiler.policy.obligation import first_problem
from kcompiler.policy.oblige import timing
from runtime.contract import strict_json

CASES: Mapping[str, frozenset[str]] = {
    "pass": frozenset({"pass"}),
    "fail": frozenset({"fail"}),
    "missing": frozenset({"not_evaluated", "inconclusive", "error"}),
}


class Decided(Protocol):
    """What a case looks at in an outcome."""

    @property
    def outcome(self) -> str: ...
    @property
    def pointer(self) -> str: ...
    @property
    def matches(self) -> int: ...
    @property
    def reason(self) -> str: ...
    @property
    def blocks(self) -> bool: ...
    @property
    def observed(self) -> str: ...
    @property
    def threshold(self) -> str: ...
    @property
    def distance(self) -> str: ...


class Judgement(Protocol):
    """What a case looks at in a verdict."""

    @property
    def outcomes(self) -> Sequence[Decided]: ...


Judge = Callable[[Mapping[str, Any], Sequence[Mapping[str, Any]]], Judgement]


class Wanted(Closed):
    """The outcome a case must have and whether it blocks; where it must be found, at how many places the rule must have
    looked, what it must have seen there and what it must have asked."""

    outcome: str
    blocks: bool | None = None
    pointer: str | None = None
    matches: int | None = None
    observed: str | None = None
    threshold: str | None = None

    def unmet(self, found: Decided) -> str:
        """How an outcome differs from what is wanted; "" when it does not."""
        if found.outcome != self.outcome:
            return f"expected {self.outcome}, got {found.outcome}: {found.reason}"
        for name, said in (("pointer", "it at {}"), ("matches", "{} places"), ("observed", "{} to be seen")):
            asked, got = getattr(self, name), getattr(found, name)
            if asked is not None and asked != got:
                return f"expected {said.format(asked)}, got {got}"
        if self.threshold is not None and self.threshold != found.threshold:
            return f"expected that {self.threshold} is asked, and it is {found.threshold}"
        if self.blocks is not None and self.blocks != found.blocks:
            return f"expected that it {'blocks' if self.blocks else 'does not block'}, and it is the other way round"
        return ""


class Case(Closed):
    """One case file. Without `report`, it is the report of pass.json, or of the case `like`, with `change` and `remove`
    applied."""

    report: dict[str, Any] | None = None
    like: str = Field(default="", pattern=r"^((\.\./)+[a-z0-9-]+(/[a-z0-9-]+)*/[a-z0-9-]+\.json)?$")
    given: Any = None
    change: dict[str, Any] = Field(default_factory=dict)
    remove: list[str] = Field(default_factory=list)
    expect: Wanted

    @property
    def differs(self) -> bool:
        """Whether the case is told by its difference from another."""
        return "report" not in self.model_fields_set


def _parsed(file: Path) -> Case:
    try:
        return Case.model_validate(strict_json.loads(file.read_bytes()))
    except ValidationError as error:
        raise ValueError(f"{file.name}: {first_problem(error)}") from None


def apply(report: Any, change: Mapping[str, Any], remove: Sequence[str]) -> None:
    """Changes a report in place. Raises ValueError where a pointer leads nowhere."""
    try:
        for pointer, value in change.items():
            container, key = _place(report, pointer)
            container[key] = value
        for pointer in remove:
            container, key = _place(report, pointer)
            del container[key]
    except (LookupError, TypeError, ValueError):
        raise ValueError(f"{pointer} leads nowhere") from None


def _place(report: Any, pointer: str) -> tuple[Any, str | int]:
    """The container that a JSON pointer leads to, and the key or index in it. Raises ValueError."""
    *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    for part in parents:
        report = report[int(part)] if isinstance(report, list) else report[part]
    return report, int(last) if isinstance(report, list) else last


def read(file: Path) -> Case:
    """The case in a file, its report complete. Raises ValueError when it is not strict JSON or not a case, or when a
    pointer, or what it is like, leads nowhere; OSError when it cannot be read."""
    return _whole(file, ())


def _whole(file: Path, above: tuple[Path, ...]) -> Case:
    """`above` are the cases that led here."""
    case = _parsed(file)
    if not case.differs:
        if case.like:
            raise ValueError(f"{file.name}: it has a report, and is `like` another")
        return case
    base = file.parent / (case.like or "pass.json")
    if base.resolve() in (file.resolve(), *above):
        raise ValueError(f"{file.name}: it is told by its difference from itself")
    if not (base.parent / "rule.yaml").is_file():
        raise ValueError(f"{file.name}: `{case.like}` is no case of a rule")
    whole = _whole(base, (*above, file.resolve()))
    report = copy.deepcopy(whole.report)
    try:
        apply(report, case.change, case.remove)
    except ValueError as error:
        raise ValueError(f"{file.name}: {error} in the report of {case.like or 'pass.json'}") from None
    given = case.given if "given" in case.model_fields_set else whole.given
    return case.model_copy(update={"report": report, "given": given})


def _expected(loaded: LoadedRule, case: Case) -> Any:
    """What the plan would have resolved: what the case says, or what lies beside the rule."""
    pinned = kinds.load(loaded.rule.kind).pinned
    if pinned is None or case.given is not None:
        return copy.deepcopy(case.given)
    return pinned(loaded.params, loaded.folder, loaded.rule.on)


def obligation(loaded: LoadedRule, case: Case) -> dict[str, Any]:
    """The obligation this rule would become for the step and report kind of the case."""
    report = case.report or {}
    kind = str(report.get("kind", loaded.rule.on.replace("*", "any").removeprefix(".")))
    return {
        "rule": loaded.name,
        "pack": "case@1",
        "title": loaded.rule.title,
        "mode": loaded.rule.mode,
        "reason": loaded.rule.reason,
        "report": kind,
        "from": f"step:{report.get('step', 'nobody')}",
        "kind": loaded.kind,
        "params": loaded.params.model_dump(mode="json", by_alias=True),
        "expect": _expected(loaded, case),
        "remedy": loaded.rule.remedy,
        # as where it blocks: a rule of phase release is decided where something is handed over
        **{key: value for key, value in timing(loaded.rule).items() if key != "phase"},
    }


_NAMED = re.compile(r"(pass|fail|missing)(-[a-z0-9]+)*")


def names(loaded: LoadedRule) -> list[str]:
    """The cases in a rule's folder: the three that every rule has, then further ones; a baseline that the rule pins is
    none. Raises ValueError for another JSON file whose name does not say what it expects."""
    further = []
    pinned = getattr(getattr(loaded.params, "baseline", None), "file", None)
    for file in sorted(loaded.folder.glob("*.json")):
        if file.stem in CASES or file.name == pinned:
            continue
        if not _NAMED.fullmatch(file.stem):
            raise ValueError(f"{file.name} is no case: call it after what it expects, such as pass-{file.name}")
        further.append(file.stem)
    return [*CASES, *further]


def check(loaded: LoadedRule, judge: Judge) -> list[str]:
    """Every way in which the rule and its cases disagree, as `<rule>/<case>.json: …`; empty when there is none."""
    found: list[str] = []
    try:
        every = names(loaded)
    except ValueError as error:
        return [f"{loaded.name}: {error}"]
    for name in every:
        place = f"{loaded.name}/{name}.json"
        try:
            case = read(loaded.folder / f"{name}.json")
        except FileNotFoundError:
            found.append(f"{place}: there is no such case")
            continue
        except OSError as error:
            found.append(f"{place}: {error.strerror or error}")
            continue
        except ValueError as error:
            found.append(f"{place}: {error}")
            continue
        if case.expect.outcome not in CASES[name.partition("-")[0]]:
            found.append(f"{place}: a case of this name does not expect `{case.expect.outcome}`")
        elif unmet := case.expect.unmet(judge(given(case), [obligation(loaded, case)]).outcomes[0]):
            found.append(f"{place}: {unmet}")
    return found


def given(case: Case) -> dict[str, Any]:
    """The reports of a case, by the step that made them."""
    return {} if case.report is None else {str(case.report.get("step")): case.report}


def text(case: Mapping[str, Any]) -> str:
    """A case as its file: a line for what is expected, a line for each change."""
    lines = [f' "expect": {json.dumps(case["expect"], ensure_ascii=False)}']
    if case.get("like"):
        lines.append(f' "like": {json.dumps(case["like"])}')
    if case.get("change"):
        inner = [
            f"  {json.dumps(pointer)}: {json.dumps(value, ensure_ascii=False)}"
            for pointer, value in case["change"].items()
        ]
        lines.append(' "change": {\n' + ",\n".join(inner) + "\n }")
    if case.get("remove"):
        lines.append(f' "remove": {json.dumps(case["remove"])}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def expecting(written: str, wanted: Mapping[str, Any]) -> str:
    """The text of a case file that expects this; whatever else stands in it stays as it is written. Raises ValueError
    where there is no `expect` to be found at the top."""
    found = re.search(r'^\{?\s*"expect":\s*|,\s*"expect":\s*', written, re.MULTILINE)
    if found is None:
        raise ValueError("no `expect` in it")
    _, end = json.JSONDecoder().raw_decode(written, found.end())
    return written[: found.end()] + json.dumps(wanted, ensure_ascii=False) + written[end:]
