"""Section `export`: what is delivered."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kcompiler.spec.base import DISTINCT, Distinct, Section


class Export(Section):
    """Target formats and the oldest system they run on."""

    targets: Annotated[list[Literal["coreml"]], Distinct] = Field(
        default=["coreml"], min_length=1, description="Formats of the delivered model.", json_schema_extra=DISTINCT
    )
    deployment: Literal["iOS18"] = Field(
        default="iOS18", description="Oldest system; multifunction packages need iOS 18 (macOS 15)."
    )
