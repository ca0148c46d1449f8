"""A pack whose rules may be waived, a waiver of one of them, and a report that misses its bound."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kcompiler import dsse, waiver
from kcompiler.judge import Verdict, judge
from kcompiler.waiver import approved
from kcompiler.waiver.load import parsed
from runtime import digest
from runtime.contract import report as facts
from tests.unit.kcompiler.judge.samples import bound, number, obligation, report

NOW = "2026-11-28T12:00:00Z"
PLAN = "sha256:" + 64 * "a"
PEOPLE = {
    name: Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
    for number, name in enumerate(("ana", "bo", "cy", "mal", "dee", "eli"), start=1)
}
#: whom the packs here allow to approve; the others have keys, too
KEYS = {name: dsse.public_line(PEOPLE[name]) for name in ("ana", "bo", "cy")}
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
max_uses: 2
"""


#: who has signed the waiver, and on which day
SIGNED = {"ana": "2026-11-21", "bo": "2026-11-22"}


def envelope(text: str, who: str, on: str, key: Ed25519PrivateKey | None = None, **predicate: Any) -> bytes:
    """The approval of a waiver with this text, in the name and by the key of somebody."""
    made = waiver.Waiver.model_validate(yaml.load(text, yaml.BaseLoader) | _number(text))
    said = approved.statement(made, text.encode(), who, on if "T" in on else f"{on}T00:00:00Z")
    said["predicate"] |= predicate
    return dsse.dump(dsse.sign(said, key or PEOPLE[who])).encode()


def _number(text: str) -> dict[str, Any]:
    """The one key of a waiver that is no text."""
    most = yaml.safe_load(text).get("max_uses")
    return {} if most is None else {"max_uses": most}


def sign(file: Path, signed: Mapping[str, str] = SIGNED) -> None:
    """These people (name → day) approve the waiver in a file as it is."""
    file.with_suffix("").mkdir(exist_ok=True)
    for who, on in signed.items():
        path = file.with_suffix("") / f"{who}{approved.END}"
        path.write_bytes(envelope(file.read_text(), who, on))


def project(
    root: Path,
    text: str = WAIVER,
    name: str = "WV-0001",
    pack: str = PACK,
    signed: Mapping[str, str] | None = None,
    **rules: str,
) -> Path:
    """A project with the pack and one waiver; `rules` replace files of rules. It is `signed` as it is, or where that is
    left out as WAIVER would be by two."""
    home = root / "policies" / "team" / "rows"
    for rule, content in {**RULES, **rules}.items():
        (home / rule).mkdir(parents=True, exist_ok=True)
        (home / rule / "rule.yaml").write_text(content)
    (home / "pack.yaml").write_text(pack)
    (root / "waivers").mkdir(exist_ok=True)
    (root / "waivers" / f"{name}.yaml").write_text(text)
    if parsed(text.encode(), f"waivers/{name}.yaml")[0] is not None:
        sign(root / "waivers" / f"{name}.yaml", SIGNED if signed is None else signed)
    (root / ".kcompiler").mkdir(exist_ok=True)
    return root


def given(**changes: Any) -> waiver.Given:
    """The waiver of a rule of the laboratory, with these keys changed; a key that is None is left out. `approvals` say
    who has signed it, and on which day."""
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
        "approvals": [{"by": who, "on": on} for who, on in SIGNED.items()],
    } | changes
    signed = [
        approved.Approved(key=dsse.public_line(PEOPLE[one["by"]]), on=f"{one['on']}T00:00:00Z", file=f"{one['by']}")
        for one in made.pop("approvals")
    ]
    read = waiver.Waiver.model_validate({key: value for key, value in made.items() if value is not None})
    return waiver.Given(waiver=read, digest=digest.of_value(made, "test"), approvals=signed)


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
