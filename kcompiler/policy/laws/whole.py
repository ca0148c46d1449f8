"""A report × the schema of its kind → why it cannot be what was measured, whichever law it breaks, or ""."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kcompiler.policy.laws import formulas, remade, sums


def contradiction(report: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """`report` satisfies `schema`; the first contradiction is said with its place."""
    data, said = report["data"], schema.get("properties", {}).get("data", {})
    wrong = sums.broken(data, said.get(sums.LAWS, ())) or formulas.broken(data, said.get(formulas.DERIVED, ()))
    return f" at /data{wrong}" if wrong else f": {again}" if (again := remade.contradiction(report)) else ""
