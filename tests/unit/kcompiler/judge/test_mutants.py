"""Every small mistake in the code of the gates is noticed by a claim or a check about it.

The origin's gates had none of this: nine of ten result sets that had to fail passed (evaluation-reliability.md, 0.1),
and section 5.4 asks that each comparison, flipped, breaks a test.
"""

from __future__ import annotations

import itertools

import pytest

from tests.unit.kcompiler.judge.checks import CHECKS
from tests.unit.kcompiler.judge.claims import about
from tests.unit.kcompiler.judge.laboratory import BELOW, JUDGE, KINDS, probes, source_of, survives
from tests.unit.kcompiler.judge.mutants import STRIDE, long, mutants

#: (module, line of its text, mutant) that no behaviour of the judge can show, and why
UNNOTICEABLE = {
    ("kcompiler.judge", "for outcome, raw in zip(outcomes, obligations, strict=True):", "True → False"): (
        "there is one outcome of each obligation"
    ),
    (
        "kcompiler.judge",
        "for one, (_, judged), raw in zip(outcomes, found, obligations, strict=True)",
        "True → False",
    ): ("there is one outcome of each obligation"),
    ("kcompiler.policy.kind", "margin: Fraction = Fraction(0)", "0 → 1"): (
        "of judgements with one word either all carry a margin or none does"
    ),
    ("kcompiler.policy.kind", '_TEXT: dict[str, Any] = {"type": "string", "minLength": 1}', "1 → 2"): (
        "part of the published schema, which tests/house/test_policies.py compares"
    ),
    (
        "kcompiler.policy.kinds.relative",
        "return _Side(datum.value, datum.n or 0, shown, match.pointer, datum.low, datum.high)",
        "0 → 1",
    ): "a side that does not say of how many is compared as a point, which asks for no count",
}


#: asked every time; the others by the documented command
QUICK = (JUDGE, "kcompiler.policy.kinds.bound", "kcompiler.policy.kinds.genuine")


@pytest.mark.slow
@pytest.mark.parametrize("module", [one if one in QUICK else long(one) for one in (*KINDS, *BELOW, JUDGE)])
def test_no_mutant_survives(module: str) -> None:
    """Comparisons, checks, words and constants of the module: change any one and something says so."""
    source, asked = source_of(module).read_text(encoding="utf-8"), probes(about(module), CHECKS)
    assert survives(module, compile(source, module, "exec"), asked), "the real module is not accepted"
    lines = source.splitlines()
    alive = [
        str(mutant)
        for mutant in itertools.islice(mutants(source), 0, None, STRIDE)
        if (module, lines[mutant.line - 1].strip(), f"{mutant.was} → {mutant.now}") not in UNNOTICEABLE
        and survives(module, mutant.compiled(module), asked)
    ]
    assert alive == []


def test_mutants_are_many() -> None:
    """A runner that makes no mutants kills all of them."""
    assert sum(len(list(mutants(source_of(module).read_text(encoding="utf-8")))) for module in [*KINDS, JUDGE]) > 300
