"""Held-out long prompts × models → how often the fact that stands in them is found, by length and depth.

A row's class says how long it is and how deep its answer stands (`4096@50`), and its text is asked whether that is so
(`runtime.contract.cells`): which rows count is known before anybody answers. An output is right by the declared
`match`, as in suite `gold`. A mean hides the one depth at which nothing is found: `cells` holds every cell by itself.

Among what needs no understanding (`zoo`) are the numbers of the prompt by their place, the first, the second, …, and
all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from runtime.contract import Refusal, Suite, items, zoo
from runtime.contract.cells import Cell, cell_of
from runtime.contract.report import measured, unavailable
from runtime.contract.statistics.paired import COMPARED, RUNNERS, lacking, wins
from runtime.contract.statistics.rates import rate
from runtime.contract.units import unit
from runtime.data import numbers
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


def _cells(rows: Sequence[Row], params: NeedleParams) -> list[Cell]:
    """The cell of each row that is judged. Raises Refusal for a row that is in none."""
    found = []
    for row in items.first(rows, params.limit):
        try:
            found.append(cell_of(row, str(row["response"])))
        except ValueError as why:
            raise Refusal(
                f"row `{row['id']}` has no length and depth: {why}", action="correct the row, or leave it out"
            ) from None
    return found


def misfit(row: Row, _tools: Sequence[Any], params: NeedleParams) -> str:
    """Why a row cannot be judged, or ""."""
    try:
        cell_of(row, str(row["response"]))
    except ValueError as why:
        return str(why)
    return params.matcher().unfit(str(row["response"]))


def policies(rows: Sequence[Row], _tools: Sequence[Any], params: NeedleParams) -> dict[str, list[str]]:
    """What policies that understand nothing would say."""
    asked = items.first(rows, params.limit)
    found = gold.policies(rows, _tools, params)
    if not asked:
        return found
    held = [numbers.all_of(str(row["prompt"]), params.numeric.decimal) for row in asked]
    for place in range(_PLACES):
        found[f"number_{place + 1}"] = [
            f"{params.numeric.after} {each[place].text}" if place < len(each) else "" for each in held
        ]
    found["numbers"] = [", ".join(dict.fromkeys(one.text for one in each)) for each in held]
    return found


def data_of(
    lines: Sequence[Mapping[str, Any]],
    rows: Sequence[Row],
    _tools: Sequence[Any],
    params: NeedleParams,
    _seed: int,
) -> dict[str, Any]:
    """The data of report `eval.needle`. Raises ValueError for a line that is not what its output gives, Refusal for a
    row that cannot be judged."""
    cells = _cells(rows, params)
    asked = items.first(rows, params.limit)
    judge = gold.Judge(gold.items_of(rows, params), params, rows)
    found = items.checked(lines, lambda name: gold.select(rows, name, params), judge.judged)
    right = {name: [bool(line["parts"]["right"]) for line in mine] for name, mine in found.items()}

    def share(name: str, places: Sequence[int]) -> dict[str, Any]:
        if name not in right:
            return unavailable(items.lacks(name, asked), "ratio")
        hits = [right[name][at] for at in places if at < len(right[name])]
        return rate(sum(hits), len(hits))

    def shares(places: Sequence[int]) -> dict[str, Any]:
        return {name: share(name, places) for name in RUNNERS}

    def where(length: int, depth: int | None = None) -> list[int]:
        return [at for at, cell in enumerate(cells) if cell.length == length and depth in (None, cell.depth)]

    lengths = sorted({cell.length for cell in cells})
    table = {
        str(length): {
            str(depth): shares(where(length, depth))
            for depth in sorted({cell.depth for cell in cells if cell.length == length})
        }
        for length in lengths
    }
    return {
        "items": measured(len(asked), "item"),
        "match": params.match,
        "right": shares(range(len(asked))),
        **{name: _compared(name, right, range(len(asked))) for name in COMPARED},
        "by_length": {str(length): shares(where(length)) for length in lengths},
        "teacher_by_length": {str(length): _compared("teacher_gain", right, where(length)) for length in lengths},
        "cells": table,
        "worst_cell": {name: _worst(name, table) for name in RUNNERS},
        "reasons": {
            name: {
                reason: rate(count, len(mine))
                for reason, count in sorted(Counter(line["reason"] or "right" for line in mine).items())
            }
            for name, mine in found.items()
            if name in RUNNERS
        },
        "zoo": zoo.judged(
            policies(rows, _tools, params),
            asked,
            judge.judged,
            right,
            lambda name: items.lacks(name, asked),
            RUNNERS,
        ),
    }


def _compared(name: str, right: Mapping[str, Sequence[bool]], places: Sequence[int]) -> dict[str, Any]:
    if lack := lacking(name, right, {}):
        return unavailable(lack, "item/item")
    first, second = (right[one] for one in COMPARED[name])
    both = [at for at in places if at < min(len(first), len(second))]
    return wins([first[at] for at in both], [second[at] for at in both])


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
    version=1,
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
