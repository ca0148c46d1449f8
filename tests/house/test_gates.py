"""The register of gates says what is true: each rule is there and asks what the texts ask, or says why not."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest

from kcompiler import assets, diagnostic, policy, tables
from kcompiler.render import gates
from kcompiler.tables import Registered

ROOT = Path(__file__).resolve().parents[2]
PACKS = policy.load(policy.available([assets.folder("policies")]), [assets.folder("policies")]).packs
RULES = {rule.name: rule for pack in PACKS for rule in pack.rules}
GATES = tables.gates().gates


def named(gate: Registered) -> str:
    return gate.id


def test_there_are_sixty_two_and_each_has_one_state() -> None:
    assert len(GATES) == 62
    counts = Counter(gate.state for gate in GATES)
    assert set(counts) == set(gates.STATES)
    assert sum(counts.values()) == 62
    # the texts name no gate of these that a report of today could decide
    assert counts["waits"] <= 6


@pytest.mark.parametrize("gate", GATES, ids=named)
def test_a_rule_is_there_and_asks_the_same_or_says_why(gate: Registered) -> None:
    wanted = {(one.op, Fraction(one.value)) for one in gate.asks}
    met = set()
    for ruling in gate.rules:
        rule = RULES[ruling.rule]
        # of toys it may warn, and then says that it is for toys
        assert rule.rule.mode == "block" or ruling.why
        params = rule.params.model_dump(mode="json", by_alias=True)
        if wanted and not ruling.why:
            asked = params["op"], Fraction(params["threshold"])
            assert asked in wanted, f"{ruling.rule} asks {asked}: say why, or correct one of the two"
            met.add(asked)
    if any(not ruling.why for ruling in gate.rules):
        assert met == wanted


@pytest.mark.parametrize("gate", [gate for gate in GATES if gate.built_in], ids=named)
def test_what_is_built_in_is_there(gate: Registered) -> None:
    for one in gate.built_in:
        assert (ROOT / one).is_file() if "/" in one else diagnostic.explain(one)


def test_the_page_is_the_register() -> None:
    """To write it anew: kcompiler policy doc --to generated/reference/gates.md"""
    page = ROOT / "generated" / "reference" / "gates.md"
    assert page.read_text(encoding="utf-8") == gates.register(PACKS)
