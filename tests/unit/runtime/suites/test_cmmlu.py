"""CMMLU by subject: the official macro and the size-weighted micro, and a guesser who is at chance.

The rows are read from where they lie, and are no part of this project (CC BY-NC-SA 4.0).
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from runtime.contract import TokenScore
from runtime.suites.choice import SUITE, ChoiceParams
from tests.longer import longer
from tests.unit.runtime.suites.models import reported

#: beside the checkout, or where the environment says
BESIDE = Path(__file__).resolve().parents[5] / "shared" / "data" / "cmmlu"
FOLDER = Path(os.environ.get("KCOMPILER_CMMLU", BESIDE))
needs_rows = pytest.mark.skipif(not (FOLDER / "test").is_dir(), reason="needs CMMLU: KCOMPILER_CMMLU=FOLDER")


@cache
def rows() -> list[dict[str, Any]]:
    """The test split, one row per question, its subject as class."""
    found = []
    for path in sorted((FOLDER / "test").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for number, one in enumerate(csv.DictReader(file)):
                name = f"{path.stem}-{number}"
                found.append({"id": name, "prompt": name, "response": one["Answer"], "class": path.stem})
    return found


def drawn(name: str, salt: str) -> float:
    """A number in [0, 1) that is a row's own."""
    return int(hashlib.sha256(f"{salt} {name}".encode()).hexdigest()[:12], 16) / 16**12


class Constructed:
    """Right with a share that is the subject's own, else the next letter."""

    name = "constructed"

    def __init__(self, share: dict[str, float], salt: str) -> None:
        self.said = {
            one["id"]: one["response"]
            if drawn(one["id"], salt) < share[one["class"]]
            else "ABCD"[("ABCD".index(one["response"]) + 1) % 4]
            for one in rows()
        }

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[TokenScore]:
        return [TokenScore(log_probability=0.0 if self.said[p] == c else -5.0, tokens=1) for p, c in pairs]


class Guesses(Constructed):
    """A letter by chance, whatever is asked."""

    def __init__(self) -> None:
        self.said = {one["id"]: "ABCD"[int(drawn(one["id"], "guess") * 4)] for one in rows()}


@needs_rows
@longer
def test_cmmlus_overall_counts_subjects_and_lm_evals_counts_rows_and_a_guesser_has_nothing() -> None:
    """Officially each of 67 subjects counts once; in lm-evaluation-harness each of 11,582 rows does."""
    subjects = sorted({one["class"] for one in rows()})
    teacher = Constructed({name: 0.35 + 0.5 * place / 67 for place, name in enumerate(subjects)}, "teacher")
    data = reported(SUITE, {"student": Guesses(), "teacher": teacher}, rows(), [], ChoiceParams())
    by_subject = {
        name: [teacher.said[one["id"]] == one["response"] for one in rows() if one["class"] == name]
        for name in subjects
    }
    micro, macro = data["accuracy"]["teacher"], data["macro"]["teacher"]
    assert (micro["n"], macro["n"], macro["families"]) == (11_582, 11_582, 67)
    assert macro["value"] == pytest.approx(fmean(fmean(mine) for mine in by_subject.values()), abs=1e-12)
    whole = sum(len(mine) for mine in by_subject.values())
    assert micro["value"] == pytest.approx(
        sum(len(mine) / whole * fmean(mine) for mine in by_subject.values()), abs=1e-12
    )
    assert abs(macro["value"] - micro["value"]) > 1e-4
    assert {name: (one["teacher"]["k"], one["teacher"]["n"]) for name, one in data["by_class"].items()} == {
        name: (sum(mine), len(mine)) for name, mine in by_subject.items()
    }
    # subjects differ more than chance makes rows differ, so that the clustered interval is the wider one
    clustered = data["clustered"]["teacher"]
    assert clustered["value"] == pytest.approx(micro["value"])
    assert clustered["high"] - clustered["low"] > 2 * (micro["high"] - micro["low"])
    guesser, share = data["accuracy"]["student"], data["of_teacher"]
    assert guesser["low"] < 0.25 < guesser["high"]
    assert data["corrected"]["student"]["low"] < 0.0 < data["corrected"]["student"]["high"]
    assert share["low"] < 0.0 < share["high"] < 0.03
    assert (data["zoo"]["gold"]["k"], data["zoo"]["best"]) == (11_582, "constant")
    assert data["zoo"]["right"]["constant"]["k"] == 2926
    assert data["zoo"]["above"]["student"]["low"] <= 0.0 < 0.2 < data["zoo"]["above"]["teacher"]["low"]
