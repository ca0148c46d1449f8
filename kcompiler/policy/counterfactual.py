"""A judged obligation × the datum that decided it → from where on it would be decided otherwise, in words.

"passes from 0.9 on: 27 of 30 items" is what a person acts on; that 0.8667 misses 0.9 is not. Only kinds that compare
one number with a bound have such a word, and only a rate says it in items.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, cast

from kcompiler.policy.comparison import Op, end_of, holds
from kcompiler.policy.datum import BadDatum, Datum, read

_ASKED = re.compile(r"(?P<op>>=|<=|==|>|<) (?P<bound>-?[0-9]+(\.[0-9]+)?)\Z")
_WORDS: Mapping[str, str] = {
    ">=": "from {} on",
    ">": "above {}",
    "<=": "up to {}",
    "<": "below {}",
    "==": "at exactly {}",
}
_FEW = re.compile(r"(?P<n>[0-9]+) items, at least (?P<least>[0-9]+) are needed")


def of(obligation: Mapping[str, Any], outcome: Mapping[str, Any], node: object) -> str:
    """What would change the outcome, or "" where nothing exact can be said. `node` is what stands at its pointer."""
    if outcome["outcome"] == "inconclusive" and (few := _FEW.search(str(outcome["reason"]))):
        return f"decided from {few['least']} items on; there are {few['n']}"
    asked = _ASKED.match(str(outcome["threshold"]))
    if asked is None or outcome["outcome"] not in ("pass", "fail"):
        return ""
    # the pattern has no other operators
    op, bound = cast(Op, asked["op"]), Fraction(asked["bound"])
    said = f"passes {_WORDS[op].format(asked['bound'])}"
    if not str(obligation["kind"]).startswith("bound@"):
        return said
    end = str(obligation["params"].get("on", "point"))
    try:
        items = _items(op, bound, read(node), end)
    except BadDatum:
        return said
    return f"{said}{'' if end == 'point' else f' at its {end} end'}{items}"


def _items(op: Op, bound: Fraction, datum: Datum, end: str) -> str:
    """Of a rate k of n: how many of its items, at least or at most, would pass."""
    if datum.k is None or not datum.n or op == "==":
        return ""

    def passes(k: int) -> bool:
        value = end_of(Datum(datum.unit, datum.tag, value=Fraction(k, datum.n or 1), n=datum.n, k=k), end)
        return value is not None and holds(op, value, bound)

    upwards = op in (">=", ">")
    if not passes(datum.n if upwards else 0):
        return f"; no outcome of {datum.n} items could"
    # the more items the larger the rate and both of its ends: the edge is found by halving
    inside, outside = (datum.n, -1) if upwards else (0, datum.n + 1)
    while abs(inside - outside) > 1:
        middle = (inside + outside) // 2
        inside, outside = (middle, outside) if passes(middle) else (inside, middle)
    return f": {inside} of {datum.n} items or {'more' if upwards else 'fewer'}, and there are {datum.k}"


def at(report: Any, pointer: str) -> Any:
    """What stands at a JSON pointer; None where nothing does."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(report, list) and name.isdigit() and int(name) < len(report):
            report = report[int(name)]
        elif isinstance(report, Mapping) and name in report:
            report = report[name]
        else:
            return None
    return report
