"""Section `budgets`: what a run may cost."""

from __future__ import annotations

from pydantic import Field

from kcompiler.spec.base import Section
from runtime.contract.units import unit


class Budgets(Section):
    """Upper bounds of a whole run; exceeding one stops the run."""

    usd: float = Field(
        ge=0,
        le=1e9,
        description="US dollars for hosted teachers, over all cells, attempts and resumed runs; asking stops before "
        "they are exceeded.",
        examples=[0, 240],
        json_schema_extra=unit("US dollar"),
    )
    gpu_hours: float = Field(
        ge=0, le=1e9, description="Hours of accelerators.", examples=[0, 900], json_schema_extra=unit("hour")
    )
    wall_s: float = Field(
        gt=0, le=1e9, description="Seconds of wall-clock time.", examples=[3600], json_schema_extra=unit("second")
    )
