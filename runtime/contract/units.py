"""The unit of a number, as a schema keyword: what editors show beside a field, and documents can be checked for."""

from __future__ import annotations

from typing import Any

#: schema keyword; "1" for a number without a unit
UNIT = "x-unit"


def unit(name: str) -> dict[str, Any]:
    """For `Field(json_schema_extra=unit("token"))`."""
    return {UNIT: name}
