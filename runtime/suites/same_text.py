"""Prompts × models → in how many of them a model writes, greedily, the very text that the teacher writes.

What a package is for is text. Where nothing was trained, the teacher is the original, and a package that says the same
is the original as far as its user can tell; where it says something else, the report shows both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from pydantic import Field

from runtime.contract import Params, Runner, Suite
from runtime.contract.report import measured, rate, unavailable
from runtime.contract.units import unit

#: so many different texts are shown, each so far
SHOWN, LONGEST = 10, 400
JUDGED = ("student", "coreml")


class SameTextParams(Params):
    limit: int = Field(
        default=20,
        ge=1,
        le=10_000,
        description="Prompts, from the first on.",
        examples=[20],
        json_schema_extra=unit("row"),
    )
    max_new_tokens: int = Field(
        default=32, ge=1, le=4096, description="Longest text.", examples=[32], json_schema_extra=unit("token")
    )


def _common(one: str, other: str) -> float:
    """Share of the first text that the second one begins with."""
    if not one:
        return float(not other)
    apart = (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(apart, min(len(one), len(other))) / len(one)


def run(
    runners: Mapping[str, Runner],
    rows: Sequence[Mapping[str, Any]],
    _tools: Sequence[Any],
    params: SameTextParams,
    _seed: int,
) -> dict[str, Any]:
    """The data of report `eval.same_text`. What a runner that is not there would show is `unavailable`."""
    asked = rows[: params.limit]
    prompts = [str(row["prompt"]) for row in asked]
    wanted = runners["teacher"].generate(prompts, params.max_new_tokens)
    data: dict[str, Any] = {"items": measured(len(prompts), "item"), "same": {}, "common": {}, "different": []}
    for name in JUDGED:
        if name not in runners:
            data["same"][name] = unavailable(f"no runner `{name}`", "ratio")
            data["common"][name] = unavailable(f"no runner `{name}`", "1")
            continue
        found = runners[name].generate(prompts, params.max_new_tokens)
        data["same"][name] = rate(sum(a == b for a, b in zip(wanted, found, strict=True)), len(prompts))
        shares = [_common(a, b) for a, b in zip(wanted, found, strict=True)]
        data["common"][name] = measured(fmean(shares), "1", n=len(shares)) if shares else unavailable("no items", "1")
        data["different"] += [
            {"runner": name, "row": str(row["id"]), "original": a[:LONGEST], "text": b[:LONGEST]}
            for row, a, b in zip(asked, wanted, found, strict=True)
            if a != b
        ][:SHOWN]
    return data


SUITE = Suite(name="same_text", version=1, params=SameTextParams, runners=("teacher", "student"), run=run)
