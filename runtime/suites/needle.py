"""Held-out long prompts × models → how often the fact that stands in them is found, by length and depth.

A row's class says how long it is and how deep its answer stands (`4096@50`), and its text is asked whether that is so
(`runtime.contract.cells`): which rows count is known before anybody answers. An output is right by the declared
`match`, as in suite `gold`. A mean hides the one depth at which nothing is found: `cells` holds every cell by itself.

Among what needs no understanding (`zoo`) are the numbers of the prompt by their place, the first, the second, …, and
all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from runtime.contract import Refusal, Suite, items, spool, zoo
from runtime.contract.cells import Cell, cell_of
from runtime.contract.report import measured, unavailable
from runtime.contract.statistics.paired import COMPARED, RUNNERS, lacking, wins_of
from runtime.contract.statistics.rates import rate
from runtime.contract.units import unit
from runtime.data.matching import Match
from runtime.suites import gold

#: numbers of a prompt that are tried by their place
_PLACES = 8


class NeedleParams(gold.GoldParams):
    match: Match = Field(
        default="numeric",
        description="How an output is compared with the row's response, as in suite `gold`.",
        examples=["numeric"],
    )
    limit: int = Field(
        default=0,
        ge=0,
        description="Rows for the runners in torch, a fair sample; 0 takes all.",
        examples=[0],
        json_schema_extra=unit("row"),
    )


Row = Mapping[str, Any]


def _cells(rows: Sequence[Row]) -> list[Cell]:
    """The distinct cells of the rows. Raises Refusal for a row that is in none."""
    found = set[Cell]()
    for row in rows:
        try:
            found.add(cell_of(row, str(row["response"])))
        except ValueError as why:
            raise Refusal(
                f"row `{row['id']}` has no length and depth: {why}", action="correct the row, or leave it out"
            ) from None
    return sorted(found, key=lambda cell: (cell.length, cell.depth))


def misfit(row: Row, _tools: Sequence[Any], params: NeedleParams) -> str:
    """Why a row cannot be judged, or ""."""
    try:
        cell_of(row, str(row["response"]))
    except ValueError as why:
        return str(why)
    return params.matcher().unfit(str(row["response"]))


def policies(rows: Sequence[Row], _tools: Sequence[Any], params: NeedleParams) -> dict[str, Sequence[str]]:
    """What policies that understand nothing would say."""
    return _policies(gold.Judge(rows, params))


def _policies(judge: gold.Judge) -> dict[str, Sequence[str]]:
    found = judge.policies()
    if not judge.rows:
        return found

    def by_place(place: int) -> Sequence[str]:
        return judge.numbers(lambda each: each[place] if place < len(each) else None)

    def each(at: int) -> str:
        return ", ".join(dict.fromkeys(one.text for one in judge.prompted[at]))

    found |= {f"number_{place + 1}": by_place(place) for place in range(_PLACES)}
    return {**found, "numbers": spool.Each(len(judge.rows), each)}


class _Shares:
    """Of some of the rows: how many each runner has right, and how the student and its teacher differ."""

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}
        self._pairs = {name: [0, 0, 0] for name in COMPARED}

    def add(self, right: Mapping[str, bool]) -> None:
        """One more of them, by whom it was answered."""
        for name, hit in right.items():
            counts = self._counts.setdefault(name, [0, 0])
            counts[0] += hit
            counts[1] += 1
        for name, (one, other) in COMPARED.items():
            if one in right and other in right:
                pair, more = self._pairs[name], int(right[one]) - int(right[other])
                pair[0] += 1
                pair[1] += more > 0
                pair[2] += more < 0

    def data(self, absent: Mapping[str, str]) -> dict[str, Any]:
        """Runner → its rate; `absent` says why one is not there."""
        return {
            name: unavailable(absent[name], "ratio") if name in absent else rate(*self._counts.get(name, (0, 0)))
            for name in RUNNERS
        }

    def compared(self, name: str, there: Mapping[str, Any]) -> dict[str, Any]:
        """The datum of this comparison, by the runners that are there."""
        lack = lacking(name, there, {})
        return unavailable(lack, "item/item") if lack else wins_of(*self._pairs[name])


def data_of(
    lines: Sequence[Mapping[str, Any]],
    rows: Sequence[Row],
    _tools: Sequence[Any],
    params: NeedleParams,
    _seed: int,
) -> dict[str, Any]:
    """The data of report `eval.needle`. Raises ValueError for a line that is not what its output gives, Refusal for a
    row that cannot be judged."""
    cells = _cells(items.first(rows, params.limit))
    judge = gold.Judge(rows, params)
    trivial = zoo.Right(_policies(judge), len(judge.rows), judge.judged)
    found = dict[str, gold.Answered]()
    whole, of_length, of_cell = _Shares(), defaultdict[int, _Shares](_Shares), defaultdict[Cell, _Shares](_Shares)
    for at, mine in items.walk(lines, judge.rows, lambda name: len(gold.select(rows, name, params)), judge.judged):
        cell = cell_of(judge.rows[at], str(judge.rows[at]["response"]))
        right = {name: bool(line["parts"]["right"]) for name, line in mine.items()}
        for shares in (whole, of_length[cell.length], of_cell[cell]):
            shares.add(right)
        for name, line in mine.items():
            found.setdefault(name, gold.Answered()).add(line)
        trivial.add(at)
    absent = {name: items.lacks(name, judge.rows) for name in RUNNERS if name not in found}
    lengths = sorted({cell.length for cell in cells})
    table = {
        str(length): {str(cell.depth): of_cell[cell].data(absent) for cell in cells if cell.length == length}
        for length in lengths
    }
    return {
        "items": measured(len(judge.rows), "item"),
        "match": params.match,
        "right": whole.data(absent),
        **{name: whole.compared(name, found) for name in COMPARED},
        "by_length": {str(length): of_length[length].data(absent) for length in lengths},
        "teacher_by_length": {str(length): of_length[length].compared("teacher_gain", found) for length in lengths},
        "cells": table,
        "worst_cell": {name: _worst(name, table) for name in RUNNERS},
        "reasons": gold.reasons_of({name: mine_ for name, mine_ in found.items() if name in RUNNERS}),
        "zoo": trivial.data(
            {name: mine_.right for name, mine_ in found.items()},
            lambda name: items.lacks(name, judge.rows),
            RUNNERS,
        ),
    }


def _worst(name: str, table: Mapping[str, Mapping[str, Any]]) -> str:
    """The cell with the lowest lower end, as `4096@50`, or "" where there is none."""
    known = {
        f"{length}@{depth}": each[name]["low"]
        for length, row in table.items()
        for depth, each in row.items()
        if each[name]["tag"] == "measured"
    }
    return min(known, key=lambda cell: known[cell], default="")


SUITE = Suite(
    name="needle",
    version=3,
    params=NeedleParams,
    runners=("student",),
    figures=("right.*", "by_length.*.*", "cells.*.*.*"),
    select=gold.select,
    ask=gold.ask,
    data_of=data_of,
    complete=gold.complete,
    zoo=policies,
    unfit=lambda params, response: params.matcher().unfit(response),
    misfit=misfit,
)
