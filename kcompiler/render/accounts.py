"""What is spent of each budget, set aside and left → rows for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kcompiler.render.human_run import table

Accounts = Sequence[Mapping[str, Any]]


def rows(accounts: Accounts) -> list[str]:
    """A row for each budget that stops a run; none while nothing was spent of any and nothing is set aside, nor by
    earlier plans of the name."""
    if not any(one["spent"] or one["reserved"] or one.get("earlier") for one in accounts):
        return []
    before = [_before(one) for one in accounts]
    return table(
        [
            [
                one["name"],
                f"{_number(one['spent'])} spent",
                f"{_number(one['reserved'])} set aside",
                f"{_number(one['left'])} left of {_number(one['limit'])}",
                *([said] if any(before) else []),
            ]
            for one, said in zip(accounts, before, strict=True)
        ],
        indent="",
    )


def _before(one: Mapping[str, Any]) -> str:
    """What earlier plans of the spec's name took; "" where that is nothing, or not known."""
    if not one.get("earlier"):
        return ""
    of = "beside that: each plan has its own" if one["name"] == "wall_s" else "of that"
    return f"{_number(one['earlier'])} by earlier plans, {of}"


def _number(amount: float) -> str:
    """Short, and never 0 for what is more or less."""
    if amount == int(amount):
        return f"{int(amount):,}"
    return f"{amount:,.1f}" if abs(amount) >= 10 else f"{amount:.3g}"
