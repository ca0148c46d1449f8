"""A report's data × the formulas its schema names → the first datum that the others in it do not give, or "".

Some data of a report are functions of others: what is left beyond chance of k of n, a comparison of two models of what
each has right, the calibration error of its bins. Gates read them, so whoever writes one may not say what the counts
beside it do not. Where not everything a datum was made of stands in the report, it is bounded by what does. Beside
`data` a schema names the formulas under `x-derived`:

    [{"formula": "gains", "of": ["accuracy.*"]}, {"formula": "zoo", "of": ["agreement.*", "clauses.*"]}]

`of` leads to what each runner, in place of the `*`, has right (their sum, where several are named) or is worth; with
`"less": true` less of it is better. A formula of what is unavailable says nothing: that is for rules to miss.

One more formula is one more file: it exports `broken(data, said)`, which yields `/pointer: why` of what contradicts,
and a schema names it by the name of its file.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

#: keyword of a report's schema, beside the properties of its data
DERIVED = "x-derived"


class Formula(Protocol):
    """What a file of this room exports as `broken`; `said` is what the schema says of it."""

    def __call__(self, data: Mapping[str, Any], said: Mapping[str, Any], /) -> Iterator[str]: ...


@cache
def names() -> tuple[str, ...]:
    """Every formula, sorted. Imports none of them."""
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__"))


@cache
def load(name: str) -> Formula:
    """The formula of that name. Raises KeyError when there is none."""
    if name not in names():
        raise KeyError(name)
    found: Formula = importlib.import_module(f"{__name__}.{name}").broken
    return found


def broken(data: Mapping[str, Any], formulas: Sequence[Mapping[str, Any]]) -> str:
    """The first datum that contradicts the others. Raises KeyError for a formula that does not exist."""
    due = [(load(one["formula"]), one) for one in formulas]
    try:
        return next((why for formula, one in due for why in formula(data, one)), "")
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        # a forged report may break whatever computes with it
        return f": nothing can be computed of it: {error}"
