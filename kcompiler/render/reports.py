"""A kind of report → the page that an author of rules reads: each datum with path, unit and meaning, an example."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from typing import Any

from kcompiler import diagnostic
from kcompiler.policy import examples, leaves, path, shape
from kcompiler.render.human_run import table
from kcompiler.render.index import Unknown

#: columns of a description, and lines of the example
_WIDTH, _LINES = 76, 24
_FORMS = """\
forms: rate (k of n items, unit `ratio`), share, cosine, count, amount (never negative), number, flag (true or false).
Each datum has a tag, measured, estimated (`by` whom) or unavailable (`reason`), and perhaps an interval `low`, `high`.
`.*` stands for every name that a report gives there, `[*]` for every element, `[?key=value]` for those with this key.
"""


def page(kind: str) -> str:
    """Raises Unknown: no schema is of such a report."""
    found = leaves.of(kind)
    if not found:
        raise Unknown(f"no report is called `{kind}`; {diagnostic.did_you_mean(kind, shape.kinds())}")
    told = [one for one in found if not one.informs]
    lines = [f"{kind}: {shape.title_of(kind)}", "", *_FORMS.splitlines(), "", "what rules of shipped packs read"]
    lines += table([_row(one) for one in told]) or ["  nothing"]
    rest = [one for one in found if one.informs]
    lines += ["", "what informs, and no shipped rule reads", *table([_row(one) for one in rest])] if rest else []
    lines += _example(kind, told)
    lines += ["", f"a rule about it: kcompiler policy new PACK --on {kind} --metric PATH --op '>=' --threshold NUMBER"]
    return "\n".join(lines) + "\n"


def _row(one: leaves.Leaf) -> list[str]:
    form = f"{one.form}, {one.unit}" if one.unit and one.unit != "1" else one.form
    text = textwrap.shorten(one.text, _WIDTH, placeholder=" …")
    return [one.path, form, f"{'(may be absent) ' if one.optional else ''}{text}"]


def _example(kind: str, told: list[leaves.Leaf]) -> list[str]:
    """The first data of a shipped case, as they stand in a report."""
    report = next(iter(examples.of(kind)), None)
    if report is None:
        return []
    shown: dict[str, Any] = {}
    for one in told:
        match = next((each for each in path.walk(path.parse(one.path), report["data"]) if not each.missing), None)
        if match is not None and isinstance(match.value, Mapping | str | bool):
            shown[f"/data{match.pointer}"] = match.value
    lines = [f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in shown.items()]
    return ["", "an example, each datum at its place", *lines[:_LINES], *(["  …"] if len(lines) > _LINES else [])]
