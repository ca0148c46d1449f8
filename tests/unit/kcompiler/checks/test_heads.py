"""Heads and the losses that train them: neither without the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.kcompiler.checks.claims import Claim, disagrees, section, several


def terms(*names: str) -> Any:
    return lambda data: data["training"]["stages"][0].update(losses=[{"term": name, "weight": 0.5} for name in names])


HALT = section("student", heads=["halt"])
CLAIMS = [
    Claim("no head, and none is trained", lambda _: None),
    Claim("a head that is trained", several(HALT, terms("kl", "halt"))),
    Claim("a head that nothing trains", HALT, ("KC4661",), ("`halt`", "declared, never trained"), severity="error"),
    Claim("a term without its head", terms("kl", "halt"), ("KC4660",), ("`halt`", "add `halt` to student.heads"),
          severity="error"),
    Claim("in a later stage", several(HALT, lambda data: data["training"].update(stages=[
        data["training"]["stages"][0],
        {**data["training"]["stages"][0], "name": "second", "from": data["training"]["stages"][0]["name"],
         "losses": [{"term": "kl", "weight": 0.9}, {"term": "halt", "weight": 0.1}]},
    ]))),
]  # fmt: skip
ARITHMETIC = ()


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_heads_says(claim: Claim, tmp_path: Path) -> None:
    assert disagrees("heads", claim, tmp_path) == ""
