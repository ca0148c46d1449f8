"""Everything the judge must say, as one list."""

from __future__ import annotations

from tests.unit.kcompiler.judge import (
    claims_believed,
    claims_dominance,
    claims_judging,
    claims_kinds,
    claims_numbers,
    claims_regression,
    claims_relative,
    claims_trend,
)
from tests.unit.kcompiler.judge.samples import Claim


def about(module: str) -> list[Claim]:
    """Every claim, those about this kind of check first: a mistake in it is then noticed sooner."""
    kind = module.rpartition(".")[2] + "@"
    return sorted(
        claims(), key=lambda claim: not any(str(one.get("kind")).startswith(kind) for one in claim.obligations)
    )


def claims() -> list[Claim]:
    """Every claim, the quickest to break first."""
    return [
        *claims_judging.amounts(),
        *claims_judging.precedence(),
        *claims_judging.broken_obligations(),
        *claims_judging.broken_evidence(),
        *claims_believed.claims(),
        *claims_numbers.operators(),
        *claims_numbers.tags(),
        *claims_numbers.places(),
        *claims_numbers.absences(),
        *claims_numbers.selections(),
        *claims_numbers.rates(),
        *claims_numbers.exactness(),
        *claims_numbers.intervals(),
        *claims_numbers.counterfactuals(),
        *claims_numbers.expectations(),
        *claims_kinds.covering(),
        *claims_kinds.flags(),
        *claims_kinds.bindings(),
        *claims_kinds.origins(),
        *claims_kinds.demands(),
        *claims_kinds.asked_for(),
        *claims_relative.every(),
        *claims_dominance.every(),
        *claims_trend.every(),
        *claims_regression.every(),
        *claims_judging.sizes(),
    ]
