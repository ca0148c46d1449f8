"""Kind `dominance` by its definition: one of several is above the others at every point of some window, or not."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from kcompiler.policy.kinds import dominance
from runtime.contract import report as facts

PARTS = st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0, None])
NAMES = ("a", "b", "c")
Table = list[dict[str, float | None]]
tables = st.integers(2, 3).flatmap(
    lambda many: st.lists(st.fixed_dictionaries(dict.fromkeys(NAMES[:many], PARTS)), min_size=1, max_size=8)
)


def report(table: Table) -> dict[str, object]:
    def point(step: int, value: float | None) -> dict[str, object]:
        share = facts.unavailable("none", "1") if value is None else facts.measured(value, "1")
        return {"step": facts.measured(step, "step"), "share": share}

    terms = {name: {"curve": [point(at, row[name]) for at, row in enumerate(table)]} for name in table[0]}
    return {"data": {"terms": terms}}


def asked(window: int) -> dominance.Params:
    return dominance.Params(of="terms.*", points="curve[*]", at="step", share="share", factor="10", window=window)


def above(row: dict[str, float | None]) -> str:
    known = {name: Fraction(str(value)) for name, value in row.items() if value is not None}
    for name, value in known.items():
        if all(value > 10 * other for one, other in known.items() if one != name):
            return name
    return ""


@settings(max_examples=150, deadline=None, derandomize=True)
@given(table=tables, window=st.integers(2, 4))
def test_it_says_what_its_definition_says(table: Table, window: int) -> None:
    rows = [row for row in table if sum(value is not None for value in row.values()) > 1]
    said = dominance.judge(asked(window), report(table), None, None)
    assert said.matches == len(rows)
    if len(rows) < window:
        assert said.word == "inconclusive"
        return
    names = [above(row) for row in rows]
    lots = [names[at : at + window] for at in range(len(names) - window + 1)]
    drowned = any(lot[0] and all(one == other for one, other in pairwise(lot)) for lot in lots)
    assert said.word == ("fail" if drowned else "pass")


@settings(max_examples=50, deadline=None, derandomize=True)
@given(table=tables, order=st.permutations(range(8)))
def test_the_order_in_which_points_are_written_changes_nothing(table: Table, order: list[int]) -> None:
    made = report(table)
    mixed = report(table)
    for term in mixed["data"]["terms"].values():  # type: ignore[index]
        term["curve"] = [term["curve"][at] for at in order if at < len(table)]
    one, other = (dominance.judge(asked(3), each, None, None) for each in (made, mixed))
    assert (one.word, one.observed, one.reason) == (other.word, other.observed, other.reason)
