"""Section `budgets`: what a run may cost."""

from __future__ import annotations

from pydantic import Field

from kcompiler.spec.base import Section
from runtime.contract.units import unit


class Budgets(Section):
    """Upper bounds of a whole run over all its attempts. Money, accelerators and the wall clock stop it when they are
    used up, and it goes on when the bound is raised; processor time is judged."""

    usd: float = Field(
        ge=0,
        le=1e9,
        description="US dollars for hosted teachers, over all cells, attempts and resumed runs; asking stops before "
        "they are exceeded.",
        examples=[0, 240],
        json_schema_extra=unit("US dollar"),
    )
    gpu_hours: float = Field(
        ge=0,
        le=1e9,
        description="Hours of accelerators, each as long as a step holds it; more stops the run.",
        examples=[0, 900],
        json_schema_extra=unit("hour"),
    )
    wall_s: float = Field(
        gt=0,
        le=1e9,
        description="Seconds of wall-clock time; more stops the run at the next safe point of its step.",
        examples=[3600],
        json_schema_extra=unit("second"),
    )
    cpu_s: float = Field(
        default_factory=lambda before: before.get("wall_s", 1.0),
        gt=0,
        le=1e9,
        description="Seconds of processors, which no neighbour on the machine lengthens; a rule judges them. "
        "As many as `wall_s` unless written.",
        examples=[3600],
        json_schema_extra=unit("second"),
    )
