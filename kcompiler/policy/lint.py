"""A pack and its cases → what is wrong with it beyond what loading finds, at its line.

A rule nobody can trust is worse than none: whoever reads its name believes that something is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from kcompiler.diagnostic import Diagnostic
from kcompiler.policy import cases, conditions, distant, draft, score
from kcompiler.policy.cases import Judge
from kcompiler.policy.datum import RATE
from kcompiler.policy.kind import NUMBER, text_of
from kcompiler.policy.load import RULE_FILE, LoadedPack, LoadedRule


def findings(packs: Sequence[LoadedPack], judge: Judge, *, mutants: bool = True) -> list[Diagnostic]:
    """What is wrong with these packs, each rule by itself and beside the others. `mutants`: also which slips in a
    blocking rule its cases do not notice, which takes a second or two a pack."""
    found: list[Diagnostic] = []
    for pack in packs:
        for rule in pack.own:
            found += _unmeetable(pack, rule)
            found += _on_a_point(rule)
            found += _sourceless(rule)
            wrong = list(_unproven(rule, judge))
            found += wrong
            found += [] if wrong else _distant(rule, judge)
            if mutants and not wrong and rule.rule.mode == "block":
                found += _unnoticed(rule, judge)
    return [*found, *_twice(packs)]


def _unmeetable(pack: LoadedPack, loaded: LoadedRule) -> Iterator[Diagnostic]:
    """A condition that no spec can meet: by the schema of a spec, or beside the others."""
    _, problem = conditions.applies(pack, loaded, {})
    if problem is not None:
        yield problem


def _unproven(loaded: LoadedRule, judge: Judge) -> Iterator[Diagnostic]:
    wrong = cases.check(loaded, judge)
    for line in wrong:
        yield loaded.tree.diagnostic(
            "KC6050",
            "/id",
            f"rule `{loaded.name}` is not proven by its cases",
            label=line.removeprefix(f"{loaded.name}/").removeprefix(f"{loaded.name}: "),
            help="a passing, a failing and a missing case lie beside rule.yaml; `kcompiler policy test --add` writes "
            "those of a `bound` with a threshold of its own, others are written by hand",
        )


def _on_a_point(loaded: LoadedRule) -> Iterator[Diagnostic]:
    """Of thirty rows that are all right nine in ten may be right in truth: a share is compared by its lower end."""
    params = loaded.params.model_dump(mode="json", by_alias=True)
    limit = params.get("threshold")
    if loaded.rule.kind != "bound" or params.get("unit") != RATE or params.get("on") != "point" or limit is None:
        return
    if Fraction(limit) in (0, 1) or _said(loaded, r"\bthe point\b"):
        return
    yield loaded.tree.diagnostic(
        "KC6051",
        "/params/op",
        f"rule `{loaded.name}` compares a share as it was measured, whatever few items stand behind it",
        label="of the point, not of an end of the interval",
        help="write `on: low` (or `high`), or say why not in a comment that begins with `# The point:`",
    )


def _sourceless(loaded: LoadedRule) -> Iterator[Diagnostic]:
    """A number that nobody can trace is nobody's to change."""
    params = loaded.params.model_dump(mode="json", by_alias=True)
    for key in ("threshold", "margin", "factor"):
        limit = params.get(key)
        if limit is None or not re.fullmatch(NUMBER, str(limit)) or Fraction(str(limit)) in (0, 1):
            continue
        if _said(loaded, re.escape(draft.QUESTION)) or not _said(loaded, r"\w{3,}(\W+\w+){3,}"):
            yield loaded.tree.diagnostic(
                "KC6052",
                f"/params/{key}",
                f"nothing says where the number of rule `{loaded.name}` comes from",
                label="a number without a source",
                help="say it in a comment of rule.yaml: a measurement, a promise, a standard, a limit of arithmetic",
            )


def _distant(loaded: LoadedRule, judge: Judge) -> Iterator[Diagnostic]:
    """A bound that nothing comes near is none: the rule's name says that something is asked."""
    for one in [] if _said(loaded, r"\bso far\b") else distant.found(loaded, judge):
        yield loaded.tree.diagnostic(
            "KC6057",
            f"/params/{one.key}",
            f"the bound of rule `{loaded.name}` lies far beyond what its passing case holds",
            label=f"{text_of(one.limit)} in size; what is compared with it in pass.json is {text_of(one.most)}",
            help="write a number that a worse student would miss, or say why it stands there in a comment that begins "
            "with `# So far off:`",
        )


def _said(loaded: LoadedRule, pattern: str) -> bool:
    """Whether a comment of the rule says this."""
    text = (loaded.folder / RULE_FILE).read_text(encoding="utf-8")
    comments = " ".join(re.findall(r"^\s*#(.*)$", text, re.MULTILINE))
    return re.search(pattern, comments, re.IGNORECASE) is not None


def _unnoticed(loaded: LoadedRule, judge: Judge) -> Iterator[Diagnostic]:
    found = score.scored(loaded, judge, killers=False, only=lambda one: one.asked)
    for one in found.lived[:1]:
        more = f", and of {len(found.lived) - 1} more" if len(found.lived) > 1 else ""
        yield loaded.tree.diagnostic(
            "KC6054",
            "/mode" if one.mutant.sort == "mode" and "/mode" in loaded.tree.values else "/kind",
            f"no case of rule `{loaded.name}` notices a slip in it",
            label=f"{one.mutant.what}{more}",
            help="`kcompiler policy test PACK --add` writes the case that would, where changing one datum is enough",
        )


def _twice(packs: Sequence[LoadedPack]) -> Iterator[Diagnostic]:
    """Two rules that ask the same: one is changed, and the other still holds, or the reverse."""
    first: dict[str, LoadedRule] = {}
    for pack in packs:
        for rule in pack.own:
            same = first.setdefault(repr(_meaning(rule)), rule)
            if same is not rule and same.name.rpartition("/")[0] == rule.name.rpartition("/")[0]:
                yield rule.tree.diagnostic(
                    "KC6053",
                    "/id",
                    f"rule `{rule.name}` asks what `{same.name}` asks",
                    label="the same report, datum, bound and condition",
                    help="remove one of the two",
                )


def _meaning(loaded: LoadedRule) -> list[Any]:
    rule = loaded.rule
    when = sorted(one.model_dump_json() for _, one in rule.conditions)
    where = rule.where and rule.where.model_dump_json()
    expect = rule.expect and rule.expect.model_dump_json()
    return [rule.on, loaded.kind, loaded.params.model_dump_json(), expect, when, where, rule.phase, rule.effective_on]
