"""A report × the parameters that the plan has of its step → it is about all that was asked for, and nothing else.

A report that leaves out what it could not show, or shows something easier, is consistent in itself; what was asked
stands in the plan alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kcompiler.policy.kind import UNFIXED, Closed, Fault, Fixed, Judged, Kind, broken, lacking
from kcompiler.policy.laws.remade import UNLIKE


class Params(Closed):
    """None: the kind of the report says what of the parameters it has to show."""


def judge(_params: Params, report: Mapping[str, Any], expect: object, _other: object) -> Judged:
    if expect is None:
        return lacking("the plan does not say what was asked for")
    try:
        apart = list(UNLIKE[report["kind"]](expect, report["data"]))
    except (LookupError, TypeError, AttributeError) as error:
        return broken(f"what the plan says is nothing that such a report shows: {type(error).__name__} {error}")
    found = "; ".join(apart) or "all that was asked for is there"
    return Judged(word="fail" if apart else "pass", reason=found, pointer="/data")


def faults(_params: Params, kind: str, _fixed: Fixed = UNFIXED) -> Iterator[Fault]:
    """Of most kinds of report nobody has said how they show what was asked for."""
    if kind not in UNLIKE:
        known = ", ".join(sorted(UNLIKE))
        yield Fault(
            "", "compare", f"a report `{kind}` is not compared with what was asked for", 0, f"these are: {known}"
        )


KIND = Kind(
    name="as_asked",
    version=1,
    params=Params,
    judge=judge,
    faults=faults,
    expects=lambda _: True,
    # each step's own parameters, `expect: {step: true}`, and nothing of the spec
    accepts=lambda expect: expect is None,
)
