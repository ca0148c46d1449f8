"""What is spent of each budget, set aside and left → rows for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kcompiler.render.human_run import table

Accounts = Sequence[Mapping[str, Any]]


def rows(accounts: Accounts) -> list[str]:
    """A row for each budget that stops a run; none while nothing was spent of any and nothing is set aside."""
    if not any(one["spent"] or one["reserved"] for one in accounts):
        return []
    return table(
        [
            [
                one["name"],
                f"{_number(one['spent'])} spent",
                f"{_number(one['reserved'])} set aside",
                f"{_number(one['left'])} left of {_number(one['limit'])}",
            ]
            for one in accounts
        ],
        indent="",
    )


def _number(amount: float) -> str:
    """Short, and never 0 for what is more or less."""
    if amount == int(amount):
        return f"{int(amount):,}"
    return f"{amount:,.1f}" if abs(amount) >= 10 else f"{amount:.3g}"
