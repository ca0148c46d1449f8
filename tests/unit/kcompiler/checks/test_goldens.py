"""Golden vectors: both sides of what a rule takes for evidence, and the advice does what it says."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from tests.unit.kcompiler.checks.claims import Claim, _parsed, disagrees, section, several


def goldens(lengths: list[int], prompts: int, steps: int) -> Any:
    return several(
        section("shapes", prefill=lengths, decode={"context": 64}),
        section("verification", prompts=prompts, decode_steps=steps),
    )


def short(steps: int) -> Any:
    return several(
        section("shapes", prefill=[64], decode={"context": 8}),
        section("verification", prompts=1, decode_steps=steps),
    )


# around 64 with a cache that ends with it: 1, 62, 63 with one step; around 32: 1, 31, 32
CLAIMS = [
    Claim("what is asked by default", goldens([64], 2, 4)),
    # 4 decodes: 4·5 told, 4·4 ranked
    Claim("too few ranked", goldens([64], 1, 4), ("KC4935",), ("16 tokens", "parity-top1", "`decode_steps: 5`"),
          severity="error"),
    Claim("as many as are asked", goldens([64], 1, 5)),
    # 4 decodes: 4·2 told
    Claim("too few told", goldens([64], 1, 1), ("KC4935",), ("8 tokens", "parity-greedy", "`decode_steps: 5`"),
          severity="error"),
    # a cache that holds what is decoded, begin and end: 3 decodes of 6; of a shorter one KC4110 speaks
    Claim("a cache of eight", short(6), ("KC4935",), ("18 tokens",), severity="error"),
    Claim("a cache that is shorter", short(7)),
    # 3 + 2·2 + (2 + 1 + 3 - 1)
    Claim("a prefill of three tokens", goldens([3, 64], 2, 4), ("KC4935",), ("at most 12 tokens", "at least 6,"),
          severity="error"),
    # 6 + 2·5 + (2 + 1 + 3 - 1)
    Claim("a prefill of six", goldens([6, 64], 2, 4)),
]  # fmt: skip


def counted() -> None:
    """2 prompts that leave a slot free, one that fills 6, and decodes from 1, 5 and 6 tokens and of each prompt."""
    module = importlib.import_module("kcompiler.checks.goldens")
    spec = _parsed(goldens([6, 64], 2, 4))[0]
    assert module._filled(spec, [6, 64], 6) == 6 + 2 * 5 + 5
    # 3 around 6, 4 around 64, and 2 prompts
    assert (module._decoded(spec, 0, 0), module._decoded(spec, 1, 1)) == (9 * 4, 9 * 6)


ARITHMETIC = (counted,)


@pytest.mark.parametrize("check", ARITHMETIC, ids=lambda check: check.__name__)
def test_tokens_by_hand(check: Any) -> None:
    check()


@pytest.mark.parametrize("claim", CLAIMS, ids=[claim.name for claim in CLAIMS])
def test_there_are_as_many_tokens_as_rules_ask(claim: Claim, tmp_path: Path) -> None:
    assert disagrees("goldens", claim, tmp_path) == ""
