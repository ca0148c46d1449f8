"""Section `budgets`: what a run may cost."""

from __future__ import annotations

from pydantic import Field

from kcompiler.spec.base import Section


class Budgets(Section):
    """Upper bounds of a whole run; exceeding one stops the run."""

    usd: float = Field(ge=0, le=1e9, description="US dollars for hosted teachers and machines.")
    gpu_hours: float = Field(ge=0, le=1e9, description="Hours of accelerators.")
    wall_s: float = Field(gt=0, le=1e9, description="Seconds of wall-clock time.")
