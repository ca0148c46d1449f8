"""A plan, its reports and waivers × a time → where the waivers stand then, and what ends later, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kcompiler import waiver
from kcompiler.judge import judge
from kcompiler.policy import evidence
from kcompiler.policy.evidence import Evidence
from kcompiler.verifier import facts, forecast
from kcompiler.verifier import waivers as alone


def standing(
    plan: Mapping[str, Any],
    given: Mapping[str, bytes | Evidence],
    identity: str | None,
    held: waiver.Waivers,
    recorded: str,
    as_of: str,
) -> list[str]:
    """One line for each waiver, for a verdict that is another one at `as_of` (2026-01-31T00:00:00Z) than the one that
    was `recorded`, and for each day on which a waiver ends or a rule begins to block; nothing where no day matters."""
    asked = plan["obligations"]
    if not held.given and not any(one.get("effective_on") for one in asked):
        return []
    given = {**given, **{step: evidence.read(one) for step, one in facts.reports(plan).items()}}
    told = alone.Waivers(
        given=[
            alone.Given(one.waiver.meaning, one.digest, [alone.Approved(by.key, by.on) for by in one.approvals])
            for one in held.given
        ],
        spec=held.spec,
        plan=held.plan,
        used=held.used,
    )

    def at(moment: str) -> str:
        return judge(given, asked, lock=identity, as_of=moment, waivers=held).verdict

    return forecast.told(asked, told, as_of, at, recorded)
