"""What the judge says about single reports and obligations, one claim per case."""

from __future__ import annotations

import pytest

from kcompiler.judge import judge
from tests.unit.kcompiler.judge.claims import claims
from tests.unit.kcompiler.judge.samples import Claim, explains

CLAIMS = claims()


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.claim)
def test_the_judge_says(claim: Claim) -> None:
    """The outcome of each obligation, the verdict, the exit code and the explanation of the first outcome."""
    verdict = judge(claim.reports, claim.obligations)
    assert [outcome.outcome for outcome in verdict.outcomes] == list(claim.outcomes), verdict.outcomes
    assert (verdict.verdict, verdict.exit_code) == claim.says
    if claim.first:
        assert explains(verdict.outcomes[0], claim.first) == []


def test_every_claim_has_its_own_words() -> None:
    assert len({claim.claim for claim in CLAIMS}) == len(CLAIMS)
