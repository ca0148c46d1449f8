"""A pack whose rules may be waived, a waiver of one of them, and a report that misses its bound."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kcompiler import waiver
from kcompiler.judge import Verdict, judge
from runtime import digest
from runtime.contract import report as facts
from tests.unit.kcompiler.judge.samples import bound, number, obligation, report

NOW = "2026-11-28T12:00:00Z"
PLAN = "sha256:" + 64 * "a"
KEYS = {
    "ana": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILH1czIUYvDJuWVFRsKhgpsIO0ZnnAAjrEi5QyFrbj/6",
    "bo": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP79NLb7e+MiPNgAJA2opYqAX2a/Am6/1LA6Ch5rGkY3",
    "cy": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAID4h+MpbcVqS4tgWeIJsflDBtcR0Vcz6P++Er4ZffcRT",
}
TERMS = {"outcomes": ["fail"], "min": 2, "max_days": 60, "approvers": KEYS}
APPROVERS = "".join(f"  - {{name: {name}, key: {key}}}\n" for name, key in KEYS.items())
PACK = (
    "name: team/rows\nversion: 1\ntitle: Rows of the team\nmin_n: 1\napprovers:\n"
    + APPROVERS
    + "approval: {waiver: {min: 2, max_days: 60}}\n"
)
#: rule → its file
RULES = {
    "many": """\
id: many
title: There are many rows
on: data.splits
kind: bound
params: {metric: splits.train.rows, op: ">=", threshold: "1000", unit: row}
remedy: make more rows
waivable: true
""",
    "held": """\
id: held
title: Rows are held out
on: data.splits
kind: presence
params: {at: splits.test.rows}
remedy: hold rows out
waivable: true
""",
    "strict": """\
id: strict
title: Nobody excuses this
on: data.splits
kind: bound
params: {metric: splits.train.rows, op: ">=", threshold: "1", unit: row}
remedy: make rows
""",
    "told": """\
id: told
title: It is told and blocks nothing
on: data.splits
mode: warn
kind: bound
params: {metric: splits.train.rows, op: ">=", threshold: "1", unit: row}
remedy: make rows
""",
}
WAIVER = """\
id: WV-0001
title: Fewer rows than asked until the crawl is back
rules: [team/rows/many]
subject: {spec: lab, steps: [measure]}
magnitude: "0.05"
reason: third_party_constraint
description: The crawl that gives us the other half of the rows is down until the provider mends it.
mitigation: The student is shown to nobody but us until then.
author: dee
owner: eli
created: 2026-11-20
expires: 2026-12-20
approvals:
  - {by: ana, on: 2026-11-21}
  - {by: bo, on: 2026-11-22}
max_uses: 2
"""


def project(root: Path, text: str = WAIVER, name: str = "WV-0001", pack: str = PACK, **rules: str) -> Path:
    """A project with the pack and one waiver; `rules` replace files of rules."""
    home = root / "policies" / "team" / "rows"
    for rule, content in {**RULES, **rules}.items():
        (home / rule).mkdir(parents=True, exist_ok=True)
        (home / rule / "rule.yaml").write_text(content)
    (home / "pack.yaml").write_text(pack)
    (root / "waivers").mkdir(exist_ok=True)
    (root / "waivers" / f"{name}.yaml").write_text(text)
    (root / ".kcompiler").mkdir(exist_ok=True)
    return root


def given(**changes: Any) -> waiver.Given:
    """The waiver of a rule of the laboratory, with these keys changed; a key that is None is left out."""
    made: dict[str, Any] = {
        "id": "WV-0001",
        "title": "Fewer than asked",
        "rules": ["lab/rule"],
        "subject": {"spec": "lab"},
        "magnitude": "0.05",
        "reason": "third_party_constraint",
        "description": 50 * "x",
        "mitigation": 20 * "x",
        "author": "dee",
        "owner": "eli",
        "created": "2026-11-20",
        "expires": "2026-12-20",
        "approvals": [{"by": "ana", "on": "2026-11-21"}, {"by": "bo", "on": "2026-11-22"}],
    } | changes
    read = waiver.Waiver.model_validate({key: value for key, value in made.items() if value is not None})
    return waiver.Given(waiver=read, digest=digest.of_value(made, "test"))


def missed(value: float = 0.45, **more: Any) -> bytes:
    """A report whose `x` is below the 0.5 that is asked."""
    return facts.dump(report({"x": number(value), **more})).encode()


def asked(params: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """An obligation that may be waived."""
    return obligation(params or bound("x", ">=", "0.5"), **{"waivable": TERMS, **changes})


def judged(
    *waivers: waiver.Given,
    data: bytes | None = None,
    obligations: list[dict[str, Any]] | None = None,
    as_of: str | None = NOW,
    used: Mapping[str, frozenset[str]] | None = None,
    **told: Any,
) -> Verdict:
    """The verdict on a report with these waivers at hand."""
    held = waiver.Waivers(given=waivers, **{"spec": "lab", "plan": PLAN, "used": used or {}, **told})
    return judge({"measure": missed() if data is None else data}, obligations or [asked()], as_of=as_of, waivers=held)
