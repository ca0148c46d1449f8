"""Section `hardware`: the machine the student is meant for."""

from __future__ import annotations

from pydantic import Field

from kcompiler.spec.base import Name, Section


class Hardware(Section):
    """Target machine and how many sessions it serves."""

    profile: Name = Field(description="Name of the hardware profile, such as `m1-max-64gb`.")
    concurrency: int = Field(default=1, ge=1, le=10_000, description="Sessions at the same time.")
